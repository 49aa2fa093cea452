"""Texts that other programs wrote: UTF-8, with or without a byte order mark. Imports no torch.

PowerShell, Excel and Notepad write the mark; PowerShell's ``>`` writes UTF-16, which is refused by its name.
Two spellings of the same accents are one text once both are composed.
"""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HEAD = 64
"""First bytes of a file that tell its encoding."""
_CODECS = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_MARKS = {"\ufeff".encode(codec): codec for codec in _CODECS}  # UTF-32 first: it begins as UTF-16 does


class TextError(ValueError):
    """What a file has in place of UTF-8 text, in words that follow its name. line: from 1, 0 for the file."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(f"{problem}; save it as UTF-8")
        self.line = line

    def at(self, path: Path | str) -> str:
        """The problem with its place."""
        return f"{path}:{self.line}: {self}" if self.line else f"{path}: {self}"


def text_start(head: bytes) -> int:
    """Where the text begins in a file whose first bytes these are: after the mark, if there is one.

    head: ``HEAD`` bytes, fewer of a shorter file. Raises TextError for UTF-16, UTF-32 and zero bytes.
    """
    if head.startswith(codecs.BOM_UTF8):
        return len(codecs.BOM_UTF8)
    for mark, codec in _MARKS.items():
        if head.startswith(mark):
            raise _other(codec)
    if b"\0" in head:
        raise next((_other(codec) for codec in _CODECS if _reads_as(head, codec)), TextError(_ZEROS))
    return 0


def decode_text(data: bytes) -> str:
    """The text of a file's bytes. Raises TextError for anything but UTF-8."""
    start = text_start(data[:HEAD])
    try:
        return data.decode("utf-8") if not start else data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, error.object.count(b"\n", 0, error.start) + 1) from None


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file, for reading; line ends are as in the file. Raises TextError where it is not UTF-8, if only
    while it is read; OSError.
    """
    with open(path, "rb") as file:
        file.seek(text_start(file.read(HEAD)))
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            try:
                yield text
            except UnicodeDecodeError as error:
                raise _not_utf8(error) from None


def composed(text: str) -> str:
    """The text in Unicode's form NFC: letters and their accents as one character, where there is one."""
    return unicodedata.normalize("NFC", text)


_CUT = "\ufffd"
_ZEROS = "has zero bytes, so it is damaged or no text"


def _other(codec: str) -> TextError:
    return TextError(f"is {codec[:6].upper()}, not UTF-8")


def _not_utf8(error: UnicodeDecodeError, line: int = 0) -> TextError:
    return TextError(f"found the byte {error.object[error.start]:#04x}, which is not UTF-8", line)


def _reads_as(head: bytes, codec: str) -> bool:
    text = head.decode(codec, "replace").removesuffix(_CUT)  # the head may end within a character
    return bool(text) and all(
        character != _CUT and (character.isprintable() or character.isspace()) for character in text
    )
