"""A trained model with everything it came with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import attrs
import torch

from hacore.asking import Reply, ask
from hacore.data import Dataset
from hacore.datasets import dataset_class, open_dataset
from hacore.errors import RunError
from hacore.inputs import Inputs
from hacore.model import VQAModel
from hacore.runs import RunFolder
from hacore.spec import Spec


@attrs.frozen(kw_only=True, slots=False)
class Trained:
    """A model with everything it came with; ``model`` is in evaluation mode.

    step: the training step of the weights. opened: the dataset, where it is open already.
    """

    folder: RunFolder
    spec: Spec
    inputs: Inputs
    model: VQAModel
    device: torch.device
    step: int
    opened: Dataset[Any] | None = None

    @cached_property
    def dataset(self) -> Dataset[Any]:
        """The dataset of the spec, opened when it is first asked for, which may prepare or generate it.

        Raises RunError when its words or answers are no longer those of the training.
        """
        dataset = self.opened or open_dataset(self.spec.data)
        if (tuple(dataset.vocabulary), tuple(dataset.answers)) != (
            self.inputs.vocabulary,
            self.inputs.answers,
        ):
            raise RunError(
                f"{self.folder.path}: the words or answers of dataset '{self.spec.data.use}' are not those "
                "of the training; give back the data it was trained on"
            )
        return dataset

    @cached_property
    def dataset_class(self) -> type[Dataset[Any]]:
        """The class of the dataset, which is not opened."""
        return dataset_class(self.spec.data)

    @overload
    def ask(self, image: Any, question: str, *, top: int = 5) -> Reply: ...
    @overload
    def ask(self, image: Any, question: Sequence[str], *, top: int = 5) -> list[Reply]: ...
    def ask(self, image: Any, question: str | Sequence[str], *, top: int = 5) -> Reply | list[Reply]:
        """The answer to a question about an image, or the answers to several about the same one.

        image: a path, a Pillow image, or an array, see ``hacore.pictures.open_picture``; of any size, as it
        is resized as the data sets' images are. top: how many answers a reply holds. Needs Pillow, not the
        data. Raises HacoreError for questions without words, DataError for what is no image.
        """
        if isinstance(question, str):
            return self.ask_many([(image, question)], top=top)[0]
        return self.ask_many([(image, it) for it in question], top=top)

    def ask_many(self, pairs: Sequence[tuple[Any, str]], *, top: int = 5, batch: int = 64) -> list[Reply]:
        """The answers to (image, question) pairs, ``batch`` at a time; otherwise as ``ask``.

        An image that is the same path or object in several pairs of a batch is read and encoded once.
        """
        return ask(self, pairs, top=top, batch=batch)
