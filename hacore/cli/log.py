"""``--log`` and ``--log-with``, of the commands that run something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from hacore.errors import HacoreError
from hacore.loggers import choose
from hacore.spec import set_values

F = TypeVar("F", bound=Callable[..., Any])
_EXAMPLE = "--log-with tensorboard.pictures=4"


def log_options(command: F) -> F:
    """Adds both options to a command, as ``loggers`` and ``log_options``."""
    command = click.option(
        "--log-with",
        "log_options",
        multiple=True,
        metavar="NAME.KEY=VALUE",
        help="An option of a logger; 'hacore plugins logger NAME' lists them. May be repeated.",
    )(command)
    return click.option(
        "--log",
        "loggers",
        multiple=True,
        metavar="NAME",
        help="Log with this logger; 'hacore plugins logger' lists them. May be repeated.",
    )(command)


def chosen_log(names: Sequence[str], options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Loggers with their options, as ``hacore.run`` takes them. Raises HacoreError for what is mistaken."""
    table: dict[str, Any] = {}
    for key, words in set_values(table, options, _EXAMPLE):
        name, dot, _ = key.partition(".")
        if not dot:
            raise HacoreError(f"--log-with {words}: must be NAME.KEY=VALUE, as in {_EXAMPLE}")
        if name not in names:
            raise HacoreError(f"--log-with {words}: logger '{name}' is not asked for; add --log {name}")
    log = {name: table.get(name, {}) for name in names}
    choose(log)  # before torch is loaded
    return log
