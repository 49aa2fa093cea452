"""Where a run's data are now: files move, and a run is looked at from other folders than it began in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import DataError, RunError
from hacore.plugin import place_options
from hacore.runs.folder import RunFolder
from hacore.spec import Spec, dump_spec, inline, shown, unstructure_config


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
