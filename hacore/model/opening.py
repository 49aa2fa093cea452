"""Datasets by the name that a spec gives them."""

from __future__ import annotations

from typing import Any

from hacore.data import Dataset
from hacore.errors import HacoreError
from hacore.registry import registry
from hacore.spec import Spec, Use


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


def open_checked(spec: Spec) -> Dataset[Any]:
    """The dataset, which has the splits that the spec names."""
    dataset = open_dataset(spec.data)
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
