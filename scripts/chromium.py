"""Headless Chromium for tests of pages. CHROMIUM names the browser, if it is not `chromium`."""

import base64
import json
import os
import subprocess
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
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
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

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        self.size(1200, 900)
        self.call("Page.navigate", url=url)

    def shoot(self, screenshots, name, whole=False):
        if screenshots:
            png = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
            (screenshots / f"{name}.png").write_bytes(base64.b64decode(png))

    def end(self):
        self.process.terminate()
        # Its children outlive it for a moment, and write to the profile; each holds a copy of stdout.
        self.process.communicate(timeout=TIMEOUT)

    def assert_asked_only(self, origin):
        for event in self.events:
            if event.get("method") == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                assert url.startswith((origin, "data:")), f"it asks for {url}"


def browse(check, screenshots):
    """Calls `check` with a browser of its own."""
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            check(browser)
        finally:
            browser.end()
