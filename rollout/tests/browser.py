#!/usr/bin/env python3
"""Opens the page of a run in headless Chromium: hovers, zooms, narrows, darkens and prints it.

    rollout/tests/browser.py PAGE.html [SCREENSHOTS]

The page is what `rollout local --compare --report PAGE.html` wrote, with lost requests in it. Screenshots are left in
the directory SCREENSHOTS.
"""

import base64
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "scripts"))
from chromium import browse  # noqa: E402

def check(browser, page, screenshots):
    browser.open(page.resolve().as_uri())
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
    browser.shoot(screenshots, "hover")

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
    browser.shoot(screenshots, "loss")

    backgrounds = {}
    for name, size in {"desktop": (1200, 900, False), "phone": (390, 844, True)}.items():
        browser.size(*size)
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            browser.until(f"run.querySelector('svg.chart').viewBox.baseVal.width < {size[0]}")
            wide = browser.value("document.documentElement.scrollWidth")
            assert wide <= size[0], f"the page is {wide} wide on a {name} of {size[0]}"
            backgrounds[scheme] = browser.value("getComputedStyle(document.body).backgroundColor")
            browser.shoot(screenshots, f"{name}-{scheme}", whole=True)
    assert backgrounds["light"] != backgrounds["dark"], backgrounds
    browser.size(1200, 900)
    browser.scheme("light")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 20_000, "it does not print"
    if screenshots:
        (screenshots / "print.pdf").write_bytes(printed)

    browser.assert_asked_only("file:")
    for event in browser.events:
        assert event.get("method") not in ("Runtime.exceptionThrown", "Log.entryAdded"), event["params"]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    browse(lambda browser: check(browser, pathlib.Path(sys.argv[1]), screenshots), screenshots)
    print("the page opens, hovers, zooms, narrows, darkens and prints")


main()
