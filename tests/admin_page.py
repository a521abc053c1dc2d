#!/usr/bin/env python3
"""Opens the page of the admin port in headless Chromium and follows a process to its end.

    tests/admin_page.py BINARY [SCREENSHOTS]
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "scripts"))
from chromium import browse  # noqa: E402

HERE = {"APP_HOST": "127.0.0.1", "APP_PORT": "0", "APP_ADMIN_PORT": "0", "APP_LOG_FORMAT": "json",
        "APP_DRAIN_DELAY": "4s"}


def check(browser, process, admin, screenshots):
    browser.open(f"http://{admin}/")
    browser.until("document.title.endsWith(': serving') && document.querySelectorAll('#flags tr').length > 20")
    assert browser.value("document.querySelector('[aria-current]').textContent") == "serving"
    headings = browser.value("[...document.querySelectorAll('h2')].map((heading) => heading.textContent).join()")
    assert headings == "checks,traffic,admission,runtime,flags", headings
    assert browser.value("document.querySelector('tr.set td').textContent").startswith("APP_"), "what is set is marked"
    backgrounds = set()
    for scheme in ["light", "dark"]:
        browser.scheme(scheme)
        backgrounds.add(browser.value("getComputedStyle(document.documentElement).backgroundColor + "
                                      "getComputedStyle(document.body).color"))
        for name, size in {"desktop": (1200, 900, False), "phone": (390, 844, True)}.items():
            browser.size(*size)
            wide = browser.value("document.documentElement.scrollWidth")
            assert wide <= size[0], f"the page is {wide} wide on a {name} of {size[0]}"
            browser.shoot(screenshots, f"{name}-{scheme}", whole=True)
    assert len(backgrounds) == 2, backgrounds
    exceptions = [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]
    assert not exceptions, exceptions

    process.send_signal(signal.SIGTERM)
    browser.until("document.title.endsWith(': draining')")
    browser.until("document.querySelector('tr.bad')?.textContent.startsWith('readyz/lifecycle')")
    browser.shoot(screenshots, "draining")
    browser.until("document.title.endsWith(': gone')")
    browser.assert_asked_only(f"http://{admin}/")
    assert process.wait() == 0


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    process = subprocess.Popen([sys.argv[1]], env=os.environ | HERE, stdout=subprocess.PIPE)
    try:
        admin = json.loads(process.stdout.readline())["admin_address"]
        browse(lambda browser: check(browser, process, admin, screenshots), screenshots)
    finally:
        process.kill()
        process.wait()
    print("the page shows the process, narrows, darkens, and follows it to its end")


main()
