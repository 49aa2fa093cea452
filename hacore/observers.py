"""Who watches runs: what ``hacore run --log NAME`` asks of a plugin. Imports no torch.

A plugin declares a class of ``RunObserver`` as a component of the kind ``observer``. It is told what
happens and returns nothing: a run is the same with it and without. It lives in the process that leads
the training.

A method must have stored its data when it returns, as the process may be killed at any moment. When a
method raises, the observer is named once in a warning, closed and not called again; the training continues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs

from hacore.errors import HacoreError
from hacore.registry import registry
from hacore.spec import Spec, dump_spec, flat, spec_table, structure_config

if TYPE_CHECKING:
    from hacore.measure.look import Look
    from hacore.runs import Result
    from hacore.runs.trained import Trained


@attrs.frozen(kw_only=True)
class Observed:
    """The run that is observed.

    folder: of the run. spec: resolved. step: 0, or that of the checkpoint from which the run is resumed:
    later steps that an observer knows already will be reported again. parameters: trained ones of the model.
    """

    folder: Path
    spec: Spec
    step: int
    parameters: int

    @property
    def text(self) -> str:
        """The spec as TOML."""
        return dump_spec(self.spec)

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """Every option of the spec by its dotted key, as ``selector.k``; lists as text, without name."""
        values = {key: value for key, value in flat(spec_table(self.spec)).items() if key != "name"}
        return {key: json.dumps(v) if isinstance(v, list) else v for key, v in values.items()}


class RunObserver:
    """Receives the events of one run, from its start or resumption to its end. Does nothing by itself."""

    def __init__(self, config: Any, observed: Observed) -> None:
        """The run starts, or is resumed."""
        self.config = config
        self.observed = observed

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Means over the last steps: what metrics.jsonl has, and ``questions_per_second`` and
        ``gradient_norm``, that of the last step before it was clipped.
        """

    def evaluation(self, step: int, values: Mapping[str, Any], look: Callable[[], Look]) -> None:
        """An evaluation: what metrics.jsonl has of it, ``split`` and ``by_type`` among it.

        look: gives a look at the model; it is taken when it is first asked for, and costs some time.
        """

    def end(self, result: Result, trained: Trained) -> None:
        """The run is finished, with this result and this model, its data open."""

    def fail(self, error: str) -> None:
        """The run has stopped with this error, a line. It may be resumed later, from its last checkpoint."""

    def close(self) -> None:
        """The last call in any case; without an end or a failure before it, the run was interrupted."""


Named = Collection[str | type[RunObserver]] | Mapping[str, Mapping[str, Any]]
"""Names of observers, or their options by name. Or classes of one's own, whose config is None."""


@attrs.frozen(kw_only=True)
class Chosen:
    """An observer that a run is to have, with its config. load: imports and returns its class."""

    name: str
    load: Callable[[], type[RunObserver]]
    config: Any


def choose_observers(named: Named, without: Collection[str] = ()) -> list[Chosen]:
    """The observers of these names, each once, and those that runs have by default.

    without: names that are left out. Raises HacoreError with every problem of names and options.
    """
    options = _options(named)
    usual = [observer.name for observer in registry().of("observer") if observer.declared.default]
    chosen, problems = [], []
    for name in dict.fromkeys([*options, *usual]):
        if name in without:
            continue
        if not isinstance(name, str):
            chosen.append(Chosen(name=name.__name__, load=partial(cast, Any, name), config=None))
            continue
        try:
            installed = registry().find("observer", name)
            config = structure_config(installed.declared.config, dict(options.get(name, {})), name)
            chosen.append(Chosen(name=name, load=installed.load, config=config))
        except HacoreError as error:
            problems.append(str(error))
    if problems:
        raise HacoreError("\n".join(problems))
    return chosen


def observer_flags(named: Named, without: Collection[str] = ()) -> list[str]:
    """The same choice for the command line of ``hacore run``."""
    flags = []
    for name, options in _options(named).items():
        if not isinstance(name, str):
            raise HacoreError(f"log: other processes have no {name.__name__}; declare it in a plugin")
        flags += ["--log", name]
        for key, value in options.items():
            # JSON's numbers, texts, lists, true and false are TOML's.
            flags += ["--log-with", f"{name}.{key}={json.dumps(value)}"]
    return [*flags, *(word for name in without for word in ("--without", name))]


def _options(named: Named) -> dict[str | type[RunObserver], Mapping[str, Any]]:
    if isinstance(named, Mapping):
        return {**named}
    return {name: {} for name in ([named] if isinstance(named, str) else named)}
