"""Photographs the page of ``hacore serve`` for the documentation, at a desk's and at a phone's width.

    hacore serve RUN RUN &
    python docs/images/serve.py http://127.0.0.1:7860 --example 4 --value 16

Needs playwright and chromium (pip install -e 'plugins/hacore-serve[test]'; Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parent


def photograph(browser: Any, given: argparse.Namespace, file: Path, **options: Any) -> None:
    """Ask, compare unless it is a phone, and write the picture."""
    phone = options.get("is_mobile", False)
    page = browser.new_page(color_scheme="light", **options)
    page.goto(given.address)
    page.wait_for_selector("body[data-ready]")
    page.locator("#thumbs input").nth(given.example).check(force=True)
    page.fill("#question", given.question or page.locator("#questions button").first.inner_text())
    page.click("#ask")
    if not phone:
        page.check("#compare")
    for slider in page.locator("input[type=range]").all() if given.value and phone else ():
        slider.fill(given.value)
    page.locator(".answer:not(:empty)").first.wait_for()
    page.wait_for_timeout(1000)
    page.evaluate("document.activeElement.blur()")
    page.evaluate(f"document.querySelector('{'#panels' if phone else 'header'}').scrollIntoView()")
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """The command line."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--example", type=int, default=0, help="image of the data, from 0")
    parser.add_argument("--question", help="default: the first of the data about that image")
    parser.add_argument("--value", help="of the slider on the phone")
    parser.add_argument("--output", type=Path, default=FOLDER)
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium was found; install it, as in 'apt install chromium'")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        photograph(browser, given, given.output / "serve.png", viewport={"width": 1040, "height": 760})
        photograph(
            browser,
            given,
            given.output / "serve_phone.png",
            viewport={"width": 390, "height": 760},
            is_mobile=True,
            has_touch=True,
        )
        browser.close()


if __name__ == "__main__":
    main()
