"""Pictures in and out: any image as a model takes it, and kept cells drawn over it.

Needs Pillow; imports no torch, so that processes that decode start fast.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from hacore.errors import DataError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
MOST_PIXELS = 89_478_485
"""Of an image file: Pillow's own limit, 256 MiB of RGB. A small file can unpack to any size."""
DARK = 0.3
"""Brightness of a cell that was not kept."""
_FORMATS = "Pillow reads PNG, JPEG, WebP, GIF, TIFF and more"


def open_picture(image: Any) -> Image.Image:
    """An RGB image of a path, a Pillow image or an array, at its own size.

    Arrays are (H, W), (H, W, 1, 3 or 4) or, as datasets hold them, (1 or 3, H, W); uint8, or float in
    [0, 1]. Of files and Pillow images: turned as EXIF says, transparency put on white, 16-bit grey
    scaled, the first frame of an animation. Raises DataError in one line for what is not an image, and for
    files of more than ``MOST_PIXELS``.
    """
    if isinstance(image, Image.Image):
        return _rgb(image)
    if isinstance(image, (str, Path)):
        return _read(Path(image))
    return _from_array(image)


def fit(image: Image.Image, size: tuple[int, int]) -> Bytes:
    """(3, height, width): an RGB image, resized to (height, width) unless it has the size already.

    By Pillow's bicubic filter, whose support grows with the reduction, so that every source pixel counts
    by its distance. A box has no weights, and the 3.75 by 2.5 from 480x320 to 128x128 does not divide
    evenly; Lanczos costs more and rings more at the edges of objects.
    """
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def draw_kept(picture: Image.Image, brightness: Floats) -> Image.Image:
    """The picture with every cell as bright as ``brightness`` (rows, columns) in [0, 1] says.

    A pixel belongs to the cell whose position is nearest; the outer cells lie on the border, as the
    positions of cells do.
    """
    rows, columns = (
        np.linspace(0, cells - 1, pixels).round().astype(int) if cells > 1 else np.zeros(pixels, int)
        for cells, pixels in zip(brightness.shape, (picture.height, picture.width), strict=True)
    )
    factor = (DARK + (1 - DARK) * brightness)[rows][:, columns, None]
    return Image.fromarray((np.asarray(picture) * factor).round().astype(np.uint8))


def with_caption(picture: Image.Image, lines: list[tuple[str, str]]) -> Image.Image:
    """The picture on white with lines of (text, colour) below, folded to its width or 280 pixels."""
    font = ImageFont.load_default(size=14)
    margin, step, width = 10, 19, max(picture.width, 280)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    folded = [(line, colour) for text, colour in lines for line in fold(pen, text, font, width)]
    size = (width + 2 * margin, picture.height + step * len(folded) + 3 * margin)
    sheet = Image.new("RGB", size, "white")
    sheet.paste(picture, (margin, margin))
    pen = ImageDraw.Draw(sheet)
    for number, (text, colour) in enumerate(folded):
        pen.text((margin, picture.height + 2 * margin + step * number), text, fill=colour, font=font)
    return sheet


def fold(pen: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> list[str]:
    """The text in lines that fit the width; a word longer than it has a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.textlength(longer, font=font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _read(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # The limit is checked below, with the number in the message.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise DataError(_too_large(path, f"{file.width:,} x {file.height:,} pixels"))
                return _rgb(file)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image; {_FORMATS}") from None
    except Image.DecompressionBombError:
        raise DataError(_too_large(path, f"more than {2 * MOST_PIXELS:,} pixels")) from None
    except (MemoryError, DataError):
        raise
    except Exception as error:  # Pillow's readers raise what their formats' parsers do
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: the image cannot be read: {reason}") from None


def _too_large(path: Path, size: str) -> str:
    return f"{path}: has {size}; at most {MOST_PIXELS:,} are read, make it smaller"


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey, in a file of 16 or 32
        grey = np.asarray(image).astype(np.float32).clip(0, 65535) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_array(image: Any) -> Image.Image:
    try:
        array = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    except (TypeError, ValueError):
        array = np.empty(0, object)
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in shape:
        what = f"an array {shape}" if shape and array.dtype != object else type(image).__name__
        raise DataError(
            f"image: found {what}; give a path, a Pillow image, or an array (H, W, 3) or (3, H, W)"
        )
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise DataError("image: an array of floats must lie in [0, 1]; divide by 255, or give uint8")
        array = (array * 255).round()
    elif array.dtype != np.uint8:
        raise DataError(f"image: found an array of {array.dtype}; give uint8, or float in [0, 1]")
    array = np.ascontiguousarray(array.astype(np.uint8))
    return _rgb(Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array))
