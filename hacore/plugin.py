"""What a plugin imports to declare its components. Importing this module imports no torch.

A plugin is a module named by an entry point of the group ``hacore``::

    @attrs.frozen(kw_only=True)
    class Config:
        k: int = option(16, "cells to keep", min=1)

    @hookimpl
    def hacore_components():
        return [Component(kind="selector", name="mine", target="my_package.selector:Mine",
                          config=Config, summary="keeps the first k cells")]
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import attrs
import pluggy

GROUP = "hacore"
Kind = Literal["image_encoder", "question_encoder", "fuser", "selector", "aggregator", "dataset"]
KINDS: tuple[str, ...] = get_args(Kind)
Action = Literal["download", "prepare", "generate", "verify", "score"]
ACTIONS: tuple[str, ...] = get_args(Action)
CORE_COMMANDS = (
    *("run", "eval", "ask", "report", "export", "sweep", "table", "plot", "check", "features"),
    *("plugins", "needs", "data", "score", "new"),
)
"""Commands of hacore itself, in the order of ``hacore --help``."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _check_name(_: Any, __: Any, value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"name {value!r} must be lower-case words joined by '-', as in 'l2-topk'")


def _check_not_local(_: Any, __: Any, value: str) -> None:
    if value == "local":
        raise ValueError("name 'local' is this machine; choose another")


def _check_not_core(_: Any, __: Any, value: str) -> None:
    if value in CORE_COMMANDS:
        raise ValueError(f"name '{value}' is a command of hacore itself; choose another")


def _check_target(_: Any, __: Any, value: str) -> None:
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise ValueError(f"target {value!r} must be 'module:Class', as in 'hacore_rn.rn:RN'")


def _check_kind(_: Any, __: Any, value: str) -> None:
    if value not in KINDS:
        raise ValueError(f"kind {value!r} must be one of {', '.join(KINDS)}")


def _check_action(_: Any, __: Any, value: str) -> None:
    if value not in ACTIONS:
        raise ValueError(f"action {value!r} must be one of {', '.join(ACTIONS)}")


def _check_argument(tool: Any, _: Any, value: str | None) -> None:
    if value is not None and value not in attrs.fields_dict(tool.config):
        raise ValueError(f"argument {value!r} is not a field of config {tool.config.__name__}")


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
class Component:
    """A declared component.

    kind: one of ``KINDS``. name: what a spec's ``use`` says. target: ``module:Class``, imported
    only when a spec uses it. config: attrs class, every field made by ``option``. summary: one line.
    """

    kind: str = attrs.field(validator=_check_kind)
    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    config: type = attrs.field(validator=_check_config)
    summary: str


@attrs.frozen(kw_only=True)
class DataTool:
    """A declared tool of a dataset: what ``hacore data ACTION NAME`` runs, or ``hacore score NAME``.

    action: one of ``ACTIONS``. name: the dataset's, as in a spec's ``use``; of the action ``score``, that
    of an official metric, which datasets may share. target: ``module:function``,
    imported only when it is run; called with the config and a ``hacore.tools.Tell``, it returns a
    ``hacore.tools.Outcome``. config: attrs class, every field made by ``option``; the fields are the
    command's options. argument: the field that is given by its place instead. summary: one line.
    """

    action: str = attrs.field(validator=_check_action)
    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    config: type = attrs.field(validator=_check_config)
    argument: str | None = attrs.field(default=None, validator=_check_argument)
    summary: str


def option(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """An attrs field of a config with its one-line documentation and its range.

    min, max: inclusive; above, below: exclusive; they hold for each item of a tuple, and None
    passes. Numbers must be finite. check: returns what is wrong with the value, or None. Lists in
    TOML are tuples here; fixed choices are a ``typing.Literal``.
    """

    def validate(_: Any, attribute: Any, value: Any) -> None:
        for item in value if isinstance(value, tuple) else (value,):
            if item is None or isinstance(item, str):
                continue
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"{item!r} is out of range; it must be finite")
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

    return attrs.field(default=default, validator=validate, metadata={"help": help})


@attrs.frozen(kw_only=True)
class Executor:
    """A declared place where the runs of a sweep can be worked on: ``hacore sweep SPEC --on NAME``.

    name: not ``local``, which is this machine. target: ``module:Class`` of a ``hacore.executors.Workers``,
    imported only when a sweep asks for it, and called with the config and a ``hacore.executors.Demand``.
    config: attrs class, every field made by ``option``; the fields are the keys of ``--with``. summary: one
    line.
    """

    name: str = attrs.field(validator=[_check_name, _check_not_local])
    target: str = attrs.field(validator=_check_target)
    config: type = attrs.field(validator=_check_config)
    summary: str


@attrs.frozen(kw_only=True)
class Command:
    """A declared subcommand: what ``hacore NAME`` runs.

    name: not one of ``CORE_COMMANDS``. target: ``module:object``, a ``click.Command``, imported only when
    the command is called; a ``hacore.errors.HacoreError`` that it raises is printed as one line. summary:
    one line for ``hacore --help``.
    """

    name: str = attrs.field(validator=[_check_name, _check_not_core])
    target: str = attrs.field(validator=_check_target)
    summary: str


@attrs.frozen(kw_only=True)
class RunLogger:
    """A declared place where a run is logged: ``hacore run SPEC --log NAME``.

    target: ``module:Class`` of a ``hacore.loggers.Logger``, imported only when a run asks for it, and called
    with the config and a ``hacore.loggers.Logged``. config: attrs class, every field made by ``option``; the
    fields are the keys of ``--log-with NAME.KEY=VALUE``. summary: one line.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    config: type = attrs.field(validator=_check_config)
    summary: str


class Hooks:
    """The whole contract between the core and its plugins."""

    @hookspec
    def hacore_components(self) -> Iterable[Component]:
        """Return the components this plugin provides. Must not import torch."""
        raise AssertionError  # a specification has no body; pluggy never calls it

    @hookspec
    def hacore_data_tools(self) -> Iterable[DataTool]:
        """Return the tools for this plugin's datasets, if it has any. Must not import torch."""
        raise AssertionError

    @hookspec
    def hacore_executors(self) -> Iterable[Executor]:
        """Return other places for the runs of a sweep, if this plugin has any. Must not import torch."""
        raise AssertionError

    @hookspec
    def hacore_commands(self) -> Iterable[Command]:
        """Return subcommands of ``hacore``, if this plugin has any. Must not import torch."""
        raise AssertionError

    @hookspec
    def hacore_loggers(self) -> Iterable[RunLogger]:
        """Return places where runs can be logged, if this plugin has any. Must not import torch."""
        raise AssertionError
