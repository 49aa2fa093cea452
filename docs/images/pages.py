"""Photographs parts of a report or a comparison for the documentation, by a Chromium without a window.

    python docs/images/pages.py runs/han_rn/20260101-120000-abc123/report/index.html \
        --section gallery --output docs/images/report_gallery.png

Everything but the section is hidden before. Needs Pillow, playwright and chromium (pip install -e
'plugins/hacore-serve[test]'; Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image

PHONE = 500  # pixels; a narrower page is photographed as a phone shows it


def photograph(page: Path, section: str, size: tuple[int, int], scheme: str) -> Image.Image:
    """The page at a width and height in pixels, with one section of it alone; scheme: light or dark."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium was found; install it, as in 'apt install chromium'")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, is_mobile=size[0] < PHONE
        )
        tab.set_default_timeout(120_000)
        tab.goto(page.resolve().as_uri())
        if section != "all":
            others = f"header, nav, section:not(#{section})"
            tab.add_style_tag(content=f"{others} {{ display: none; }} h2 {{ margin-top: 0 !important; }}")
        image = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
        browser.close()
    return image


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--section", default="all", help="the id of a section, as in gallery; default: all")
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 900), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    image = photograph(chosen.page, chosen.section, tuple(chosen.size), chosen.scheme)
    image.save(chosen.output, optimize=True)  # a palette would change the colours of objects
    print(f"{chosen.output}: {chosen.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
