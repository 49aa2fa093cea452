"""The JSON beside an exported model: what a program needs to know to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hacore import __version__
from hacore.data import PADDING, UNKNOWN, Dataset
from hacore.machine.texts import composed
from hacore.runs.trained import Trained
from hacore.spec import spec_table

_READ = (
    "RGB; turned as EXIF says, transparency on white, grey of 16 bits divided by 257, floats in [0, 1] times "
    "255, as hacore.pictures.open_picture"
)
_RESIZE = "bicubic with antialiasing, as Pillow's"
_DTYPES = {"kept": "int64", "valid": "bool"}


def description_of(trained: Trained, form: str, outputs: Mapping[str, Sequence[str | int]]) -> dict[str, Any]:
    """The description of a model in a format, see docs/exporting.md. outputs: their shapes."""
    summary = trained.summary
    return {
        "hacore": __version__,
        "format": form,
        "inputs": {
            "images": _tensor("uint8", "images", *summary.image_size),
            "words": _tensor("int64", "questions", "words"),
            "lengths": _tensor("int64", "questions"),
            "image_index": _tensor("int64", "questions"),
        },
        "outputs": {name: _tensor(_DTYPES.get(name, "float32"), *shape) for name, shape in outputs.items()},
        "image": {"size": list(summary.image_size), "read": _READ, "resize": _RESIZE},
        "grid": list(trained.model.grid),
        "word_rule": _word_rule(trained),
        "padding": PADDING,
        "unknown": UNKNOWN,
        "vocabulary": [composed(word) for word in summary.vocabulary],
        "answers": list(summary.answers),
        "fingerprint": summary.fingerprint,
        "step": trained.step,
        "spec": spec_table(trained.spec),
    }


def _tensor(dtype: str, *shape: str | int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape)}


def _word_rule(trained: Trained) -> dict[str, Any] | None:
    """The data set's rule; None where its questions are read by code that no rule describes."""
    cls = trained.dataset_class
    owner = next(base for base in cls.__mro__ if "split_words" in vars(base))
    if cls.tokenize is not Dataset.tokenize or "word_rule" not in vars(owner):
        return None
    return {"normalize": "NFC", **cls.word_rule}  # as every question that a model is asked
