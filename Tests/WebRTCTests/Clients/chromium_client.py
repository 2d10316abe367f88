"""A headless Chromium as the other side of a connection, driven by the tests as aiortc_client.py is, with the same report.

Its microphone plays a tone of 440 Hz from a file. With --trickle its candidates come after the offer, as fragments.

    chromium_client.py --browser /usr/bin/chromium --role conversation --seconds 4 [--codec h264] [--trickle] [--close-after S --how leave|kill] [--loss]
"""

import argparse
import http.server
import json
import math
import os
import queue
import signal
import struct
import sys
import threading
import time
import wave
from pathlib import Path

from chromium import Chromium
from relay import LossyRelay

parser = argparse.ArgumentParser()
parser.add_argument("--browser", required=True)
parser.add_argument("--role", default="conversation")
parser.add_argument("--seconds", type=float, default=4)
parser.add_argument("--codec", default="vp8")
parser.add_argument("--trickle", action="store_true")
parser.add_argument("--relay")
parser.add_argument("--close-after", type=float)
parser.add_argument("--how", default="kill")
parser.add_argument("--loss", action="store_true", help="of one packet in twenty")
arguments = parser.parse_args()

relay = LossyRelay() if arguments.loss else None
answers: queue.Queue = queue.Queue()
answered, finished = threading.Event(), threading.Event()


def say(**fields):
    print(json.dumps(fields), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/settings":
            settings = {name: getattr(arguments, name) for name in ("role", "seconds", "codec", "trickle", "relay")}
            self.reply(json.dumps(settings).encode(), "application/json")
        elif self.path == "/answer":
            # The test may answer later; the page waits.
            answer = answers.get()
            answer = relay.stand_before(answer) if relay else answer
            self.reply(json.dumps({"answer": answer}).encode(), "application/json")
            answered.set()
        else:
            self.reply(Path(__file__).with_name("chromium_client.html").read_bytes(), "text/html")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if relay and "offer" in body:
            body["offer"] = relay.without_candidates(body["offer"])
        if relay and "lost" in body:
            body["lost"]["relay"] = [relay.dropped, relay.carried]
        say(**body)
        self.reply(b"{}", "application/json")
        if "seen" in body or "failure" in body:
            finished.set()

    def log_message(self, *_):
        pass


def read_answers():
    for line in sys.stdin:
        answers.put(json.loads(line)["answer"])


def write_tone(path):
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        samples = (int(0.3 * 32767 * math.sin(2 * math.pi * 440 * i / 48000)) for i in range(48000))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Thread(target=read_answers, daemon=True).start()
browser = Chromium(arguments.browser)
tone = os.path.join(browser.folder, "tone.wav")
write_tone(tone)
browser.open(
    f"http://127.0.0.1:{server.server_address[1]}/", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={tone}", size="400,400",
)


def end(*_):
    browser.end()
    os._exit(0)


signal.signal(signal.SIGTERM, end)
# The test that started this may be gone.
threading.Thread(target=lambda: (browser.wait(), end()), daemon=True).start()
if arguments.close_after:
    answered.wait(60)
    time.sleep(arguments.close_after)
    say(closing=time.time() * 1000)
    # The one closes its windows and says goodbye to the other side, the other does not.
    browser.signal(signal.SIGKILL if arguments.how == "kill" else signal.SIGTERM)
    browser.wait(20)
    end()
finished.wait(arguments.seconds + 60)
end()
