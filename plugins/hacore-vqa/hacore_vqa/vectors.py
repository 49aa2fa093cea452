"""Word vectors from a text file as GloVe has them: a word and its numbers on each line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore.machine.texts import HEAD, TextError, composed, text_start
from hacore.machine.weight_files import what_is_wrong

log = logging.getLogger("hacore")
_WAY_OUT = "give word_vectors a text file of vectors, as GloVe has them"


def read_vectors(path: Path, words: Sequence[str]) -> npt.NDArray[np.float32]:
    """(words, C) float32, zeros for a word that the file does not have.

    The first line of a word counts. A first line of two numbers, as in the format of word2vec and
    fastText, is skipped, and so is a byte order mark. Accents may be encoded in any form. Only lines of these
    words are parsed. DataError names a line that is wrong, or says that the file has none of the words.
    """
    wanted = {composed(word).encode() for word in words}
    vector_of: dict[bytes, npt.NDArray[np.float32]] = {}
    channels = 0
    try:
        with open(path, "rb") as file:
            file.seek(text_start(file.read(HEAD)))
            for number, line in enumerate(file, 1):
                if not channels:
                    channels = len(line.split()) - 1
                    if number == 1 and channels == 1:
                        channels = 0
                        continue
                word = _composed(line[: line.find(b" ")])
                if word in wanted and word not in vector_of:
                    numbers = _numbers(path, number, line, channels)
                    if numbers is not None:
                        vector_of[word] = numbers
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {_WAY_OUT}") from error
    except TextError as error:
        raise DataError(error.at(path)) from None
    if not vector_of:
        problem = what_is_wrong(path) or f"has none of the {len(words):,} words"
        raise DataError(f"{path}: {problem}; {_WAY_OUT}")
    vectors = np.zeros((len(words), channels), np.float32)
    for row, text in enumerate(words):
        vectors[row] = vector_of.get(composed(text).encode(), 0)
    log.info("%s: vectors of %d of %d words", path, len(vector_of), len(words))
    return vectors


def _composed(word: bytes) -> bytes:
    """The word in the form NFC; as it is where it is not UTF-8, as some files hold."""
    if word.isascii():
        return word
    try:
        return composed(word.decode()).encode()
    except UnicodeDecodeError:
        return word


def _numbers(path: Path, number: int, line: bytes, channels: int) -> npt.NDArray[np.float32] | None:
    """What follows the word; None for a longer word that has a space in it, as some files hold."""
    fields = line.split()[1:]
    try:
        with np.errstate(over="ignore"):  # told below
            numbers = np.array(fields, np.float32)
    except ValueError:
        numbers = np.array([], np.float32)
    if len(fields) > channels and len(numbers) != len(fields):
        return None
    if len(numbers) != channels or channels < 1 or not np.isfinite(numbers).all():
        raise DataError(f"{path}:{number}: must be a word and {channels} finite numbers; get the file again")
    return numbers
