// A session over its WebSocket: sound is played by a worklet, pictures are shown when their sound is heard.

const HEADER_BYTES = 24;
/** Milliseconds before each try to connect again; a session waits for its client for 30 seconds. */
export const RECONNECT_DELAYS = [250, 500, 1000, 2000, 2000, 4000, 4000, 8000];
const CONNECTING_MS = 5000;
/** Pictures come all the time: where none does for so long the network is gone, of which browsers themselves tell after minutes. */
const SILENT_MS = 4000;
const WATCH_MS = 250;

/** Asks the server; throws an Error with `code` and `retryAfter` for what it refuses. */
export async function request(method, path, body, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && !isForm ? JSON.stringify(body) : body });
  } catch {
    throw Object.assign(new Error("The server cannot be reached."), { code: "unreachable" });
  }
  if (response.status === 204) return null;
  if (!response.ok) {
    const fault = await response.json().then((json) => json.error, () => null);
    throw Object.assign(new Error(fault?.message ?? `The server answered ${response.status}.`), {
      code: fault?.code ?? "unknown", retryAfter: Number(response.headers.get("Retry-After")) || null,
    });
  }
  return response.headers.get("Content-Type")?.startsWith("application/json") ? response.json() : response.blob();
}

/**
 * Plays one session. Events: "event" (a session event), "status" (connecting, open, lost, closed), "stats".
 */
export class SessionStream extends EventTarget {
  constructor(session, { token, canvas }) {
    super();
    this.session = session;
    this.token = token;
    this.canvas = canvas;
    this.context2d = canvas.getContext("2d");
    this.pictures = []; // {sample, bitmap}, in order
    this.attempts = 0;
    this.isEnding = false;
    this.played = { sample: null, time: 0, isWaiting: true };
    this.shown = { count: 0, sample: -1, bytes: 0 };
    this.drawn = [];
    this.received = 0;
    this.silence = 0;
    this.patience = Infinity;
  }

  /** Must be called from a click or a key: browsers play no sound before one. */
  async start() {
    this.audio = new AudioContext({ latencyHint: "interactive" });
    await this.audio.audioWorklet.addModule("/player-worklet.js");
    this.player = new AudioWorkletNode(this.audio, "player", {
      numberOfInputs: 0, outputChannelCount: [1], processorOptions: { rate: this.session.format.sampleRate },
    });
    this.player.port.onmessage = (event) => this.heard(event.data);
    this.player.connect(this.audio.destination);
    await this.audio.resume();
    this.tell("status", "connecting");
    this.connect();
    const draw = () => {
      this.draw();
      if (!this.isEnding) requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
    this.timer = setInterval(() => {
      // A hidden page gets no animation frames; its pictures must not pile up.
      if (document.hidden) this.draw();
      this.watch();
    }, WATCH_MS);
  }

  connect() {
    const url = new URL(this.session.stream, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const protocols = ["livetalk.v1"];
    if (this.token) protocols.push(`bearer.${this.token}`);
    const socket = new WebSocket(url, protocols);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.expectWithin(CONNECTING_MS);
    socket.onopen = () => {
      this.attempts = 0;
      // Its first picture may take an engine long.
      this.expectWithin(Infinity);
      this.tell("status", "open");
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") return this.event(JSON.parse(data));
      this.expectWithin(SILENT_MS);
      this.media(data);
    };
    socket.onclose = () => socket === this.socket && this.lost();
  }

  /** The connection counts as lost unless there is a sign of it within so many milliseconds. */
  expectWithin(milliseconds) {
    this.silence = 0;
    this.patience = milliseconds;
  }

  /** Counts turns, not time: a page that was held up finds what came meanwhile behind it. */
  watch() {
    this.silence += WATCH_MS;
    if (this.socket && this.silence >= this.patience) this.lost();
  }

  lost() {
    if (this.isEnding) return;
    // It may take minutes to close, where nothing gets through.
    this.socket?.close();
    this.socket = null;
    if (this.attempts >= RECONNECT_DELAYS.length) {
      this.end("closed");
      return;
    }
    this.tell("status", "lost");
    setTimeout(() => this.isEnding || this.connect(), RECONNECT_DELAYS[this.attempts]);
    this.attempts += 1;
  }

  event(event) {
    if (event.type === "playback.cleared") {
      this.player.port.postMessage({ type: "clear", sample: event.sample });
      this.pictures = this.pictures.filter((picture) => picture.sample < event.sample || (picture.bitmap.close(), false));
    }
    this.tell("event", event);
    if (event.type === "closed") this.end("closed");
  }

  async media(data) {
    const view = new DataView(data);
    if (data.byteLength < HEADER_BYTES || view.getUint8(0) !== 1) return;
    const sample = Number(view.getBigUint64(8, true));
    const soundBytes = view.getUint32(20, true);
    const bits = new Int16Array(data.slice(HEADER_BYTES, HEADER_BYTES + soundBytes));
    const samples = Float32Array.from(bits, (value) => value / 32768);
    this.received += data.byteLength;
    this.player.port.postMessage({ type: "sound", sample, samples }, [samples.buffer]);
    if (data.byteLength > HEADER_BYTES + soundBytes) {
      const blob = new Blob([new Uint8Array(data, HEADER_BYTES + soundBytes)], { type: "image/jpeg" });
      const bitmap = await createImageBitmap(blob).catch(() => null);
      if (!bitmap) return;
      // Decoding may finish out of order.
      let place = this.pictures.length;
      while (place > 0 && this.pictures[place - 1].sample > sample) place -= 1;
      this.pictures.splice(place, 0, { sample, bitmap });
      if (this.pictures.length > 120) this.pictures.shift().bitmap.close();
    }
  }

  heard(report) {
    this.played = report;
    if (report.sample !== null) this.send({ type: "played", sample: this.audible() });
    this.tell("stats", this.stats());
  }

  /** The session's sample that is heard now: what the worklet has given less what the sound card still holds. */
  audible() {
    const { sample, time, isWaiting } = this.played;
    if (sample === null) return 0;
    const rate = this.session.format.sampleRate;
    const latency = (this.audio.outputLatency || this.audio.baseLatency || 0) * rate;
    const since = isWaiting ? 0 : (this.audio.currentTime - time) * rate;
    return Math.max(0, Math.floor(sample + since - latency));
  }

  draw() {
    // Until sound plays (a browser may forbid it) the newest picture is shown at once.
    const now = this.played.sample === null || this.audio.state !== "running" ? Infinity : this.audible();
    let latest = null;
    while (this.pictures.length > 0 && this.pictures[0].sample <= now) {
      latest?.bitmap.close();
      latest = this.pictures.shift();
    }
    if (!latest) return;
    const { bitmap } = latest;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.context2d.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.drawn.push(performance.now());
  }

  stats() {
    const now = performance.now();
    this.drawn = this.drawn.filter((time) => now - time < 2000);
    return {
      framesPerSecond: this.drawn.length / 2, buffered: this.played.buffered, late: this.played.late,
      level: this.played.level, received: this.received,
      delay: this.played.buffered + (this.audio.outputLatency || this.audio.baseLatency || 0),
    };
  }

  send(command) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(command));
  }

  /** Opens the microphone; its sound is sent while `isTalking` says so. */
  async openMicrophone(isTalking, onLevel) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    await this.audio.audioWorklet.addModule("/microphone-worklet.js");
    const source = this.audio.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(this.audio, "microphone", {
      numberOfOutputs: 0, processorOptions: { rate: 16000 },
    });
    node.port.onmessage = ({ data }) => {
      const isOn = isTalking();
      onLevel(isOn ? data.level : 0);
      if (isOn && this.socket?.readyState === WebSocket.OPEN) this.socket.send(data.samples);
    };
    source.connect(node);
    this.microphone = { stream, source, node };
  }

  closeMicrophone() {
    this.microphone?.source.disconnect();
    for (const track of this.microphone?.stream.getTracks() ?? []) track.stop();
    this.microphone = null;
  }

  duck(gain) {
    this.player?.port.postMessage({ type: "duck", gain });
  }

  end(status) {
    if (this.isEnding) return;
    this.isEnding = true;
    clearInterval(this.timer);
    this.closeMicrophone();
    this.socket?.close();
    this.audio?.close();
    for (const picture of this.pictures) picture.bitmap.close();
    this.pictures = [];
    this.tell("status", status);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
