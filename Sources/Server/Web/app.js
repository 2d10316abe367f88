import { SessionStream, request } from "/stream.js";
import { SessionConnection } from "/webrtc.js";
import { begun, line } from "/captions.js";

const element = (id) => document.getElementById(id);
const STATES = { idle: "Here for you", listening: "Listening", thinking: "Thinking", speaking: "Speaking" };
const UPLOAD_ICON = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 16V5M7 9.5 12 4.5l5 5M5 19.5h14"/></svg>';

let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (token) sessionStorage.setItem("token", token);
// The token stays out of the address that people copy.
if (location.hash) history.replaceState(null, "", location.pathname);

let avatars = [];
let chosen = null;
let stream = null;
let state = "idle";
let isTalking = false;
let wantsToTalk = false;
let opening = null; // the microphone, while the browser asks
let utterances = new Map(); // id → {start, words: [{at, text}], heard, item, isOver}
let pace = 14; // letters a second, as the last utterance was spoken
let userItem = null;

// MARK: the server

async function ask(method, path, body) {
  try {
    return await request(method, path, body, token);
  } catch (error) {
    if (error.code !== "unauthorized") throw error;
    await askForToken();
    return ask(method, path, body);
  }
}

function askForToken() {
  const dialog = element("token-dialog");
  element("token-refused").hidden = !token;
  dialog.showModal();
  element("token").select();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      token = element("token").value.trim();
      sessionStorage.setItem("token", token);
      resolve();
    };
  });
}

function notice(text) {
  element("notice").hidden = !text;
  element("notice").textContent = text ?? "";
}

// MARK: choosing

async function loadAvatars() {
  try {
    avatars = (await ask("GET", "/v1/avatars")).data;
    notice(null);
  } catch (error) {
    notice(error.message);
    setTimeout(loadAvatars, 3000);
    return;
  }
  const people = element("people");
  people.replaceChildren(...(await Promise.all(avatars.map(card))), uploadCard());
  choose(avatars.find((avatar) => avatar.id === chosen?.id) ?? avatars[0]);
}

async function card(avatar) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "person";
  button.dataset.id = avatar.id;
  button.setAttribute("role", "radio");
  const picture = document.createElement("img");
  picture.alt = "";
  avatar.url ??= URL.createObjectURL(await ask("GET", avatar.picture));
  picture.src = avatar.url;
  const name = document.createElement("span");
  name.textContent = avatar.name;
  button.append(picture, name);
  button.onclick = () => choose(avatar);
  button.ondblclick = () => start();
  return button;
}

function uploadCard() {
  const label = document.createElement("label");
  label.className = "person upload";
  label.innerHTML = `<div>${UPLOAD_ICON}Your own picture</div>`;
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/jpeg,image/png,image/webp";
  input.className = "visually-hidden";
  const send = async (file) => {
    if (!file) return;
    label.ariaBusy = true;
    await upload(file);
    label.ariaBusy = false;
    // The same file may be picked again.
    input.value = "";
  };
  input.onchange = () => send(input.files[0]);
  label.append(input);
  label.ondragover = (event) => (event.preventDefault(), label.classList.add("over"));
  label.ondragleave = () => label.classList.remove("over");
  label.ondrop = (event) => {
    event.preventDefault();
    label.classList.remove("over");
    send(event.dataTransfer.files[0]);
  };
  return label;
}

async function upload(file) {
  notice(null);
  const form = new FormData();
  form.append("image", file);
  form.append("name", file.name.replace(/\.[^.]*$/, ""));
  try {
    chosen = await ask("POST", "/v1/avatars", form);
    await loadAvatars();
    focusChosen();
  } catch (error) {
    notice(error.message);
  }
}

function focusChosen() {
  element("people").querySelector("[aria-checked=true]")?.focus();
}

function choose(avatar) {
  if (!avatar) return;
  chosen = avatar;
  element("prompt").value = avatar.prompt;
  for (const button of element("people").querySelectorAll("[role=radio]")) {
    const isChosen = button.dataset.id === avatar.id;
    button.setAttribute("aria-checked", isChosen);
    button.tabIndex = isChosen ? 0 : -1;
  }
  element("start").disabled = false;
}

element("people").onkeydown = (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const index = avatars.findIndex((avatar) => avatar.id === chosen.id);
  choose(avatars[(index + step + avatars.length) % avatars.length]);
  focusChosen();
};

// MARK: talking

async function start() {
  const button = element("start");
  button.disabled = true;
  button.textContent = "Calling…";
  notice(null);
  try {
    const session = await ask("POST", "/v1/sessions", { avatar: chosen.id, prompt: element("prompt").value });
    enter();
    await connect(session);
  } catch (error) {
    leave();
    const again = error.retryAfter ? ` The next place may be free in ${error.retryAfter} s.` : "";
    notice(error.code === "full" ? `Everybody is talking at the moment.${again}` : error.message);
  } finally {
    button.disabled = false;
    button.textContent = "Start the conversation";
    if (!stream) button.focus();
  }
}

/** WebRTC where it works, the WebSocket elsewhere; `?transport=webrtc` or `websocket` leaves no choice. */
async function connect(session) {
  const wanted = new URLSearchParams(location.search).get("transport");
  if (wanted !== "websocket" && window.RTCPeerConnection) {
    const attempt = new SessionConnection(session, { token, video: element("video") });
    try {
      listen(attempt);
      await attempt.start();
      document.body.dataset.transport = "webrtc";
      return;
    } catch (error) {
      stream = null;
      attempt.end("closed");
      if (wanted === "webrtc") throw error;
    }
  }
  listen(new SessionStream(session, { token, canvas: element("picture") }));
  await stream.start();
  document.body.dataset.transport = "websocket";
}

function listen(source) {
  stream = source;
  const whenCurrent = (handle) => ({ detail }) => stream === source && handle(detail);
  source.addEventListener("event", whenCurrent(onEvent));
  source.addEventListener("status", whenCurrent(onStatus));
  source.addEventListener("stats", whenCurrent(onStats));
}

function enter() {
  document.body.dataset.view = "talk";
  utterances = new Map();
  userItem = null;
  element("turns").replaceChildren();
  element("caption").replaceChildren();
  element("name").textContent = chosen.name;
  element("portrait").src = chosen.url;
  element("picture").setAttribute("aria-label", `Live picture of ${chosen.name}, generated by a machine`);
  const image = new Image();
  image.onload = () => {
    const canvas = element("picture");
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  };
  image.src = chosen.url;
  element("video").hidden = true;
  setState("idle", "Connecting");
  element("main").focus();
}

function leave(message) {
  const ended = stream;
  stream = null;
  ended?.end("closed");
  talk(false);
  element("handsfree").checked = false;
  document.body.dataset.view = "lobby";
  element("start").focus();
  notice(message);
}

function setState(next, text) {
  state = next;
  element("stage").dataset.state = next;
  element("state").textContent = text ?? STATES[next];
  // Disabled in earnest it would lose the focus of whoever has just pressed it.
  element("interrupt").ariaDisabled = next !== "speaking" && next !== "thinking";
}

function onStatus(status) {
  if (status === "connecting") element("subtitle").textContent = "Connecting…";
  if (status === "open") {
    element("subtitle").textContent = "Live";
    setState(state);
  }
  if (status === "lost") {
    element("subtitle").textContent = "The connection was lost; trying again…";
    setState(state, "Reconnecting");
  }
  if (status === "closed" && stream) leave("The conversation is over.");
}

function onStats(stats) {
  element("fps").textContent = Math.round(stats.framesPerSecond ?? 0) || "–";
  element("delay").textContent = Math.round((stats.delay ?? 0) * 1000) || "–";
  caption();
}

const CLOSED = {
  client: null, idle: "The conversation ended because nobody spoke.", expired: "The time for this conversation is over.",
  draining: "The server is being stopped.", failed: "The avatar failed. Please start again.",
};

function onEvent(event) {
  switch (event.type) {
    case "state": setState(event.state); break;
    case "user_transcript":
      userItem ??= turn("mine");
      userItem.textContent = event.text;
      if (event.is_final) userItem = null;
      break;
    case "avatar_transcript.delta": utterance(event.utterance).words.push({ at: event.at, text: event.delta }); break;
    case "playback.started":
      utterance(event.utterance).start = event.sample;
      caption();
      break;
    case "playback.finished": {
      const spoken = utterance(event.utterance);
      if (event.text && spoken.item === undefined) spoken.item = turn("");
      if (spoken.item) {
        spoken.item.textContent = event.text || spoken.item.textContent;
        spoken.item.classList.toggle("cut", event.interrupted);
        spoken.item.ariaBusy = false;
      }
      if (!event.interrupted && event.text && event.played_seconds > 0) pace = event.text.length / event.played_seconds;
      spoken.isOver = true;
      break;
    }
    case "metrics":
      if (event.metrics.response_latency != null) element("latency").textContent = event.metrics.response_latency.toFixed(1);
      break;
    case "error": turn("note").textContent = event.error.message; break;
    case "closed": leave(CLOSED[event.reason] ?? null); break;
  }
}

function utterance(id) {
  if (!utterances.has(id)) utterances.set(id, { start: null, words: [], heard: "", item: undefined, isOver: false });
  return utterances.get(id);
}

/** Shows the words that are heard, and the rest of their line more faintly. */
function caption() {
  if (!stream) return;
  const now = stream.audible();
  let current = null;
  for (const spoken of utterances.values()) if (spoken.start !== null && spoken.start <= now) current = spoken;
  const box = element("caption");
  if (!current || current.words.length === 0 || current.isOver) {
    if (state !== "speaking") box.replaceChildren();
    return;
  }
  const heard = begun(current.words, (now - current.start) / stream.session.format.sampleRate, pace);
  // Where a part ends is only known when the next one comes: words that were shown stay.
  if (heard.length > current.heard.length) {
    current.heard = heard;
    current.item ??= turn("");
    current.item.ariaBusy = true; // read out when it is whole
    current.item.textContent = heard;
  }
  const [before, after] = line(current.words.map((part) => part.text).join(""), current.heard.length);
  const next = document.createElement("span");
  next.className = "next";
  next.textContent = after;
  box.replaceChildren(document.createTextNode(before), next);
}

function turn(kind) {
  const item = document.createElement("li");
  if (kind) item.className = kind;
  element("turns").append(item);
  while (element("turns").children.length > 200) element("turns").firstChild.remove();
  return item;
}

// MARK: controls

async function talk(isOn) {
  wantsToTalk = isOn;
  if (isOn && !stream) return;
  if (isOn && !stream.microphone) {
    try {
      opening ??= stream.openMicrophone(() => isTalking, (level) => {
        element("talk").style.setProperty("--level", Math.min(1, level * 6).toFixed(2));
      });
      await opening;
    } catch {
      turn("note").textContent = "The microphone cannot be used: allow it in the browser, or type.";
      element("handsfree").checked = false;
      return;
    } finally {
      opening = null;
    }
    // The button may have been let go while the browser asked.
    if (!wantsToTalk || !stream) return;
  }
  if (isTalking && !isOn) stream?.send({ type: "user_audio.commit" });
  isTalking = isOn;
  element("talk").setAttribute("aria-pressed", isOn);
  label();
}

function label() {
  const isFree = element("handsfree").checked;
  element("talk-label").textContent = isFree ? (isTalking ? "Mute" : "Unmute") : isTalking ? "Listening…" : "Hold to talk";
}

const button = element("talk");
button.onpointerdown = (event) => {
  event.preventDefault();
  button.focus();
  if (element("handsfree").checked) talk(!isTalking);
  else {
    button.setPointerCapture(event.pointerId);
    talk(true);
  }
};
button.onpointerup = button.onpointercancel = () => element("handsfree").checked || talk(false);
// A screen reader's click, and Enter, cannot hold it.
button.onclick = (event) => event.detail === 0 && talk(!isTalking);
button.oncontextmenu = (event) => event.preventDefault();
element("handsfree").onchange = (event) => talk(event.target.checked);
element("interrupt").onclick = ({ currentTarget }) => currentTarget.ariaDisabled === "true" || stream?.send({ type: "interrupt" });
element("start").onclick = start;
element("leave").onclick = () => {
  stream?.send({ type: "close" });
  leave();
};
element("form").onsubmit = (event) => {
  event.preventDefault();
  const text = element("text").value.trim();
  if (!text || !stream) return;
  // It appears when the session says that it has it.
  stream.send({ type: "text", text });
  element("log").scrollTop = 0; // its end
  element("text").value = "";
};

document.addEventListener("keydown", (event) => {
  if (!stream || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input[type=text], textarea");
  if (event.key === "Escape") {
    event.preventDefault();
    stream.send({ type: "interrupt" });
  } else if (event.key === "/" && !isTyping) {
    event.preventDefault();
    element("text").focus();
  } else if (event.code === "Space" && !isTyping && !event.target.matches("button:not(#talk), input")) {
    event.preventDefault();
    if (!event.repeat && !element("handsfree").checked) talk(true);
    else if (!event.repeat) talk(!isTalking);
  }
});
document.addEventListener("keyup", (event) => {
  // Firefox would click it now.
  if (event.target === button && event.code === "Space") event.preventDefault();
  if (event.code === "Space" && isTalking && !element("handsfree").checked) talk(false);
});
addEventListener("pagehide", () => stream?.send({ type: "close" }));

element("video").onplaying = () => (element("video").hidden = false);

loadAvatars();
