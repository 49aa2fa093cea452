"""Parts of file names from what users write, and the digests that tell them apart."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any


def file_name_part(text: str, most: int = 60) -> str:
    """The text with letters and digits of any script; anything else becomes a hyphen, as in ``is-it-red``.

    most: bytes, because file systems count these (255 for a whole name). Different texts can give the same
    part, and a text of signs alone gives an empty one: add a ``short_digest``.
    """
    words = "".join(c if _fits(c) else " " for c in unicodedata.normalize("NFC", text)).split()
    return "-".join(words).encode()[:most].decode(errors="ignore").strip("-.")


def short_digest(what: Any) -> str:
    """Eight hexadecimal digits that tell JSON-able values apart."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def distinct(names: Iterable[str], part: Callable[[str], str]) -> dict[str, str]:
    """{name: part(name)}, with a digest where several names have one part, whatever their case."""
    parts = {name: part(name) for name in names}
    folded = [value.casefold() for value in parts.values()]
    return {
        name: f"{value}-{short_digest(name)}" if folded.count(value.casefold()) > 1 else value
        for name, value in parts.items()
    }


def is_file_name(text: str) -> bool:
    """Whether it is letters and digits of any script, and ``.``, ``_`` and ``-`` that do not come first."""
    first = text[:1]
    return bool(first) and _kind(first) in "LN" and all(c in "._-" or _kind(c) in "LMN" for c in text)


def _kind(character: str) -> str:
    """``L`` of letters, ``M`` of the marks that belong to them, ``N`` of digits."""
    return unicodedata.category(character)[0]


def _fits(character: str) -> bool:
    """Whether it may stay, and the system can write it."""
    if character not in "_." and _kind(character) not in "LMN":
        return False
    try:
        os.fsencode(character)
    except UnicodeEncodeError:  # the file system's encoding is not UTF-8
        return False
    return True
