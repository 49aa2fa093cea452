"""What a plugin imports to declare its components. Importing this module imports no torch.

A plugin is a module named by an entry point of the group ``hacore``::

    hacore_contract = 2

    @attrs.frozen(kw_only=True)
    class Config:
        k: int = option(16, "cells to keep", min=1, live=True)

    @hookimpl
    def hacore_declare():
        return [Component(kind="selector", name="mine", target="my_package.selector:Mine",
                          config=Config, summary="keeps the first k cells")]
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pluggy

GROUP = "hacore"
CONTRACT = 2
"""Number of the contract between core and plugins: ``hacore.interfaces`` and this module. A plugin that
names another in its ``hacore_contract`` is refused; docs/contracts.md says what changed."""


@attrs.frozen
class Kind:
    """What can be declared.

    name: as in ``Component.kind``. place: where a component of it is named: the table of a spec that chooses
    one, or the words of the command line. base: ``module:Class`` that its class derives from; "" for
    functions. chosen: whether a spec chooses one, in the table ``place``.
    """

    name: str
    place: str
    base: str
    chosen: bool = False

    @property
    def words(self) -> str:
        """``image encoder``."""
        return self.name.replace("_", " ")

    def of(self, name: str) -> str:
        """A component of this kind in words: ``selector 'l2-topk'``, ``'data verify clevr'``."""
        if self.base:
            return f"{self.words} '{name}'"
        return f"'{self.place.removeprefix('hacore ')} {name}'"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("dataset", "data", "hacore.data:Dataset", chosen=True),
        Kind("image_encoder", "image_encoder", "hacore.interfaces:ImageEncoder", chosen=True),
        Kind("question_encoder", "question_encoder", "hacore.interfaces:QuestionEncoder", chosen=True),
        Kind("fuser", "fuser", "hacore.interfaces:Fuser", chosen=True),
        Kind("selector", "selector", "hacore.interfaces:Selector", chosen=True),
        Kind("aggregator", "aggregator", "hacore.interfaces:Aggregator", chosen=True),
        Kind("download", "hacore data download", ""),
        Kind("prepare", "hacore data prepare", ""),
        Kind("generate", "hacore data generate", ""),
        Kind("verify", "hacore data verify", ""),
        Kind("score", "hacore score", ""),
        Kind("executor", "hacore sweep --on", "hacore.executors:Workers"),
        Kind("observer", "hacore run --log", "hacore.observers:RunObserver"),
        Kind("command", "hacore", "click:Command"),
        Kind("model", "zoo/", "pathlib:Path"),
    )
}
"""The one table of what there is to declare, by name."""

SECTIONS = {kind.place: kind.name for kind in KINDS.values() if kind.chosen}
"""Tables of a spec that choose a component, and the kind that each chooses."""

ACTIONS = tuple(kind.name for kind in KINDS.values() if not kind.base)
"""Kinds of data tools: functions that a command runs."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _check_name(_: Any, __: Any, value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"name {value!r} must be lower-case words joined by '-', as in 'l2-topk'")


def _check_target(_: Any, __: Any, value: str) -> None:
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise ValueError(f"target {value!r} must be 'module:Class', as in 'hacore_rn.rn:RN'")


def _check_kind(_: Any, __: Any, value: str) -> None:
    if value not in KINDS:
        raise ValueError(f"kind {value!r} must be one of {', '.join(KINDS)}")


def _check_argument(component: Any, _: Any, value: str | None) -> None:
    if value is not None and component.kind not in ACTIONS:
        raise ValueError(f"argument {value!r}: only {', '.join(ACTIONS)} take one, not {component.kind}")
    if value is not None and value not in attrs.fields_dict(component.config):
        raise ValueError(f"argument {value!r} is not a field of config {component.config.__name__}")


def _check_default(component: Any, _: Any, value: bool) -> None:
    if value and component.kind != "observer":
        raise ValueError(f"default = True: only an observer can be on by default, not a {component.kind}")


def _check_config(_: Any, __: Any, value: type) -> None:
    if not (isinstance(value, type) and attrs.has(value)):
        raise ValueError(f"config {value!r} must be an attrs class")
    try:
        attrs.resolve_types(value)
    except (NameError, TypeError) as error:
        raise ValueError(f"config {value.__name__} has a type that cannot be found: {error}") from None
    for field in attrs.fields(value):
        if field.name == "use":
            raise ValueError(f"config field {value.__name__}.use: a spec's 'use' names the component")
        if field.default is attrs.NOTHING or not field.metadata.get("help"):
            raise ValueError(
                f"config field {value.__name__}.{field.name} needs a default and a help text; "
                "declare it with hacore.plugin.option(default, help)"
            )


@attrs.frozen(kw_only=True)
class NoOptions:
    """The config of what has no options."""


@attrs.frozen(kw_only=True)
class Component:
    """Something that a plugin declares.

    kind: one of ``KINDS``. name: what a spec's ``use`` or the command line says; of a data tool, that of
    its dataset. target: ``module:name``, imported only when it is used: a class derived from the kind's
    base; of a data tool a function ``(config, Tell) -> Outcome``, see ``hacore.data_tools``; of a command a
    ``click.Command``; of a model the ``Path`` of its run folder. config: attrs class, every field made by
    ``option``; the fields are the keys of the spec's table, or options of the command. summary: one line.
    argument: of a data tool, the field that is given by its place. default: of an observer, whether runs
    have it without being asked.
    """

    kind: str = attrs.field(validator=_check_kind)
    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    config: type = attrs.field(default=NoOptions, validator=_check_config)
    summary: str
    argument: str | None = attrs.field(default=None, validator=_check_argument)
    default: bool = attrs.field(default=False, validator=_check_default)


def option(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    check: Callable[[Any], str | None] | None = None,
    live: bool = False,
    place: bool = False,
) -> Any:
    """An attrs field of a config with its one-line documentation and its range.

    min, max: inclusive; above, below: exclusive; they hold for each item of a tuple, and None
    passes. Numbers must be finite. check: returns what is wrong with the value, or None. live: whether a
    trained model may be given another value, as the k of a top-k selector; no weight depends on it then.
    place: whether it is the path of files or folders; a run's are looked for where they are now.
    Lists in TOML are tuples here; fixed choices are a ``typing.Literal``.
    """

    def validate(_: Any, attribute: Any, value: Any) -> None:
        for item in value if isinstance(value, tuple) else (value,):
            if item is None or isinstance(item, str):
                continue
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"{item!r} is out of range; it must be finite")
            if isinstance(item, int) and not -(2**63) <= item < 2**63:
                raise ValueError("an integer of more than 64 bits is out of range")
            for bound, holds, words in (
                (min, operator.ge, "at least"),
                (max, operator.le, "at most"),
                (above, operator.gt, "above"),
                (below, operator.lt, "below"),
            ):
                if bound is not None and not holds(item, bound):
                    raise ValueError(f"{item!r} is out of range; it must be {words} {bound}")
        problem = check(value) if check and value is not None else None
        if problem:
            raise ValueError(problem)

    metadata = {"help": help, "live": live, "place": place, "max": max}
    return attrs.field(default=default, validator=validate, metadata=metadata)


def live_options(config: type) -> tuple[str, ...]:
    """Names of a config's options that can be changed without training."""
    return tuple(field.name for field in attrs.fields(config) if field.metadata.get("live"))


def place_options(config: type) -> tuple[str, ...]:
    """Names of a config's options that are paths."""
    return tuple(field.name for field in attrs.fields(config) if field.metadata.get("place"))


@attrs.frozen(kw_only=True)
class TopK:
    """Options of a selector that keeps a fixed number of cells: ``k`` or ``fraction``, not both; with
    neither, k = 16. A config derives from it; ``hacore.selection.cells_to_keep`` tells the number.
    """

    k: int | None = option(None, "cells to keep; 16 when neither k nor fraction is given", min=1, live=True)
    fraction: float | None = option(
        None,
        "share of the grid's cells to keep, instead of k; rounded half up, at least one",
        above=0,
        max=1,
        live=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.k is not None and self.fraction is not None:
            raise ValueError(f"k = {self.k} and fraction = {self.fraction}: give k or fraction, not both")


class Hooks:
    """The whole contract between the core and its plugins."""

    @hookspec
    def hacore_declare(self) -> Iterable[Component]:
        """Return what this plugin provides. Must not import torch."""
        raise AssertionError  # a specification has no body; pluggy never calls it
