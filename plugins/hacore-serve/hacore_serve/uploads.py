"""Uploaded image files, decoded in memory or refused with a reason."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image, UnidentifiedImageError

from hacore.errors import DataError
from hacore.pictures import open_picture
from hacore_serve.limits import Limits, Refused

# What cameras, browsers and drawing programs write. Pillow reads more, some of it by other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_TAKEN = "PNG, JPEG, WebP, GIF, BMP and TIFF are taken"
_PREVIEW = 640  # pixels of the longer side


def open_upload(text: str, limits: Limits) -> Image.Image:
    """An RGB image of a file in base64, read as training read its own.

    Raises Refused: 413 for too many bytes, or pixels, which are not decoded then; 415 for what is no
    image; 422 for an image that is damaged or has values out of range.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, "image: must be a file in base64") from None
    if not data:
        raise Refused(415, f"the file is empty; {_TAKEN}")
    if len(data) > limits.upload:
        raise Refused(413, f"the image file is too large; at most {limits.upload / 1e6:g} MB are taken")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused(415, f"the file is not an image; {_TAKEN}") from None
    except Image.DecompressionBombError:
        raise Refused(413, f"the image has too many pixels; {_at_most(limits)}") from None
    except Exception:  # what the formats' parsers raise
        raise Refused(415, f"the file is not an image that can be read; {_TAKEN}") from None
    if image.width * image.height > limits.pixels:
        raise Refused(413, f"the image has {image.width:,} x {image.height:,} pixels; {_at_most(limits)}")
    try:
        return open_picture(image)
    except MemoryError:
        raise
    except DataError as error:  # values out of range
        raise Refused(422, str(error)) from None
    except Exception:
        raise Refused(422, "the image is damaged; save it again, or take another") from None


def as_png(picture: Image.Image) -> bytes:
    """A PNG of at most 640 pixels height and width."""
    small = picture.copy()
    small.thumbnail((_PREVIEW, _PREVIEW))
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


def _at_most(limits: Limits) -> str:
    return f"at most {limits.pixels / 1e6:g} million are taken, make it smaller"
