"""Datasets by the name that a spec gives them."""

from __future__ import annotations

from typing import Any

from hacore.data import Dataset
from hacore.errors import HacoreError
from hacore.registry import registry
from hacore.spec import Use


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
