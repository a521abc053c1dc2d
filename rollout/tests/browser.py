#!/usr/bin/env python3
"""Opens the page of a run in headless Chromium: hovers, zooms, narrows, darkens and prints it.

    rollout/tests/browser.py PAGE.html [SCREENSHOTS]

The page is what `rollout local --compare --report PAGE.html` wrote, with lost requests in it. CHROMIUM names the
browser, if it is not `chromium`. Screenshots are left in the directory SCREENSHOTS.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TIMEOUT = 60


class Browser:
    """Chromium, spoken to over a pair of pipes: https://chromedevtools.github.io/devtools-protocol/"""

    def __init__(self, profile):
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()
        command = [os.environ.get("CHROMIUM", "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu",
                   "--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        shell = f'exec "$@" 3<&{to_browser} 4>&{to_us}'
        self.process = subprocess.Popen(["sh", "-c", shell, "sh", *command], pass_fds=(to_browser, to_us),
                                        stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(to_us)
        self.out, self.incoming = os.fdopen(from_us, "wb", 0), os.fdopen(from_browser, "rb", 0)
        self.buffer, self.last, self.session, self.events = b"", 0, None, []

    def call(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def next(self):
        while b"\0" not in self.buffer:
            part = self.incoming.read(65536)
            assert part, "the browser has ended"
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{script}: {result}"
        return result["result"].get("value")

    def until(self, script):
        """Waits until it is true; fails after a generous while."""
        deadline = time.monotonic() + TIMEOUT
        while not self.value(script):
            assert time.monotonic() < deadline, f"not in time: {script}"
            time.sleep(0.02)

    def mouse(self, kind, x, y):
        button = "none" if kind == "mouseMoved" else "left"
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1,
                  mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])


def check(browser, page, screenshots):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ["Page", "Runtime", "Log", "Network"]:
        browser.call(f"{domain}.enable")
    browser.size(1200, 900)
    browser.call("Page.navigate", url=page.resolve().as_uri())
    browser.until("document.readyState === 'complete' && !!document.querySelector('figure.live')")

    lost = "[...document.querySelectorAll('section.run')].find((run) => run.querySelector('.verdict.some'))"
    browser.value(f"window.run = {lost}; window.tip = run.querySelector('.tip'); window.plot = run.querySelector('.plot');"
                  "run.querySelector('figure').scrollIntoView({block: 'center'}); 1")
    left, top, width, height = browser.value(
        "(({x, y, width, height}) => [x, y, width, height])(run.querySelector('svg.chart').getBoundingClientRect())")

    browser.mouse("mouseMoved", left + width / 2, top + 60)
    browser.until("!tip.hidden")
    said = browser.value("tip.textContent")
    assert "requests/s" in said and "ready" in said, said
    shoot(browser, screenshots, "hover")

    whole = browser.value("plot.viewBox.baseVal.width")
    labels = "[...run.querySelectorAll('.axis text')].map((text) => text.textContent).join()"
    before = browser.value(labels)
    browser.mouse("mousePressed", left + width * 0.4, top + 60)
    browser.mouse("mouseMoved", left + width * 0.5, top + 60)
    browser.mouse("mouseReleased", left + width * 0.6, top + 60)
    zoomed = browser.value("plot.viewBox.baseVal.width")
    assert zoomed < whole / 3, f"dragged over a fifth, and {zoomed} of {whole} are shown"
    assert browser.value(labels) != before, before
    browser.value("run.querySelector('button[aria-label=\"the whole run\"]').click()")
    assert browser.value("plot.viewBox.baseVal.width") == whole

    browser.value("window.loss = run.querySelector('article a'); loss.click()")
    assert browser.value("tip.textContent").startswith(browser.value("Number(loss.dataset.at).toFixed(2)"))
    assert "lost" in browser.value("run.querySelector('.tip .some').textContent")
    browser.value("run.querySelector('svg.chart').focus()")
    at = browser.value("tip.textContent")
    for kind in ["keyDown", "keyUp"]:
        browser.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight")
    assert browser.value("tip.textContent") != at, "the arrow key moved nothing"
    shoot(browser, screenshots, "loss")

    backgrounds = {}
    for name, size in {"desktop": (1200, 900, False), "phone": (390, 844, True)}.items():
        browser.size(*size)
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            browser.until(f"run.querySelector('svg.chart').viewBox.baseVal.width < {size[0]}")
            wide = browser.value("document.documentElement.scrollWidth")
            assert wide <= size[0], f"the page is {wide} wide on a {name} of {size[0]}"
            backgrounds[scheme] = browser.value("getComputedStyle(document.body).backgroundColor")
            shoot(browser, screenshots, f"{name}-{scheme}", whole=True)
    assert backgrounds["light"] != backgrounds["dark"], backgrounds
    browser.size(1200, 900)
    browser.scheme("light")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 20_000, "it does not print"
    if screenshots:
        (screenshots / "print.pdf").write_bytes(printed)

    for event in browser.events:
        method, about = event.get("method"), event.get("params", {})
        assert method not in ("Runtime.exceptionThrown", "Log.entryAdded"), about
        if method == "Network.requestWillBeSent":
            assert about["request"]["url"].startswith("file:"), f"it asks for {about['request']['url']}"


def shoot(browser, screenshots, name, whole=False):
    if screenshots:
        png = browser.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        (screenshots / f"{name}.png").write_bytes(base64.b64decode(png))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            check(browser, pathlib.Path(sys.argv[1]), screenshots)
        finally:
            browser.process.terminate()
            browser.process.wait()
    print("the page opens, hovers, zooms, narrows, darkens and prints")


main()
