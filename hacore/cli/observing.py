"""``--log``, ``--log-with`` and ``--without``, of the commands that run something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from hacore.cli.completion import observers
from hacore.errors import HacoreError
from hacore.observers import choose_observers
from hacore.spec import set_values

F = TypeVar("F", bound=Callable[..., Any])
_EXAMPLE = "--log-with tensorboard.pictures=4"


def with_observers(command: F) -> F:
    """Adds the options to a command, as ``observers``, ``observer_options`` and ``without``."""
    command = click.option(
        "--without",
        multiple=True,
        shell_complete=observers,
        metavar="NAME",
        help="Leave out an observer that runs have by default, such as report. May be repeated.",
    )(command)
    command = click.option(
        "--log-with",
        "observer_options",
        multiple=True,
        metavar="NAME.KEY=VALUE",
        help="An option of an observer; 'hacore plugins observer NAME' lists them. May be repeated.",
    )(command)
    return click.option(
        "--log",
        "observers",
        multiple=True,
        shell_complete=observers,
        metavar="NAME",
        help="Log to this observer; 'hacore plugins observer' lists them. May be repeated.",
    )(command)


def chosen_observers(
    names: Sequence[str], options: Sequence[str], without: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Observers with their options, as ``hacore.run`` takes them. Raises HacoreError for a mistake."""
    table: dict[str, Any] = {}
    for key, words in set_values(table, options, _EXAMPLE):
        name, dot, _ = key.partition(".")
        if not dot:
            raise HacoreError(f"--log-with {words}: must be NAME.KEY=VALUE, as in {_EXAMPLE}")
        if name not in names:
            raise HacoreError(f"--log-with {words}: observer '{name}' is not asked for; add --log {name}")
    observers = {name: table.get(name, {}) for name in names}
    choose_observers(observers, without)  # before torch is loaded
    return observers
