"""Datasets by the name that a spec gives them."""

from __future__ import annotations

from typing import Any

from hacore.data import Dataset
from hacore.errors import HacoreError
from hacore.registry import registry
from hacore.spec import Overrides, Spec, Use, override_words


def dataset_class(use: Use) -> type[Dataset[Any]]:
    """The class of a spec's dataset; opens nothing."""
    cls: type[Dataset[Any]] = registry().find("dataset", use.use).load()
    return cls


def open_dataset(use: Use) -> Dataset[Any]:
    """The dataset of a spec; generates or prepares it when that was not done before."""
    try:
        return dataset_class(use)(use.options)
    except ValueError as error:
        raise HacoreError(f"dataset '{use.use}': {error}") from error


def with_given(overrides: Overrides, given: Any) -> list[str]:
    """The overrides of a spec whose data are an object that a program gives, unless it is None."""
    if given is None:
        return override_words(overrides)
    if missing := [name for name in Dataset.__annotations__ if not hasattr(given, name)]:
        what = f"dataset: found {type(given).__name__} without {', '.join(missing)}"
        raise HacoreError(f"{what}; derive it from hacore.data.Dataset, or see hacore.in_memory")
    return [*override_words(overrides), 'data={use="in-memory"}']


def open_checked(spec: Spec, given: Dataset[Any] | None = None) -> Dataset[Any]:
    """The dataset, which has the splits that the spec names. given: an object to use as it is."""
    dataset = open_dataset(spec.data) if given is None else given
    for key, split in (
        ("train", "train"),
        ("eval.split", spec.eval.split),
        ("eval.final_split", spec.eval.final_split),
    ):
        if split not in dataset.splits:
            raise HacoreError(
                f"{key}: dataset '{spec.data.use}' has no split '{split}'; it has {', '.join(dataset.splits)}"
            )
        if split in dataset.unanswered and key != "eval.final_split":
            known = [name for name in dataset.splits if name not in dataset.unanswered]
            raise HacoreError(
                f"{key}: the answers of split '{split}' are not public; splits with answers: "
                f"{', '.join(known)}"
            )
    return dataset
