"""One long list inside a JSON object, read or written item by item: memory holds one piece of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hacore.machine.texts import TextError, open_text

PIECE = 1 << 22
_LONGEST = 1 << 20  # characters of one string or number; an error further from the end is not a cut
_NUMBER_END = 3  # characters that may follow what reads as a number before it goes on
_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


class JsonError(ValueError):
    """What is wrong with the text of a JSON file, in words that follow the file's name."""


def read_list(path: Path, key: str) -> Iterator[Any]:
    """The items of the list under ``key`` of the file's top object, in order.

    Raises JsonError, possibly after some items: no such list, not JSON, cut off, not UTF-8, or text
    after the object. OSError when the file cannot be read.
    """
    try:
        with open_text(path) as file:
            yield from _find(_Text(file), key)
    except TextError as error:
        raise JsonError(str(error)) from None
    except RecursionError:
        raise JsonError("is nested too deeply") from None


@contextmanager
def written_list(path: Path, info: Any, key: str) -> Iterator[Callable[[Any], None]]:
    """Writes ``{"info": info, key: [...]}``; yields what takes the items, one a line in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps(info)}, {json.dumps(key)}: [')
        between = "\n"

        def add(item: Any) -> None:
            nonlocal between
            file.write(between + json.dumps(item))
            between = ",\n"

        yield add
        file.write("\n]}\n")


def _find(text: _Text, key: str) -> Iterator[Any]:
    has_list = False
    text.expect("{")
    more = text.peek() != "}"
    while more:
        name = text.value()
        text.expect(":")
        if name == key and text.take("["):
            has_list = True
            yield from _items(text)
        else:
            text.value()
        more = text.take(",")
    text.expect("}")
    if not has_list:
        raise JsonError(f"has no list '{key}'")
    if text.peek():
        raise text.broken("text after the end")


def _items(text: _Text) -> Iterator[Any]:
    if text.take("]"):
        return
    while True:
        yield text.value()
        if text.take("]"):
            return
        text.expect(",")


class _Text:
    """The piece of a file that is being looked at, and the place in it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._before = 0  # characters of the file before the piece

    def _more(self) -> bool:
        """Read on, at least doubling the piece, so that a long item is not parsed over and over."""
        read = self._file.read(max(PIECE, len(self._text) - self._at))
        if read:
            self._before += self._at
            self._text = self._text[self._at :] + read
            self._at = 0
        return bool(read)

    def peek(self) -> str:
        """The next character that is not white space; "" at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches ""
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, mark: str) -> bool:
        """Whether the mark is next; steps over it."""
        if self.peek() != mark:
            return False
        self._at += 1
        return True

    def expect(self, mark: str) -> None:
        """Steps over the mark. Raises JsonError if something else is next."""
        if not self.take(mark):
            raise self.broken(f"'{mark}' expected")

    def value(self) -> Any:
        """The value that is next, as Python's."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - error.pos < _LONGEST and self._more():
                    continue
                raise self.broken(error.msg.lower(), error.pos) from None
            except ValueError:
                raise self.broken("a number of more digits than Python reads") from None
            if len(self._text) - end < _NUMBER_END and self._more():
                continue  # the piece may end within a number, as in 1.5e-
            self._at = end
            return value

    def broken(self, problem: str, at: int | None = None) -> JsonError:
        """What to raise for a mistake at a place of the piece."""
        at = self._at if at is None else at
        if not self._text[at:].strip() or problem.startswith("unterminated"):
            return JsonError(f"is cut off after {self._before + len(self._text)} characters")
        return JsonError(f"is not JSON at character {self._before + at} ({problem})")
