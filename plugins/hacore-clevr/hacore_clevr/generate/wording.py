"""Wordings of questions: parsing a template's text and filling it in.

A wording is English with slots (``<Z2>``), and words in square brackets that may be left out. A slot of
a shape that is left empty says "thing" or "object", other empty slots say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from hacore_clevr.generate.stream import Stream

WORDS: Mapping[str, tuple[str, ...]] = {
    "large": ("large", "big"),
    "small": ("small", "tiny"),
    "rubber": ("rubber", "matte"),
    "metal": ("metal", "metallic", "shiny"),
    "cube": ("cube", "block"),
    "sphere": ("sphere", "ball"),
    "cylinder": ("cylinder",),
    "left": ("left of", "to the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right side of"),
    "front": ("in front of",),
    "behind": ("behind",),
}
"""What a value is called; colours are called by their names."""

UNNAMED_SHAPE = ("thing", "object")

_PIECE = re.compile(r"<\w+>|\[|\]|[^<\[\]]+|<")
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\w))")
_OTHER = re.compile(r"\b(an)?other\b ", re.IGNORECASE)
_SLOT = re.compile(r"<[A-Za-z]+(\d*)>")


@attrs.frozen
class Slot:
    """A place for a parameter's value; attribute: of what, or "relation"."""

    name: str
    attribute: str


Piece = str | Slot


@attrs.frozen(kw_only=True)
class Wording:
    """A parsed text. parts: pieces in order, and whether they may be left out.

    slots: all parameters it says. article, other: does it hold "a" or "an", and "other"? rivals: slots
    of the same attribute of the two descriptions, if there are exactly two.
    """

    text: str
    parts: tuple[tuple[bool, tuple[Piece, ...]], ...]
    slots: frozenset[str]
    article: bool
    other: bool
    rivals: tuple[tuple[str, str], ...]


def parse_wording(text: str, parameters: Mapping[str, str]) -> Wording:
    """The wording of a text whose slots are among the parameters (slot -> attribute or "relation").

    ValueError for unknown slots and for brackets that do not match.
    """
    parts: list[tuple[bool, tuple[Piece, ...]]] = []
    pieces: list[Piece] = []
    optional = False
    for token in _PIECE.findall(text):
        if token in "[]":
            if optional == (token == "["):
                raise ValueError(f"the brackets of {text!r} do not match; they cannot be nested")
            parts.append((optional, tuple(pieces)))
            pieces, optional = [], token == "["
        elif token[0] == "<":
            if token not in parameters:
                raise ValueError(f"slot {token} is not a parameter of params")
            pieces.append(Slot(token, parameters[token]))
        else:
            pieces.append(token)
    if optional:
        raise ValueError(f"the brackets of {text!r} do not match; they cannot be nested")
    parts.append((False, tuple(pieces)))
    return Wording(
        text=text,
        parts=tuple(part for part in parts if part[1]),
        slots=frozenset(piece.name for _, some in parts for piece in some if isinstance(piece, Slot)),
        article=bool(re.search(r"\b[Aa]n? ", text)) or bool(_OTHER.search(text)),
        other=bool(_OTHER.search(text)),
        rivals=_rivals(parameters),
    )


def _rivals(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    descriptions: dict[str, dict[str, str]] = {}
    for slot, attribute in parameters.items():
        match = _SLOT.fullmatch(slot)
        if match and attribute != "relation":
            descriptions.setdefault(match[1], {})[attribute] = slot
    if len(descriptions) != 2:
        return ()
    one, other = descriptions.values()
    return tuple((one[name], other[name]) for name in one if name in other)


def fitting(wordings: Sequence[Wording], values: Mapping[str, str]) -> list[Wording]:
    """The wordings that say every value that is not empty."""
    named = {slot for slot, value in values.items() if value}
    return [wording for wording in wordings if named <= wording.slots]


def word(wording: Wording, values: Mapping[str, str], stream: Stream) -> str:
    """The question in words.

    values: by slot, "" where a filter leaves one out. Synonyms, and whether optional words are said, are
    drawn from the stream; optional words around a value are always said. "Other" is not said of
    things that the two descriptions tell apart already.
    """
    words: list[str] = []
    for optional, pieces in wording.parts:
        if optional and not _needed(pieces, values) and stream.below(2):
            continue
        words += [piece if isinstance(piece, str) else _called(piece, values, stream) for piece in pieces]
    text = " ".join("".join(words).split())
    for mark in "?,;.":
        text = text.replace(f" {mark}", mark)
    if wording.other and any(
        values[one] and values[two] and values[one] != values[two] for one, two in wording.rivals
    ):
        text = _OTHER.sub(lambda match: "a " if match[1] else "", text)
    if wording.article:
        text = _ARTICLE.sub(
            lambda match: f"{match[1]}n " if match[2] in "aeiouAEIOU" else f"{match[1]} ", text
        )
    return text[:1].upper() + text[1:]


def _needed(pieces: tuple[Piece, ...], values: Mapping[str, str]) -> bool:
    return any(isinstance(piece, Slot) and values[piece.name] for piece in pieces)


def _called(slot: Slot, values: Mapping[str, str], stream: Stream) -> str:
    value = values[slot.name]
    if value:
        return stream.choice(WORDS[value]) if value in WORDS else value
    return stream.choice(UNNAMED_SHAPE) if slot.attribute == "shape" else ""
