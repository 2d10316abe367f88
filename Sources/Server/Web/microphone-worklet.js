// Turns the microphone's sound into 16-bit samples at the rate that the server takes, in pieces of 20 ms.

class Microphone extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.rate = options.processorOptions.rate;
    this.step = sampleRate / this.rate;
    this.place = 0; // of the next output sample, in the input's samples, from the beginning of `held`
    this.held = [];
    this.piece = new Int16Array(this.rate / 50);
    this.count = 0;
    this.energy = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    if (channels.length === 0) return true;
    for (let index = 0; index < channels[0].length; index += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[index];
      this.held.push(sum / channels.length);
    }
    // Each output sample is the mean of the input over its width: a plain low-pass before the rate is lowered.
    const width = Math.max(1, this.step);
    while (this.place + width <= this.held.length) {
      const [from, to] = [Math.floor(this.place), Math.max(Math.floor(this.place) + 1, Math.floor(this.place + width))];
      let sum = 0;
      for (let index = from; index < to; index += 1) sum += this.held[index];
      const value = sum / (to - from);
      this.energy += value * value;
      this.piece[this.count] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      this.count += 1;
      this.place += this.step;
      if (this.count === this.piece.length) {
        const sent = this.piece;
        this.port.postMessage({ samples: sent.buffer, level: Math.sqrt(this.energy / this.count) }, [sent.buffer]);
        this.piece = new Int16Array(this.rate / 50);
        this.count = 0;
        this.energy = 0;
      }
    }
    const used = Math.floor(this.place);
    this.held.splice(0, used);
    this.place -= used;
    return true;
  }
}

registerProcessor("microphone", Microphone);
