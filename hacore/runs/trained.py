"""A trained model with everything it came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import attrs
import torch

from hacore.data import UNKNOWN, Dataset
from hacore.errors import HacoreError, RunError
from hacore.machine.device import choose_device
from hacore.machine.files import load_tensors
from hacore.measure.predict import precision_of
from hacore.model.compose import compose, exchange_selector, label
from hacore.model.network import VQAModel
from hacore.model.opening import dataset_class, open_dataset
from hacore.model.weights import load_model
from hacore.plugin import live_options
from hacore.runs import RunFolder
from hacore.runs.asking import Reply, ask
from hacore.runs.data_summary import DataSummary
from hacore.spec import Spec, resolve, spec_table


@attrs.frozen(kw_only=True, slots=False)
class Trained:
    """A model with everything it came with; ``model`` is in evaluation mode.

    step: the training step of the weights. opened: the dataset, where it is open already.
    """

    folder: RunFolder
    spec: Spec
    summary: DataSummary
    model: VQAModel
    device: torch.device
    step: int = 0
    opened: Dataset[Any] | None = None

    @property
    def precision(self) -> torch.dtype:
        """Of the run on this device, see ``hacore.measure.predict``."""
        return precision_of(self.spec.train, self.device)

    @cached_property
    def dataset(self) -> Dataset[Any]:
        """The dataset of the spec, opened when it is first asked for, which may prepare or generate it.

        Raises RunError when its words or answers are no longer those of the training.
        """
        dataset = self.opened or open_dataset(self.spec.data)
        if (tuple(dataset.vocabulary), tuple(dataset.answers)) != (
            self.summary.vocabulary,
            self.summary.answers,
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

    def with_selector(self, /, use: str | None = None, **options: Any) -> Trained:
        """This model with another selector, or its own with other options; what it was stays as it is.

        use: name of a selector without weights; options that are not given have their defaults. Without
        it, or with the name of the model's own, they stay as they are, and only ``live`` ones can be given.
        None gives an option its default. All weights are shared. Raises SpecError and PluginError for what
        no spec may say, RunError for an option that needs another training, ComposeError for a selector
        that has weights or does not fit.
        """
        table, before = spec_table(self.spec), self.spec.selector
        own = use in (None, before.use)
        known, live = attrs.fields_dict(type(before.options)), live_options(type(before.options))
        if fixed := [key for key in options if own and key in known and key not in live]:
            raise RunError(
                f"{label('selector', before)}: {fixed[0]} cannot be changed without training; options that "
                f"can be changed: {', '.join(live) or 'none'}"
            )
        chosen = {**table["selector"], **options} if own else {"use": use, **options}
        table["selector"] = {key: value for key, value in chosen.items() if value is not None}
        spec = resolve(table)
        model = exchange_selector(self.model, spec, self.summary.sizes(), own=own)
        return attrs.evolve(self, spec=spec, model=model, opened=self.__dict__.get("dataset", self.opened))

    @overload
    def ask(
        self, image: Any, question: str, *, top: int = 5, selector: Mapping[str, Any] | None = None
    ) -> Reply: ...
    @overload
    def ask(
        self, image: Any, question: Sequence[str], *, top: int = 5, selector: Mapping[str, Any] | None = None
    ) -> list[Reply]: ...
    def ask(
        self,
        image: Any,
        question: str | Sequence[str],
        *,
        top: int = 5,
        selector: Mapping[str, Any] | None = None,
    ) -> Reply | list[Reply]:
        """The answer to a question about an image, or the answers to several about the same one.

        image: a path, a Pillow image, or an array, see ``hacore.pictures.open_picture``; of any size, as it
        is resized as the data sets' images are. top: how many answers a reply holds. selector: other
        options of the selector for this call, as ``{"k": 4}``, or another selector, see ``with_selector``.
        Needs Pillow, not the data. Raises HacoreError for questions without words, DataError for what is
        no image.
        """
        if isinstance(question, str):
            return self.ask_many([(image, question)], top=top, selector=selector)[0]
        return self.ask_many([(image, value) for value in question], top=top, selector=selector)

    def ask_many(
        self,
        pairs: Sequence[tuple[Any, str]],
        *,
        top: int = 5,
        batch: int = 64,
        selector: Mapping[str, Any] | None = None,
    ) -> list[Reply]:
        """The answers to (image, question) pairs, ``batch`` at a time; otherwise as ``ask``.

        An image that is the same path or object in several pairs of a batch is read and encoded once.
        """
        model = self.with_selector(**selector).model if selector else self.model
        if model.oracle:
            raise HacoreError(
                f"{self.folder.path}: has an oracle, which is told the objects that a question is about; "
                "they are unknown for other images, so measure it with 'hacore eval'"
            )
        return ask(
            *(model, pairs),
            summary=self.summary,
            words=self.words,
            device=self.device,
            precision=self.precision,
            top=top,
            batch=batch,
        )

    def words(self, question: str) -> tuple[list[int], list[str]]:
        """Vocabulary indices of a question's words, and the words that the model never saw."""
        cls = self.dataset_class
        if cls.tokenize is Dataset.tokenize:
            words = cls.split_words(question)
            ids = self.summary.number(words)
            return ids, [word for word, number in zip(words, ids, strict=True) if number == UNKNOWN]
        tokenize = self.dataset.tokenize
        return tokenize(question), [word for word in question.split() if UNKNOWN in tokenize(word)]


def load(run: RunFolder | str | Path, *, device: str = "auto") -> Trained:
    """The best model of a run, ready to be used. The data are not opened before they are needed.

    Features that it was trained on are not needed: it encodes images itself.

    run: a run folder or its path. Raises RunError when it is not a run folder or has no checkpoint.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    chosen = choose_device(device)
    path = folder.checkpoint()
    spec = folder.spec()
    # Runs of earlier versions have no such file.
    dataset = None if folder.inputs_file.is_file() else open_dataset(spec.data)
    summary = DataSummary.read(folder.inputs_file) if dataset is None else DataSummary.of(dataset)
    model = compose(spec, summary.sizes())
    if spec.features.root is not None:
        model.stored_dtype = getattr(torch, summary.stored_dtype or "float32")
    tensors, state = load_tensors(path)
    load_model(path, tensors, model)
    return Trained(
        folder=folder,
        spec=spec,
        summary=summary,
        model=model.to(chosen).eval(),
        device=chosen,
        step=state["step"],
        opened=dataset,
    )
