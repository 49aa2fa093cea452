"""Photographs parts of a report or a comparison for the documentation, by a Chromium without a window.

    python docs/images/pages.py runs/han_rn/20260101-120000-abc123/report/index.html \
        --section gallery --output docs/images/report_gallery.png

Everything but the section is hidden before. Needs Pillow and chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

SECTIONS = {"all": "", "gallery": "#gallery", "cost": "[aria-labelledby=h-cost]"}


def photograph(page: Path, section: str, size: tuple[int, int]) -> Image.Image:
    """The page at a width and height in pixels, with one section of it alone."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium was found; install it, as in 'apt install chromium'")
    hidden = ""
    if SECTIONS[section]:
        others = f"header, section:not({SECTIONS[section]})"
        hidden = f"<style>{others} {{ display: none; }} h2 {{ margin-top: 0; }}</style>"
    with tempfile.TemporaryDirectory() as folder:
        copy, shot = Path(folder, "page.html"), Path(folder, "shot.png")
        copy.write_text(
            page.read_text(encoding="utf-8").replace("</head>", f"{hidden}</head>"), encoding="utf-8"
        )
        subprocess.run(
            [
                *(browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-sandbox"),
                *(f"--window-size={size[0]},{size[1]}", f"--screenshot={shot}", copy.as_uri()),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as image:
            return image.convert("RGB")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--section", choices=SECTIONS, default="all")
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 900), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    image = photograph(chosen.page, chosen.section, tuple(chosen.size))
    image.save(chosen.output, optimize=True)  # a palette would change the colours of objects
    print(f"{chosen.output}: {chosen.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
