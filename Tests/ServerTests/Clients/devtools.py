"""A page in a headless Chromium, used by hand: keys, files, the window's size, and what a screen reader is told."""

import json
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "WebRTCTests/Clients"))

from chromium import Chromium  # noqa: E402

# Name: code, number, text.
KEYS = {
    "Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), " ": ("Space", 32, " "),
    "/": ("Slash", 191, "/"), "ArrowRight": ("ArrowRight", 39, ""), "ArrowLeft": ("ArrowLeft", 37, ""),
}


class Page:
    """Chromium's DevTools protocol over its pipe, one call after the other. `witness` is a script that runs before the page's own."""

    def __init__(self, program, url, *flags, size, witness=""):
        self.browser = Chromium(program)
        commands, answers = os.pipe(), os.pipe()
        self.commands, self.answers, self.data, self.number, self.session = commands[1], answers[0], b"", 0, None
        # Chromium reads the file 3 and writes the file 4.
        self.browser.open(
            "about:blank", "--remote-debugging-pipe", *flags, size=size, close_fds=False,
            preexec_fn=lambda: [os.dup2(end, place) for end, place in ((commands[0], 103), (answers[1], 104), (103, 3), (104, 4))],
        )
        os.close(commands[0])
        os.close(answers[1])
        target = self.until(lambda: [t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page"])[0]
        self.session = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "DOM", "Accessibility"):
            self(f"{domain}.enable")
        self("Page.addScriptToEvaluateOnNewDocument", source=witness)
        self("Page.navigate", url=url)
        self.until("location.protocol === 'http:' && document.readyState === 'complete'")

    def __call__(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.data:
                piece = os.read(self.answers, 1 << 16)
                if not piece:
                    raise ConnectionError("Chromium has ended.")
                self.data += piece
            line, self.data = self.data.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def evaluate(self, expression):
        """The value of an expression in the page, awaited."""
        result = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, condition, seconds=60):
        """What `condition` (a function, or an expression in the page) gives as soon as that is true; None where it is not in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.evaluate(condition) if isinstance(condition, str) else condition()
            if value:
                return value
            time.sleep(0.05)
        return None

    def key(self, event, key, shift=False):
        """`event` is keyDown or keyUp."""
        code, number, text = KEYS[key]
        self(
            "Input.dispatchKeyEvent", type=event, key=key, code=code, windowsVirtualKeyCode=number, modifiers=8 if shift else 0,
            text=text if event == "keyDown" else "")

    def press(self, key, shift=False):
        self.key("keyDown", key, shift)
        self.key("keyUp", key, shift)

    def type(self, text):
        self("Input.insertText", text=text)

    def give(self, path, selector="input[type=file]"):
        """Picks a file."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def resize(self, width, height, dark):
        """To a phone of that size, in points, and its colours."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        self("Emulation.setTouchEmulationEnabled", enabled=True)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def spoken(self):
        """What a screen reader finds, in order: role, name, and the properties that are set."""
        found = []
        for node in self("Accessibility.getFullAXTree")["nodes"]:
            if node["ignored"]:
                continue
            value = lambda field: node.get(field, {}).get("value", "")  # noqa: E731
            properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
            found.append((value("role"), value("name"), properties))
        return found

    def end(self):
        self.browser.end()
