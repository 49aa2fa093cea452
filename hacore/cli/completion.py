"""What the Tab key offers: names, devices, splits, and the keys and values of a spec. Imports no torch."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import BashComplete, ZshComplete, add_completion_class

from hacore.registry import registry
from hacore.spec import spec_keys


def offer(names: Callable[[click.Context, str], Iterable[str]]) -> Any:
    """A ``shell_complete`` that offers the names which begin as the word does, if nothing is damaged."""

    def complete(ctx: click.Context, _: click.Parameter, word: str) -> list[str]:
        try:
            return [name for name in names(ctx, word) if name.startswith(word)]
        except Exception:  # a traceback would be written into the user's command
            return []

    return complete


def registered(kind: str) -> list[str]:
    """Names of the installed components of a kind."""
    return [component.name for component in registry().of(kind)]


def _key_values(ctx: click.Context, word: str) -> Iterable[str]:
    """``selector.k=`` for each key of what the command names; once a key is whole, the values of a choice."""
    # Of a command line that ends in --set, click has not yet given the words before it their names.
    path = ctx.params.get("spec") or ctx.params.get("run") or ctx.args[0]
    keys = spec_keys(path) if "spec" in ctx.params else _changeable(path)
    if "=" not in word:
        return [f"{key}=" for key in keys]
    key = word.partition("=")[0]
    kind = keys[key]
    return [f"{key}={value}" for value in (registered(kind) if isinstance(kind, str) else _choices(kind))]


def _changeable(run: str) -> dict[str, Any]:
    """The keys of a run that can be changed without training."""
    from hacore.runs.choosing import finished_run

    keys = spec_keys(finished_run(run).spec_file)
    return {
        key: kind for key, kind in keys.items() if key.startswith(("selector.", "data.", "features.root"))
    }


def _choices(kind: Any) -> list[str]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [value for part in typing.get_args(kind) for value in _choices(part)]
    if typing.get_origin(kind) is typing.Literal:
        return [str(value) for value in typing.get_args(kind)]
    return ["true", "false"] if kind is bool else []


key_values = offer(_key_values)
devices = offer(lambda ctx, word: ("auto", "cpu", "cuda", "mps"))
splits = offer(lambda ctx, word: ("train", "val", "test"))
observers = offer(lambda ctx, word: registered("observer"))


@add_completion_class
class _Bash(BashComplete):
    """Bash takes ``=`` for a word of its own; a key is not followed by a space."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n", "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0\n"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        words, word = super().get_completion_args()
        *words, word = re.sub("\0=\0?", "=", "\0".join([*words, word])).split("\0")
        return words, word

    def format_completion(self, item: Any) -> str:
        item.value = item.value.partition("=")[2] or item.value
        return super().format_completion(item)


@add_completion_class
class _Zsh(ZshComplete):
    """Here, too, a key is not followed by a space."""

    source_template = ZshComplete.source_template.replace(
        "compadd", "local -a end; [[ $completions[1] == *= ]] && end=(-S ''); compadd \"$end[@]\""
    )
