"""The official files: three lines a question, which are the question, its answer and its image."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import attrs
from hacore_folder.findings import Findings
from hacore_folder.questions import Question

from hacore.data import Dataset
from hacore.errors import DataError, did_you_mean, reason
from hacore.machine.texts import TextError, composed, decode_text

SPLITS = ("train", "test")
SUFFIXES = (".png", ".jpg", ".jpeg")
WANTED = (
    "the folder of DAQUAR's files, qa.894.raw.train.format_triple and qa.894.raw.test.format_triple, and of "
    "its images, image1.png and so on; both are on the page 'Visual Turing Challenge' of www.mpi-inf.mpg.de"
)

TYPES = ("count", "color", "place", "object", "other")
_COLORS = {"color", "colors", "colour", "colours"}
_THINGS = {"what", "which"}


def question_type(words: tuple[str, ...]) -> str:
    """What a question asks for, by its words alone; the first rule that fits.

    ``count``: it says "how many" or "number of". ``color``: it has the word color or colour, or the plural.
    ``place``: it begins with "where". ``object``: it begins with "what" or "which". ``other``: all else.
    """
    pairs = {*pairwise(words)}
    if {("how", "many"), ("number", "of")} & pairs:
        return "count"
    if _COLORS & {*words}:
        return "color"
    return "place" if words[0] == "where" else "object" if words[0] in _THINGS else "other"


def answer_of(text: str) -> str:
    """The answer as a class: several, which are a set, in alphabetical order; "" if one is empty."""
    answers = sorted({" ".join(composed(each).split()) for each in text.split(",")})
    return ", ".join(answers) if all(answers) else ""


def file_name(categories: int, split: str) -> str:
    """The official name of a split's questions."""
    return f"qa.{categories}.raw.{split}.format_triple"


def official_files(root: Path, categories: int) -> list[Path]:
    """The files of train and test. DataError, with what to do, where one is missing."""
    paths = [root / file_name(categories, split) for split in SPLITS]
    for path in paths:
        if not path.is_file():
            hint = "" if root.is_dir() else f" (it is no folder, seen from {Path.cwd()})"
            raise DataError(f"{path}: is missing{hint}; give data.root {WANTED}")
    return paths


@attrs.define(eq=False)
class Images:
    """The images of a folder, or of ``images`` in it, by their names without a suffix."""

    root: Path
    _names: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        folder = self.root / "images" if (self.root / "images").is_dir() else self.root
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                self._names.setdefault(path.stem, path.relative_to(self.root).as_posix())

    def name(self, given: str) -> str:
        """The path of an image within the folder. DataError where there is none."""
        if given in self._names:
            return self._names[given]
        near = did_you_mean(given, self._names) or f"; put it into {self.root / 'images'}"
        raise DataError(f"image '{given}' is not in the folder, with none of {', '.join(SUFFIXES)}{near}")


def read_official(findings: Findings, images: Images, split: str, first: int) -> list[Question]:
    """The questions of the file ``findings.path``; what is wrong is in ``findings``, and left out.

    first: id of the first one; the others count on. DataError when the file cannot be read.
    """
    try:
        text = decode_text(findings.path.read_bytes())
    except OSError as error:
        raise DataError(f"{findings.path}: cannot be read ({reason(error)})") from error
    except TextError as error:
        findings.note(error.line, str(error))
        return []
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines or len(lines) % 3:
        findings.note(
            len(lines),
            f"has {len(lines):,} lines and must have three a question: question, answer and image; it may be "
            "cut off, get it again",
        )
        return []
    questions, absent = [], set()
    for row in range(len(lines) // 3):
        asked, given, name = (line.strip() for line in lines[3 * row : 3 * row + 3])
        line = 3 * row + 1
        words, answer, image = tuple(Dataset.split_words(asked)), answer_of(given), ""
        if not words:
            findings.note(line, f"question '{asked}' has no words; correct it, or get the file again")
        if not answer:
            findings.note(line + 1, f"answer '{given}' is empty, or one of several is; correct it")
        try:
            image = images.name(name)
        except DataError as error:
            if name not in absent:  # once, however many questions there are about it
                absent.add(name)
                findings.note(line + 2, str(error))
        if words and answer and image:
            questions.append(
                Question(
                    line=line,
                    item=0,
                    image=image,
                    question=asked,
                    words=words,
                    answers=(answer,),
                    split=split,
                    type=question_type(words),
                    id=first + row,
                )
            )
    return questions
