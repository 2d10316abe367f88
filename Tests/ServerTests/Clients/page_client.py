"""The product's page in a headless Chromium, behind a proxy that can cut the way to the server, media over UDP included.

The page is driven by a script that the proxy adds to it. While the way is cut nothing gets through in either direction and nobody is told:
connections stand still, as on a network that is gone. Printed is one line of JSON: what the page showed.

    page_client.py --browser /usr/bin/chromium --port 8080 --transport websocket|webrtc --cut 10
"""

import argparse
import json
import os
import re
import select
import signal
import socket
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "WebRTCTests/Clients"))

from chromium import Chromium  # noqa: E402
from relay import Relay  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--browser", required=True)
parser.add_argument("--port", type=int, required=True, help="the server's")
parser.add_argument("--transport", required=True)
parser.add_argument("--cut", type=float, default=10, help="seconds")
arguments = parser.parse_args()

# Seconds that the page may take for anything.
PATIENCE = 60

DRIVER = """
const element = (id) => document.getElementById(id);
const post = (path, body) => fetch("/proxy/" + path, { method: "POST", body: JSON.stringify(body ?? {}) });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => performance.now() / 1000;
const small = document.createElement("canvas");
small.width = small.height = 32;
const context = small.getContext("2d", { willReadFrequently: true });
let last = null, pictures = 0;
setInterval(() => {
  const source = element(document.body.dataset.transport === "webrtc" ? "video" : "picture");
  context.drawImage(source, 0, 0, 32, 32);
  const sum = context.getImageData(0, 0, 32, 32).data.reduce((sum, value, i) => (sum * 31 + value * (i % 7 + 1)) % 1000003, 0);
  if (sum !== last) pictures += 1;
  last = sum;
}, 50);
/** Seconds until the condition holds; null where it does not in time. */
async function until(condition, seconds) {
  const begun = now();
  while (!condition()) {
    if (now() - begun > seconds) return null;
    await wait(50);
  }
  return now() - begun;
}
/** Seconds until the page says that it is live and its picture has moved. */
function live() {
  let before = null;
  return until(() => {
    const isLive = element("subtitle").textContent === "Live" && element("state").textContent !== "Reconnecting";
    before = isLive ? before ?? pictures : null;
    return before !== null && pictures >= before + 2;
  }, PATIENCE);
}
(async () => {
  const report = {};
  await until(() => !element("start").disabled, PATIENCE);
  element("start").click();
  await until(() => document.body.dataset.transport, PATIENCE);
  report.live = await live();
  await post("cut");
  const cut = now();
  report.told = await until(() => element("subtitle").textContent.includes("connection was lost"), CUT);
  // What was on its way is still shown.
  await wait(Math.max(0, (cut + CUT - 2 - now()) * 1000));
  const before = pictures;
  await wait((cut + CUT - now()) * 1000);
  report.moved = pictures - before;
  await post("mend");
  report.back = await live();
  report.transport = document.body.dataset.transport;
  report.view = document.body.dataset.view;
  await post("report", report);
})();
""".replace("PATIENCE", str(PATIENCE)).replace("CUT", str(arguments.cut))

is_whole, finished = threading.Event(), threading.Event()
is_whole.set()
report = {}


def pump(source, target):
    """Carries bytes one way, but nothing while the way is cut."""
    try:
        while True:
            select.select([source], [], [])
            is_whole.wait()
            data = source.recv(65536)
            if not data:
                break
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def read_message(connection):
    """The head and the body of a request or an answer; nothing of a WebSocket's frames."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    head = head.decode("latin-1")
    length = re.search(r"(?im)^content-length: *(\d+)", head)
    if re.search(r"(?im)^transfer-encoding: *chunked", head):
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        whole, rest = b"", body
        while True:
            size, rest = rest.split(b"\r\n", 1)
            if int(size, 16) == 0:
                return head, whole
            whole, rest = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head, body


def send_message(connection, head, body):
    told = ("content-length:", "connection:", "transfer-encoding:")
    lines = [line for line in head.split("\r\n") if not line.lower().startswith(told)]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    connection.sendall("\r\n".join(lines).encode("latin-1") + body)


def is_gone(client):
    return bool(select.select([client], [], [], 0)[0]) and not client.recv(1, socket.MSG_PEEK)


def serve(client):
    try:
        head, body = read_message(client)
        method, path = head.split(" ")[:2]
        if path.startswith("/proxy/"):
            return answer_driver(client, path, body)
        is_whole.wait()
        if is_gone(client):
            return
        server = socket.create_connection(("127.0.0.1", arguments.port))
        if re.search(r"(?im)^upgrade: *websocket", head):
            server.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
            threading.Thread(target=pump, args=(server, client), daemon=True).start()
            return pump(client, server)
        is_offer = method == "POST" and path.endswith("/webrtc")
        if is_offer:
            relay = Relay(passes=lambda *_: is_whole.is_set())
            body = relay.without_candidates(body.decode()).encode()
        send_message(server, head, body)
        head, body = read_message(server)
        if is_offer:
            body = relay.stand_before(body.decode()).encode()
        if path.split("?")[0] == "/":
            body = body.replace(b"</head>", b'<script type="module" src="/proxy/driver.js"></script></head>')
        is_whole.wait()
        send_message(client, head, body)
    except OSError:
        pass
    finally:
        client.close()


def answer_driver(client, path, body):
    kind, reply = "application/json", b"{}"
    if path == "/proxy/driver.js":
        kind, reply = "text/javascript", DRIVER.encode()
    elif path == "/proxy/cut":
        is_whole.clear()
    elif path == "/proxy/mend":
        is_whole.set()
    send_message(client, f"HTTP/1.1 200 OK\r\nContent-Type: {kind}", reply)
    if path == "/proxy/report":
        report.update(json.loads(body))
        finished.set()


listener = socket.create_server(("127.0.0.1", 0))


def accept():
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
browser = Chromium(arguments.browser)
browser.open(f"http://127.0.0.1:{listener.getsockname()[1]}/?transport={arguments.transport}", size="900,700")


def end(*_):
    browser.end()
    os._exit(0)


signal.signal(signal.SIGTERM, end)
finished.wait(arguments.cut + 5 * PATIENCE)
print(json.dumps(report), flush=True)
end()
