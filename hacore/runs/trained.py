"""A trained model with everything it came with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import attrs
import torch

from hacore.data import Dataset
from hacore.errors import RunError
from hacore.machine.device import choose_device
from hacore.machine.files import load_tensors
from hacore.measure.predict import precision_name, saved_precision
from hacore.model.compose import compose, exchange_selector, label
from hacore.model.network import VQAModel
from hacore.model.opening import dataset_class, open_dataset, with_given
from hacore.model.weights import load_model
from hacore.notebooks import html_of
from hacore.plugin import live_options
from hacore.runs import RunFolder
from hacore.runs.choosing import finished_run
from hacore.runs.data_summary import DataSummary
from hacore.runs.places import placed, says_where
from hacore.runs.renaming import renamed, require_size, same_names, unknown_names
from hacore.spec import Spec, Use, load_spec

if TYPE_CHECKING:
    from hacore_ask import Reply


@attrs.frozen(kw_only=True, slots=False, repr=False)
class Trained:
    """A model with everything it came with; ``model`` is in evaluation mode.

    trained_on: the data of its training; ``spec.data`` may name others, see ``with_data``. step: the training
    step of the weights. precision: that of its training, in which it is used on every device, so that answers
    agree with the records; see ``hacore.measure.predict``. opened: the dataset, where it is open already.
    """

    folder: RunFolder
    spec: Spec
    summary: DataSummary
    model: VQAModel
    device: torch.device
    trained_on: Use
    step: int = 0
    precision: torch.dtype = torch.float32
    opened: Dataset[Any] | None = None
    _repr_html_ = html_of

    def __repr__(self) -> str:
        what = f"{self.spec.selector.use}, step {self.step:,}, {precision_name(self.precision)}"
        return f"<Trained {self.folder.path}: {what} on {self.device}>"

    @cached_property
    def dataset(self) -> Dataset[Any]:
        """The dataset of the spec, opened when it is first asked for, which may prepare or generate it.

        Its words and answers have the model's numbers. Raises RunError where they are not those of the
        training, unless ``with_data`` or ``with_dataset`` chose other data: these are matched by name, see
        ``hacore.runs.renaming``.
        """
        dataset = self._source
        require_size(dataset, self.summary)
        if same_names(dataset, self.summary):
            return dataset
        if self.spec.data == self.trained_on and self.opened is None:
            raise RunError(
                f"{self.folder.path}: the words or answers of dataset '{self.spec.data.use}' are not those "
                "of the training; give back the data it was trained on, or say where they are with --set "
                "data.KEY=VALUE"
            )
        return renamed(dataset, self.summary)

    @cached_property
    def _source(self) -> Dataset[Any]:
        """The dataset with its own numbers of words and answers."""
        with says_where(self.folder, self.spec):
            return self.opened or open_dataset(self.spec.data)

    def unknown_names(self) -> str:
        """How many of the data's words and answers the model does not know, in words."""
        return unknown_names(self._source, self.summary)

    @property
    def other_data(self) -> str:
        """The fingerprint of the dataset where it is not that of the training, else ""."""
        fingerprint = self.dataset.fingerprint
        return "" if fingerprint == self.summary.fingerprint else fingerprint

    @property
    def dataset_class(self) -> type[Dataset[Any]]:
        """The class of the dataset of its training, which is not opened."""
        given = self.opened if self.spec.data == self.trained_on else None
        return dataset_class(self.trained_on) if given is None else type(given)

    def with_data(self, /, use: str | None = None, **options: Any) -> Trained:
        """This model to be measured on data that are elsewhere, or on others.

        use: name of a data set; options that are not given have their defaults. Without it, or with the name
        of its own, they stay as they are. None gives an option its default. Raises SpecError and PluginError
        for what no spec may say.
        """
        return attrs.evolve(self, spec=self._with_table("data", use, options), opened=None)

    def with_dataset(self, dataset: Dataset[Any]) -> Trained:
        """This model to be measured on a dataset object, whose words and answers are matched by name."""
        return attrs.evolve(self, spec=load_spec(self.spec, with_given((), dataset)), opened=dataset)

    def with_features(self, root: str | None) -> Trained:
        """This model to be measured on the feature store in a folder; None: it encodes images itself."""
        features = attrs.evolve(self.spec.features, root=root)
        return attrs.evolve(self, spec=attrs.evolve(self.spec, features=features), opened=self._opened)

    @property
    def _opened(self) -> Dataset[Any] | None:
        return self.__dict__.get("_source", self.opened)

    def _with_table(self, section: str, use: str | None, options: Mapping[str, Any]) -> Spec:
        """The spec with other options of a section, or another component in it."""
        if use in (None, self.spec.section(section).use):
            return load_spec(self.spec, {section: options})
        given = {key: value for key, value in options.items() if value is not None}
        return load_spec(self.spec, {section: {"use": use, **given}})

    def with_selector(self, /, use: str | None = None, **options: Any) -> Trained:
        """This model with another selector, or its own with other options; what it was stays as it is.

        use: name of a selector without weights; options that are not given have their defaults. Without
        it, or with the name of the model's own, they stay as they are, and only ``live`` ones can be given.
        None gives an option its default. All weights are shared. Raises SpecError and PluginError for what
        no spec may say, RunError for an option that needs another training, ComposeError for a selector
        that has weights or does not fit.
        """
        before = self.spec.selector
        own = use in (None, before.use)
        known, live = attrs.fields_dict(type(before.options)), live_options(type(before.options))
        if fixed := [key for key in options if own and key in known and key not in live]:
            raise RunError(
                f"{label('selector', before)}: {fixed[0]} cannot be changed without training; options that "
                f"can be changed: {', '.join(live) or 'none'}"
            )
        spec = self._with_table("selector", use, options)
        model = exchange_selector(self.model, spec, self.summary.sizes(), own=own)
        return attrs.evolve(self, spec=spec, model=model, opened=self._opened)

    @overload
    def ask(
        self, image: Any, question: str, *, top: int = 5, selector: Mapping[str, Any] | None = None
    ) -> Reply: ...
    @overload
    def ask(
        self, image: Any, question: Sequence[str], *, top: int = 5, selector: Mapping[str, Any] | None = None
    ) -> list[Reply]: ...
    def ask(self, image: Any, question: str | Sequence[str], **options: Any) -> Reply | list[Reply]:
        """The answer to a question about an image, or the answers to several: ``hacore.ask``."""
        replies: Reply | list[Reply] = _facade().ask(self, image, question, **options)
        return replies

    def ask_many(self, pairs: Sequence[tuple[Any, str]], **options: Any) -> list[Reply]:
        """The answers to (image, question) pairs: ``hacore.ask_many``."""
        replies: list[Reply] = _facade().ask_many(self, pairs, **options)
        return replies


def _facade() -> Any:
    """``hacore``, which knows where public names are: what asks models is a package of its own."""
    return importlib.import_module("hacore")


def load(run: RunFolder | str | Path, *, device: str = "auto") -> Trained:
    """The best model of a run, ready to be used. The data are not opened before they are needed.

    Features that it was trained on are not needed: it encodes images itself.

    run: a run folder or its path; of a folder that holds runs, as ``runs/han_rn``, the newest finished one.
    Raises RunError when it is not a run folder or has no checkpoint.
    """
    folder = run if isinstance(run, RunFolder) else finished_run(run)
    chosen = choose_device(device)
    path = folder.checkpoint()
    spec = placed(folder.spec(), folder)
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
        trained_on=spec.data,
        step=state["step"],
        precision=saved_precision(state.get("precision"), spec.train, chosen),
        opened=dataset,
    )
