"""Where a run's data are now, and what else of it may be changed. Imports no torch.

Files move, and a run is looked at from other folders than it began in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from hacore.errors import DataError, HacoreError, RunError, one_line
from hacore.plugin import place_options
from hacore.runs.folder import RunFolder
from hacore.spec import (
    Overrides,
    Spec,
    dump_spec,
    inline,
    override_words,
    set_values,
    shown,
    unstructure_config,
)

Model = TypeVar("Model", bound=Any)
"""Of ``Trained``, which imports torch."""
Changes = dict[str, dict[str, Any]]
"""{table: {option: value}}; None for a default."""
CHANGED = ("selector", "data", "features")
_ALLOWED = (
    "of a trained model only selector.use, options of the selector, data.KEY (where its data are, or others "
    "to measure it on) and features.root can be changed, as in selector.k=4"
)


def placed(spec: Spec, folder: RunFolder) -> Spec:
    """The spec of a run with its paths as they are from here.

    A relative path that does not exist from here is taken from the nearest folder above the run folder in
    which it does.
    """
    data = attrs.evolve(spec.data, options=_placed(spec.data.options, folder))
    return attrs.evolve(
        spec, data=data, features=_placed(spec.features, folder), train=_placed(spec.train, folder)
    )


def moved_flags(folder: RunFolder, spec: Spec) -> list[str]:
    """Flags of ``hacore run --resume`` for what a spec says of its data's place otherwise than the run."""
    own, flags = folder.spec(), []
    for table, before, now in (
        ("data", own.data.options, spec.data.options),
        ("features", own.features, spec.features),
    ):
        earlier = unstructure_config(before)
        for key, value in unstructure_config(now).items():
            if earlier.get(key) != value:
                flags += ["--set", f"{table}.{key}={inline(value)}"]
    return flags


def same_experiment(folder: RunFolder, spec: Spec) -> None:
    """Raise RunError unless the spec is the run's own, naming the first difference.

    Options of the data, and the place of their feature store, may differ: fingerprints vouch for them.
    """
    own = placed(folder.spec(), folder)
    if spec.data.use == own.data.use:
        own = attrs.evolve(own, data=spec.data)
    if spec.features.root and own.features.root:
        own = attrs.evolve(own, features=attrs.evolve(own.features, root=spec.features.root))
    table = ""
    for mine, other in zip(*([*dump_spec(each).splitlines(), ""] for each in (own, spec)), strict=False):
        table = mine if mine.startswith("[") else table
        if mine != other:
            raise RunError(
                f"{folder.path}: is a run of another spec: {table} {mine!r} there, "
                f"{other!r} in the given one; resume without a spec, or run the given one afresh"
            )


@contextmanager
def says_where(folder: RunFolder, spec: Spec) -> Iterator[None]:
    """Where data cannot be opened and a path of theirs is missing, the RunError says how to give it."""
    try:
        yield
    except DataError as error:
        for key, path in _places(spec):
            if path and not os.path.exists(os.path.expanduser(path)):
                raise RunError(
                    f"{folder.path}: its {key} = {shown(path)} does not exist, seen from {os.getcwd()}; "
                    f"say where it is now with --set {key}=PATH"
                ) from error
        raise


def _places(spec: Spec) -> Iterator[tuple[str, str | None]]:
    """(dotted key, path) of every option that says where data are."""
    for table, config in (("data", spec.data.options), ("features", spec.features)):
        for key in place_options(type(config)):
            yield f"{table}.{key}", getattr(config, key)


def _placed(config: Any, folder: RunFolder) -> Any:
    moved = {key: _beside(getattr(config, key), folder) for key in place_options(type(config))}
    return attrs.evolve(config, **moved)


def _beside(value: str | None, folder: RunFolder) -> str | None:
    path = os.path.expanduser(value or "")
    if not path or os.path.isabs(path) or os.path.exists(path):
        return value
    above = [os.path.join(parent, path) for parent in Path(folder.path).resolve().parents]
    return next(filter(os.path.exists, above), value)


def read_changes(overrides: Overrides) -> Changes:
    """The values of KEY=VALUE. Raises HacoreError for what cannot be changed without training."""
    tables: Changes = {}
    for words in override_words(overrides):
        values: dict[str, Any] = {name: {} for name in CHANGED}
        ((key, _),) = set_values(values, [words])
        table, _, option = key.partition(".")
        option = option.partition(".")[0]
        if table not in CHANGED or not option or (table == "features" and option != "root"):
            raise HacoreError(one_line(f"--set {words}: {_ALLOWED}"))
        tables.setdefault(table, {})[option] = values[table].get(option)
    return tables


def changed(trained: Model, changes: Changes) -> Model:
    """The ``Trained`` with other values; errors as of its ``with_data`` and ``with_selector``."""
    if "data" in changes:
        trained = trained.with_data(**changes["data"])
    if "features" in changes:
        trained = trained.with_features(changes["features"]["root"])
    if "selector" in changes:
        trained = trained.with_selector(**changes["selector"])
    return trained
