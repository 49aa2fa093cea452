"""Pictures in and out: any image as a model takes it, and kept cells drawn over it.

The one reader of pictures: what training measured and what is asked later are read here. Needs Pillow;
imports no torch, so that processes that decode start fast.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from hacore.errors import DataError, reason

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
READER = 2
"""Version of the reader, which packs record: raised when any file reads differently. 1 ignored EXIF and
transparency, and clipped grey of more than 8 bits."""
MOST_PIXELS = 89_478_485
"""Of an image file: Pillow's own limit, 256 MiB of RGB. A small file can unpack to any size."""
DARK = 0.3
"""Brightness of a cell that was not kept."""
_FORMATS = "Pillow reads PNG, JPEG, WebP, GIF, TIFF and more"
_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DamagedPictureError(DataError):
    """A file that is missing, cut off, or no picture."""


def open_picture(image: Any) -> Image.Image:
    """An RGB image of a path, a Pillow image or an array, at its own size.

    Files and Pillow images are turned as EXIF says and put on white where they are transparent. Grey of 16
    bits, in a file of 16 or 32, is divided by 257, and floats, which must lie in [0, 1], are multiplied by
    255; colours of 16 bits keep their upper 8, as Pillow reads them. Of an animation the first frame. Colour
    profiles are not applied.
    Arrays are (H, W), (H, W, 1, 3 or 4) or, as datasets hold them, (1 or 3, H, W); uint8, uint16, bool or
    float, and int32 for grey. They read like a file of the same values.
    Raises DataError in one line for values out of range, for what is not an image, and for files of more
    than ``MOST_PIXELS``; of a file that is missing or damaged it is a DamagedPictureError.
    """
    if isinstance(image, (str, Path)):
        return _read(Path(image))
    try:
        return _rgb(image if isinstance(image, Image.Image) else _from_array(image))
    except DataError as error:
        raise DataError(f"image: {error}") from None


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
            # Of damaged tags, and of the limit, which is checked below with the number in the message.
            warnings.simplefilter("ignore")
            with Image.open(path) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise DataError(_too_large(f"{file.width:,} x {file.height:,} pixels"))
                return _rgb(file)
    except FileNotFoundError:
        raise DamagedPictureError(f"{path}: no such image file") from None
    except UnidentifiedImageError:
        raise DamagedPictureError(f"{path}: is not an image; {_FORMATS}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: {_too_large(f'more than {2 * MOST_PIXELS:,} pixels')}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise what their formats' parsers do
        raise DamagedPictureError(f"{path}: the image cannot be read: {reason(error)}") from None


def _too_large(size: str) -> str:
    return f"has {size}; at most {MOST_PIXELS:,} are read, make it smaller"


def _rgb(image: Image.Image) -> Image.Image:
    """A new image without EXIF and the like, so that to read it again changes nothing."""
    image.load()
    turn = _TURNS.get(orientation(image))
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode in ("La", "RGBa"):  # colours times alpha, as resampling leaves them
        image = image.convert(image.mode[:-1] + "A")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    opaque = image.width * image.height  # pixels, of a picture as CLEVR's, which needs no white behind it
    if image.mode == "RGBA" and image.getchannel("A").histogram()[255] < opaque:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    image.info = {}
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; 1, upright, where there is none or it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage of EXIF is none of the picture
            return int(image.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # as of the formats' parsers
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 8 bits, with alpha where a value stands for transparent; DataError for values out of range."""
    grey: npt.NDArray[Any] = np.asarray(image)
    low, high = float(grey.min()), float(grey.max())
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # false for NaN, too
            raise DataError(
                f"holds floats from {low:g} to {high:g}; they must lie in [0, 1], divide them or save 8 bits"
            )
        grey_255 = grey * np.float32(255)
    else:
        # Pillow opens 16 bits of some formats as 32. Elsewhere up to 255 is 8 bits in a wide type, not black.
        narrow = image.mode == "I" and image.format not in ("PNG", "PPM") and 0 < high <= 255
        if low < 0 or high > 65535 or narrow:
            raise DataError(
                f"holds 32-bit integers from {low:.0f} to {high:.0f}; they are read as 16 bits, 0 to 65535; "
                "save it with 16 or with 8 bits"
            )
        grey_255 = grey.astype(np.float32) / np.float32(257)
    eight = Image.fromarray(grey_255.round().astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:
        eight.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
    return eight


def _from_array(image: Any) -> Image.Image:
    array: npt.NDArray[Any]
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
        raise DataError(f"found {what}; give a path, a Pillow image, or an array (H, W, 3) or (3, H, W)")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind, grey = array.dtype.kind, array.shape[2] == 1
    if kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise DataError("an array of floats must lie in [0, 1]; divide by 255, or give uint8")
        array = array.astype(np.float32) if grey else (array * np.float64(255)).round()
    elif kind == "b":
        array = array * np.uint8(255)
    elif array.dtype == np.uint16 and not grey:
        array = array >> 8
    elif array.dtype not in (np.uint8, np.uint16) and not (grey and array.dtype == np.int32):
        raise DataError(f"found an array of {array.dtype}; give uint8 or uint16, or float in [0, 1]")
    if not grey:
        return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)))
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0]))
