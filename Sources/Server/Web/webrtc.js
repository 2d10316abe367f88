// A session over WebRTC: the browser plays picture and sound in step; commands and events go over a data channel.

import { RECONNECT_DELAYS } from "/stream.js";

const CONNECTING_MS = 5000;
const MEASURE_MS = 500;
const SILENT_MS = 2000;

/** The same face as SessionStream: events "event", "status" and "stats"; `send`, `audible`, `openMicrophone`, `end`. */
export class SessionConnection extends EventTarget {
  constructor(session, { token, video }) {
    super();
    this.session = session;
    this.token = token;
    this.video = video;
    this.isEnding = false;
    this.isOpen = false;
    this.attempts = 0;
    this.silence = 0;
    this.anchor = null; // {sample, time}: what was heard when
    this.waiting = [];
  }

  /** Must be called from a click or a key. Throws where no connection comes about: then there is the WebSocket. */
  async start() {
    this.tell("status", "connecting");
    await this.connect();
    this.timer = setInterval(() => this.measure(), MEASURE_MS);
    this.ticker = setInterval(() => this.tell("stats", this.figures ?? {}), 100);
  }

  async connect() {
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.audioSender = peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
    if (this.microphone) await this.audioSender.replaceTrack(this.microphone.stream.getAudioTracks()[0]);
    peer.addTransceiver("video", { direction: "recvonly" });
    this.channel = peer.createDataChannel("session");
    this.channel.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.channel.onopen = () => {
      for (const command of this.waiting.splice(0)) this.channel.send(command);
    };
    const media = new MediaStream();
    peer.ontrack = ({ track }) => {
      media.addTrack(track);
      this.video.srcObject = media;
      this.video.play().catch(() => {});
    };
    const connected = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("No connection came about.")), CONNECTING_MS);
      peer.onconnectionstatechange = () => {
        if (peer.connectionState === "connected") resolve();
        if (["disconnected", "failed"].includes(peer.connectionState)) {
          reject(new Error("The connection failed."));
          this.lost(peer);
        }
      };
    });
    connected.catch(() => {});
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await fetch(this.session.stream.replace(/stream$/, "webrtc"), {
      method: "POST", headers: { ...this.authorization(), "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp, signal: AbortSignal.timeout(CONNECTING_MS),
    });
    if (!response.ok) {
      throw Object.assign(new Error(`The server takes no WebRTC (${response.status}).`), { status: response.status });
    }
    this.location = response.headers.get("Location");
    await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    await connected;
    this.isOpen = true;
    this.attempts = 0;
    this.silence = 0;
    this.tell("status", "open");
  }

  /** The session waits for its client: connects to it anew until it is gone. */
  async lost(peer) {
    if (this.isEnding || !this.isOpen || peer !== this.peer) return;
    this.isOpen = false;
    this.tell("status", "lost");
    while (!this.isEnding && !this.isOpen) {
      this.peer.close();
      if (this.attempts >= RECONNECT_DELAYS.length) return this.end("closed");
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_DELAYS[this.attempts]));
      this.attempts += 1;
      try {
        if (!this.isEnding) await this.connect();
      } catch (error) {
        if (error.status === 404) return this.end("closed");
      }
    }
  }

  take(event) {
    if (event.type === "ping") return;
    if (event.type === "playback.started") this.anchor = { sample: event.sample, time: performance.now() };
    this.tell("event", event);
    if (event.type === "closed") this.end("closed");
  }

  /** The session's sample that is heard now, counted from the last time that the server named one. */
  audible() {
    if (!this.anchor) return 0;
    return this.anchor.sample + ((performance.now() - this.anchor.time) / 1000) * this.session.format.sampleRate;
  }

  async measure() {
    if (!this.isOpen) {
      this.figures = { framesPerSecond: 0, delay: 0 };
      return;
    }
    const peer = this.peer;
    const figures = { framesPerSecond: 0, delay: 0 };
    let received = 0;
    for (const report of (await peer.getStats()).values()) {
      if (report.type === "inbound-rtp") received += report.packetsReceived;
      if (report.type === "inbound-rtp" && report.kind === "video") figures.framesPerSecond = report.framesPerSecond ?? 0;
      if (report.type === "inbound-rtp" && report.kind === "audio" && report.jitterBufferEmittedCount > 0) {
        figures.delay += report.jitterBufferDelay / report.jitterBufferEmittedCount;
      }
      if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime) {
        figures.delay += report.currentRoundTripTime / 2;
      }
    }
    this.figures = figures;
    // Sound comes all the time: browsers themselves notice only after five seconds that nothing does.
    this.silence = received === this.received ? this.silence + MEASURE_MS : 0;
    this.received = received;
    if (this.silence >= SILENT_MS) this.lost(peer);
  }

  send(command) {
    if (command.type === "played") return;
    const text = JSON.stringify(command);
    if (this.channel?.readyState === "open") this.channel.send(text);
    else if (!this.isEnding) this.waiting.push(text);
  }

  async openMicrophone(isTalking, onLevel) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    const [track] = stream.getAudioTracks();
    await this.audioSender.replaceTrack(track);
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      const isOn = isTalking();
      track.enabled = isOn;
      analyser.getFloatTimeDomainData(samples);
      onLevel(isOn ? Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length) : 0);
    }, 50);
    this.microphone = { stream, context, timer };
  }

  end(status) {
    if (this.isEnding) return;
    this.isEnding = true;
    clearInterval(this.timer);
    clearInterval(this.ticker);
    if (this.microphone) {
      clearInterval(this.microphone.timer);
      this.microphone.context.close();
      for (const track of this.microphone.stream.getTracks()) track.stop();
    }
    this.peer?.close();
    this.video.srcObject = null;
    if (this.location) {
      fetch(this.location, {
        method: "DELETE", keepalive: true, headers: this.authorization(),
      }).catch(() => {});
    }
    this.tell("status", status);
  }

  authorization() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The server answers with all its candidates and waits for all of ours. */
function gathered(peer) {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") resolve();
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
    setTimeout(resolve, 1000);
  });
}
