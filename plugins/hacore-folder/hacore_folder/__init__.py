"""Declares the dataset "folder" and its preparation. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from hacore.plugin import Component, hookimpl, option

if TYPE_CHECKING:
    from hacore_folder.memory import in_memory as in_memory

hacore_contract = 2

_SIZE = (128, 128)


def _not_all(shares: tuple[float, ...]) -> str | None:
    if not shares[0]:
        return "the first share is that of train, which must be above 0"
    if abs(sum(shares) - 1) > 1e-6:
        return f"the shares of train, val and test add up to {sum(shares):g}; must be 1"
    return None


@attrs.frozen(kw_only=True)
class Config:
    """Options of a folder of one's own."""

    root: str = option("", "folder with pictures and a table of questions, or a prepared one", place=True)
    size: tuple[int, int] = option(_SIZE, "height and width of the images", min=1)
    shares: tuple[float, float, float] = option(
        (0.8, 0.1, 0.1),
        "shares of the pictures in train, val and test, where the questions name no split",
        min=0,
        check=_not_all,
    )
    split_seed: int = option(0, "draws the splits; another seed, another division", min=0)
    answers: int = option(1000, "answers to choose among, the most frequent ones; 0 is no limit", min=0)


@attrs.frozen(kw_only=True)
class PrepareConfig:
    """Options of ``hacore data prepare folder``."""

    root: str = option("", "folder with pictures and a table of questions")
    size: tuple[int, int] = option(_SIZE, "height and width of the prepared images", min=1)
    workers: int = option(0, "processes that decode images; 0 is one a core", min=0)
    output: str = option("", 'folder of the prepared data; "" is where the dataset looks in the cache')


@hookimpl
def hacore_declare() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="folder",
            target="hacore_folder.dataset:Folder",
            config=Config,
            summary="your own pictures, with questions and answers in a CSV, JSONL or JSON file",
        ),
        Component(
            kind="dataset",
            name="in-memory",
            target="hacore_folder.memory:InMemory",
            summary="an object that a program gives, as hacore.run(SPEC, dataset=...)",
        ),
        Component(
            kind="prepare",
            name="folder",
            target="hacore_folder.prepare:prepare",
            config=PrepareConfig,
            argument="root",
            summary="check a folder of pictures and questions and pack it for training",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "in_memory":
        from hacore_folder.memory import in_memory

        return in_memory
    raise AttributeError(f"module 'hacore_folder' has no attribute {name!r}")
