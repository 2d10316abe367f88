"""A user of the product's page in a headless Chromium, who does one thing after the other and reports in one line of JSON.

    page_user.py --browser /usr/bin/chromium --port 8080 captions|keyboard|phone
    page_user.py --browser /usr/bin/chromium --port 8080 pictures no-picture.png too-large.png face.png
    page_user.py --browser /usr/bin/chromium --port 8080 token TOKEN
"""

import argparse
import json
import signal
import sys
import time

from devtools import Page

parser = argparse.ArgumentParser()
parser.add_argument("--browser", required=True)
parser.add_argument("--port", type=int, required=True, help="the server's")
parser.add_argument("task", choices=["captions", "pictures", "keyboard", "phone", "token"])
parser.add_argument("files", nargs="*", help="or the token")
arguments = parser.parse_args()

LESSON = "Hello there, and welcome."
SAID = "One word after the other appears as it is heard, and none before its time."

# What the page does with its network, and what stands in it when: `seconds` count from an utterance's first sample that is heard.
WITNESS = """
(() => {
  window.element = (id) => document.getElementById(id);
  window.asked = [];
  const ask = window.fetch;
  window.fetch = (path, options) => (asked.push(`${options?.method} ${path} ${options?.body}`), ask(path, options));
  let start = 0, played = 0, since = 0, last = "";
  window.lines = [];
  window.WebSocket = class extends WebSocket {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("message", ({ data }) => {
        const event = typeof data === "string" ? JSON.parse(data) : {};
        if (event.type === "playback.started") [start, lines.length, last] = [event.sample, 0, ""];
      });
    }
    send(data) {
      const command = typeof data === "string" ? JSON.parse(data) : {};
      if (command.type === "played") [played, since] = [command.sample, performance.now()];
      super.send(data);
    }
  };
  setInterval(() => {
    if (document.body?.dataset.view !== "talk") return;
    const [caption, next] = ["#caption", "#caption .next"].map((name) => document.querySelector(name)?.textContent ?? "");
    const turn = document.querySelector("#turns li:last-child:not(.mine)");
    const line = {
      heard: caption.slice(0, caption.length - next.length), next, turn: turn?.textContent ?? "", isCut: turn?.className === "cut",
      isBusy: turn?.ariaBusy === "true", state: element("state").textContent,
    };
    if (last === (last = JSON.stringify(line))) return;
    lines.push({ seconds: (played - start) / 48000 + (performance.now() - since) / 1000, ...line });
  }, 20);
})();
"""

# What stands at an element, for messages.
NAME = "((e) => e.id || e.className.split?.(' ')[0] || e.type || e.tagName.toLowerCase())"

# Whether an element's upper and lower edge are in the window, and nothing lies over them.
IN_VIEW = """(e) => {
  const { left, top, width, bottom } = e.getBoundingClientRect();
  const isAt = (y) => e.parentElement.contains(document.elementFromPoint(left + width / 2, y) ?? document);
  return width > 0 && isAt(top + 2) && isAt(bottom - 2);
}"""

FOCUS = f"""
(() => {{
  const e = document.activeElement;
  if (e === document.body) return null;
  // Its ring is its own, or, where it is drawn as something else, that of what is drawn.
  const isRing = (e) => getComputedStyle(e).outlineStyle === "solid" || getComputedStyle(e).boxShadow.endsWith("0px 0px 0px 2px");
  const isSeen = e.matches(":focus-visible") && [e, e.parentElement, e.nextElementSibling].some((e) => e && isRing(e));
  return [{NAME}(e), isSeen];
}})()
"""

SURVEY = f"""
(async () => {{
  const shown = (e) => e.checkVisibility({{ visibilityProperty: true }});
  const box = (e) => e.getBoundingClientRect();
  // Inputs that are drawn as their labels are touched there.
  const controls = [...document.querySelectorAll("a[href]:not(.skip), button, summary, textarea, label:has(input), .typed input")].filter(shown);
  const all = [...document.body.querySelectorAll("*")].filter(shown);
  const context = Object.assign(document.createElement("canvas"), {{ width: 1, height: 1 }}).getContext("2d", {{ willReadFrequently: true }});
  const bright = (...colours) => {{
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) (context.fillStyle = colour), context.fillRect(0, 0, 1, 1);
    const part = [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  }};
  // Over pictures there is no one colour.
  const texts = all.filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !e.closest(".frame, .person:not(.upload), .visually-hidden, .skip"));
  const contrast = (e) => {{
    const under = [];
    for (let up = e; up; up = up.parentElement) under.unshift(getComputedStyle(up).backgroundColor);
    const [a, b] = [bright(...under), bright(...under, getComputedStyle(e).color)].sort((x, y) => x - y);
    return (b + 0.05) / (a + 0.05);
  }};
  const inside = {IN_VIEW};
  const below = controls.filter((e) => !inside(e)).map({NAME});
  const picture = inside(element("picture")) ? box(element("picture")).height : 0;
  const hidden = [];
  for (const e of controls) {{
    e.scrollIntoView({{ block: "nearest" }});
    await new Promise(requestAnimationFrame);
    const {{ x, y, width, height }} = box(e);
    if (!e.parentElement.contains(document.elementFromPoint(x + width / 2, y + height / 2) ?? document)) hidden.push({NAME}(e));
  }}
  scrollTo(0, 0);
  const page = document.documentElement;
  return {{
    sideways: page.scrollWidth - page.clientWidth,
    outside: all.filter((e) => !e.closest(".visually-hidden, .skip, .long, svg") && box(e).width && (box(e).right > page.clientWidth + 0.5 || box(e).left < -0.5)).map({NAME}),
    small: controls.filter((e) => !e.matches(".typed input") && Math.min(box(e).width, box(e).height) < 44).map((e) => `${{{NAME}(e)}} ${{box(e).width}} × ${{box(e).height}}`),
    hidden, below, picture,
    faint: texts.filter((e) => !e.closest("[aria-disabled=true], :disabled") && contrast(e) < 4.5).map((e) => `${{{NAME}(e)}} ${{contrast(e).toFixed(2)}}`),
    ground: getComputedStyle(document.documentElement).backgroundColor,
  }};
}})()
"""


def start():
    page.until("!element('start').disabled")
    page.evaluate("element('start').click()")
    page.until("element('subtitle').textContent === 'Live' && element('state').textContent !== 'Connecting'")


def write(text):
    page.evaluate("element('text').focus()")
    page.type(text)
    page.press("Enter")


def is_over(text):
    return page.until(f"lines.at(-1)?.turn === {json.dumps(text)} && !lines.at(-1).isBusy")


def captions():
    start()
    # From its end the page knows how fast this voice is.
    write(LESSON)
    is_over(LESSON)
    write(SAID)
    page.until("lines.at(-1)?.turn.startsWith('One')")
    is_over(SAID)
    page.until("lines.at(-1)?.heard === ''")
    heard = page.evaluate("lines")
    write(SAID)
    page.until("lines.at(-1)?.isBusy && lines.at(-1).turn.split(' ').length > 4")
    page.press("Escape")
    page.until("lines.at(-1)?.isCut")
    time.sleep(1.5)
    return {"said": SAID, "heard": heard, "cut": page.evaluate("lines")}


def pictures():
    page.until("!element('start').disabled")
    page.resize(390, 500, dark=False)
    told = []
    for file in arguments.files:
        page.give(file)
        # A picture of its own stands behind those of the server.
        page.until("!element('people').querySelector('[aria-busy=true]')" + (
            " && element('notice').textContent !== " + json.dumps(told[-1] if told else "")))
        told.append(page.evaluate("element('notice').hidden ? '' : element('notice').textContent"))
        if told[-1] and not page.evaluate(f"({IN_VIEW})(element('notice'))"):
            told[-1] = "(out of view)"
    page.until("document.activeElement.ariaChecked === 'true'", 10)
    chosen = page.evaluate("[...document.querySelectorAll('[aria-checked=true]')].map((e) => e.textContent)")
    identifier = page.evaluate("document.activeElement.dataset.id")
    page.press("Tab")
    page.evaluate("element('start').click()")
    page.until("document.body.dataset.view === 'talk' && element('portrait').complete")
    colours = page.evaluate("""(() => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 2, height: 1 });
      canvas.getContext("2d").imageSmoothingEnabled = false;
      canvas.getContext("2d").drawImage(element("portrait"), 0, 0, 2, 1);
      return [...canvas.getContext("2d").getImageData(0, 0, 2, 1).data];
    })()""")
    asked = page.evaluate("asked.find((line) => line.startsWith('POST /v1/sessions '))")
    return {
        "told": told, "chosen": chosen, "name": page.evaluate("element('name').textContent"), "colours": colours,
        "asksForIt": bool(identifier) and identifier in asked,
    }


def around(shift=False):
    """Where Tab leads from the page's beginning until it leaves the page, and what stands there without a ring."""
    page.evaluate("document.activeElement.blur()")
    stops, unseen = [], []
    for _ in range(20):
        page.press("Tab", shift=shift)
        stop = page.evaluate(FOCUS)
        if stop is None or stop[0] in stops:
            break
        stops.append(stop[0])
        if not stop[1]:
            unseen.append(stop[0])
    return stops, unseen


def controls():
    """What a screen reader finds to use, and what it tells by itself."""
    tree = [(role, name, properties) for role, name, properties in page.spoken() if role != "RootWebArea"]
    use = sorted(f"{role}: {name}" for role, name, properties in tree if properties.get("focusable") and role not in ("main", "LabelText"))
    return use, sorted(f"{role}: {properties['live']}" for role, _, properties in tree if "live" in properties)


def focus(identifier):
    """By Tab."""
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == identifier:
            return True
        page.press("Tab")
    return False


def keyboard():
    report = {}
    page.until("!element('start').disabled")
    report["lobby"], unseen = around()
    report["lobbyControls"], _ = controls()
    focus("start")
    page.press("Enter")
    page.until("element('state').textContent === 'Here for you'")
    report["begins"] = page.evaluate("document.activeElement.id")
    report["talk"], more = around()
    report["backwards"], last = around(shift=True)
    report["unseen"] = unseen + more + last
    report["talkControls"], report["live"] = controls()
    # Typed, and interrupted with a key.
    page.evaluate("document.activeElement.blur()")
    page.press("/")
    page.type(SAID)
    page.press("Enter")
    page.until("lines.at(-1)?.turn && lines.at(-1).state === 'Speaking'")
    page.press("Escape")
    report["escape"] = bool(page.until("lines.at(-1)?.isCut", 10))
    # Interrupted with the button, which keeps the focus.
    page.type(SAID)
    page.press("Enter")
    page.until("!lines.at(-1)?.isCut && lines.at(-1)?.isBusy")
    focus("interrupt")
    page.press("Enter")
    report["button"] = bool(page.until("lines.at(-1)?.isCut", 10)) and page.evaluate("document.activeElement.id") == "interrupt"
    # The talk key is held; on the button a key begins and ends a turn.
    page.evaluate("element('main').focus(), lines.length = 0")
    report["held"] = speak(lambda: page.key("keyDown", " "), lambda: page.key("keyUp", " "))
    focus("talk")
    report["pressed"] = speak(lambda: page.press("Enter"), lambda: page.press("Enter"))
    focus("leave")
    page.press("Enter")
    page.until("document.body.dataset.view === 'lobby'")
    report["ends"] = page.evaluate("document.activeElement.id")
    return report


def speak(begin, end):
    """Whether a turn begins and ends so, and is answered."""
    begin()
    begun = page.until("element('talk').ariaPressed === 'true' && element('state').textContent === 'Listening'", 20)
    time.sleep(0.5)
    page.evaluate("lines.length = 0")
    end()
    ended = page.until("element('talk').ariaPressed === 'false'", 5)
    return bool(begun and ended and page.until("lines.at(-1)?.turn === 'Mm.' && !lines.at(-1).isBusy", 20))


def phone():
    page.until("!element('start').disabled")
    surveys = []

    def survey(view):
        # The last is that of a phone whose keyboard is open.
        for width, height in ((390, 844), (320, 568), (390, 500)):
            for dark in (False, True):
                page.resize(width, height, dark)
                surveys.append({"view": f"{view} {width} × {height} {'dark' if dark else 'light'}", **page.evaluate(SURVEY)})

    survey("lobby")
    start()
    write(SAID)
    page.until("lines.at(-1)?.state === 'Speaking' && lines.at(-1).turn")
    survey("talk")
    return {"surveys": surveys}


def token():
    seen = []
    for word in ("a wrong one", *arguments.files):
        page.until("element('token-dialog').open")
        seen.append(page.evaluate("element('token-refused').checkVisibility() ? element('token-refused').textContent : ''"))
        page.type(word)
        page.press("Enter")
        page.until(f"sessionStorage.getItem('token') === {json.dumps(word)}")
    page.until("!element('start').disabled && !element('token-dialog').open")
    return {"seen": seen}


page = Page(
    arguments.browser, f"http://127.0.0.1:{arguments.port}/?transport=websocket", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", size="1000,800", witness=WITNESS,
)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    print(json.dumps(globals()[arguments.task]()), flush=True)
finally:
    page.end()
