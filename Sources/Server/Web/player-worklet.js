// Plays the avatar's sound with a small jitter buffer, and says what was really played.
//
// In: {type: "sound", sample, samples: Float32Array}, {type: "clear", sample}, {type: "duck", gain}.
// Out, ten times a second: {type: "played", sample, buffered, late, rms}: the next sample of the session that will be heard.

class Player extends AudioWorkletProcessor {
  constructor(options) {
    super();
    const { rate } = options.processorOptions;
    this.step = rate / sampleRate; // session's samples per sample of the sound card
    this.rate = rate;
    this.pieces = []; // {sample, samples}
    this.position = null; // the session's sample that is played next, with a fraction
    this.isWaiting = true;
    this.target = 0.12; // seconds to gather before playing; grows with every gap
    this.late = 0;
    this.gain = 1;
    this.wantedGain = 1;
    this.level = 0;
    this.sinceReport = 0;
    this.port.onmessage = (event) => this.take(event.data);
  }

  take(message) {
    if (message.type === "sound") {
      const end = message.sample + message.samples.length;
      if (this.position !== null && end <= this.position) {
        this.late += 1;
        return;
      }
      this.pieces.push(message);
    } else if (message.type === "clear") {
      this.pieces = this.pieces.filter((piece) => piece.sample < message.sample);
      for (const piece of this.pieces) {
        if (piece.sample + piece.samples.length > message.sample) {
          piece.samples = piece.samples.subarray(0, message.sample - piece.sample);
        }
      }
    } else if (message.type === "duck") {
      this.wantedGain = message.gain;
    }
  }

  get buffered() {
    if (this.pieces.length === 0) return 0;
    const last = this.pieces[this.pieces.length - 1];
    const from = this.position === null ? this.pieces[0].sample : this.position;
    return Math.max(0, last.sample + last.samples.length - from) / this.rate;
  }

  process(inputs, outputs) {
    const out = outputs[0][0];
    if (this.isWaiting && this.buffered >= this.target) {
      this.isWaiting = false;
      this.position = Math.max(this.position ?? 0, this.pieces[0].sample);
    }
    let speed = this.step;
    // Too much waits: catch up by playing a little faster, too little to be heard.
    if (this.buffered > this.target + 0.25) speed *= 1.03;
    if (this.buffered > this.target + 2) this.position = Math.max(this.position ?? 0, this.end - this.target * this.rate);
    let energy = 0;
    for (let index = 0; index < out.length; index += 1) {
      this.gain += (this.wantedGain - this.gain) * 0.002;
      let value = 0;
      if (!this.isWaiting) {
        value = this.sampleAt(this.position) * this.gain;
        this.position += speed;
      }
      energy += value * value;
      out[index] = value;
    }
    this.level = 0.8 * this.level + 0.2 * Math.sqrt(energy / out.length);
    if (!this.isWaiting && this.pieces.length === 0) {
      this.isWaiting = true;
      this.target = Math.min(0.4, this.target + 0.04);
    }
    this.sinceReport += out.length;
    if (this.sinceReport >= sampleRate / 10) {
      this.sinceReport = 0;
      this.port.postMessage({
        type: "played", sample: this.position === null ? null : Math.floor(this.position), time: currentTime,
        buffered: this.buffered, late: this.late, level: this.level, isWaiting: this.isWaiting,
      });
    }
    return true;
  }

  get end() {
    const last = this.pieces[this.pieces.length - 1];
    return last ? last.sample + last.samples.length : 0;
  }

  // Linear interpolation between the session's samples; silence where none came.
  sampleAt(position) {
    while (this.pieces.length > 0 && this.pieces[0].sample + this.pieces[0].samples.length <= position) this.pieces.shift();
    const piece = this.pieces[0];
    if (!piece || position < piece.sample) return 0;
    const place = position - piece.sample;
    const index = Math.floor(place);
    const one = piece.samples[index];
    const next = index + 1 < piece.samples.length ? piece.samples[index + 1] : this.pieces[1] ? this.pieces[1].samples[0] : one;
    return one + (next - one) * (place - index);
  }
}

registerProcessor("player", Player);
