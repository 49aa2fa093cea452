"""``hacore data`` and ``hacore score``: the tools that plugins bring for their datasets."""

from __future__ import annotations

import types
import typing
from contextlib import closing
from typing import Any, Literal

import attrs
import click

from hacore.cli.tables import json_option, print_json
from hacore.console import Console
from hacore.errors import PluginError, Problem, SpecError
from hacore.registry import Installed, catalogue, registry
from hacore.spec import shown, structure_table

_SUMMARIES = {
    "download": "Fetch a dataset's official files.",
    "prepare": "Check the files and pack what training reads, once.",
    "generate": "Make a dataset.",
    "verify": "Look for what is wrong with a dataset; exit status 1 if anything is.",
}
_PLAIN: dict[type, Any] = {int: int, float: float, str: str, bool: bool}


class _Whole(click.Group):
    """Lists its commands with all that their summaries say; click cuts them to a line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help or "") for name, command in commands.items() if command])


class _Actions(_Whole):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _SUMMARIES:
            return None
        return _Tools(
            name=cmd_name,
            help=_SUMMARIES[cmd_name],
            context_settings={"help_option_names": ["-h", "--help"]},
            no_args_is_help=True,
        )


class _Tools(_Whole):
    """The datasets for which an action is installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [tool.name for tool in registry().of(str(self.name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            return _command(_find_tool(str(self.name), cmd_name))
        except PluginError:
            # A name that exists nowhere is a mistake of usage; what is not installed can be installed.
            known = {dataset.name for dataset in registry().of("dataset")}
            if cmd_name in known.union(catalogue()["dataset"], catalogue().get(str(self.name), {})):
                raise
            return None


def _find_tool(action: str, name: str) -> Installed:
    """The tool for a dataset. Raises PluginError saying for which there is one, or what to install."""
    if tool := registry().look_up(action, name):
        return tool
    registry().find("dataset", name)
    tools = [tool.name for tool in registry().of(action)]
    raise PluginError(
        f"dataset '{name}' has nothing to {action}; datasets that do: {', '.join(tools) or 'none'}"
    )


@click.group(cls=_Actions, no_args_is_help=True)
def data() -> None:
    """Download, prepare, generate or verify a dataset.

    What can be done with a dataset comes with its plugin.

    \b
    Examples:
      hacore data prepare --help
      hacore data prepare clevr data/CLEVR_v1.0 --size 128 128
      hacore data generate clevr --images 5000 --packed --output data/generated
    """


@click.group(cls=_Tools, no_args_is_help=True)
def score() -> None:
    """Score a results file as the official evaluation does.

    \b
    Examples:
      hacore score vqa --help
      hacore score vqa --questions questions.json --annotations annotations.json \\
          --results results.json --json
    """


def _command(installed: Installed) -> click.Command:
    """The command of a tool; its options are the fields of the tool's config."""
    tool = installed.declared
    fields = attrs.fields(attrs.resolve_types(tool.config))
    parameters = [_parameter(field, tool.argument) for field in fields]

    @json_option
    def run(as_json: bool, **given: Any) -> int:
        config = _config(tool.config, given, tool.argument)
        with closing(Console()) as console:
            outcome = installed.load()(config, console)
        if as_json and tool.kind == "score" and not outcome.problems:
            print_json(outcome.summary)  # what the official evaluation gives, and nothing else
        elif as_json:
            print_json({"summary": outcome.summary, "problems": list(outcome.problems)})
        for problem in outcome.problems:
            click.echo(f"hacore: {problem}", err=True)
        if outcome.problems:
            count = len(outcome.problems)
            click.echo(f"hacore: {count} {'problems' if count > 1 else 'problem'} found", err=True)
            return 1
        if not as_json:
            for line in _lines(outcome.summary):
                click.echo(line)
        return 0

    return click.command(tool.name, params=parameters, help=f"{_sentence(tool.summary)}")(run)


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."


def _parameter(field: Any, argument: str | None) -> click.Parameter:
    kind = _click_type(field.type)
    if field.name == argument:
        return click.Argument([field.name], required=not field.default, type=kind[0], metavar="DIR")
    settings: dict[str, Any] = {"type": kind[0], "help": field.metadata["help"] + _default(field.default)}
    name = f"--{field.name.replace('_', '-')}"
    if field.type is bool:
        settings.pop("type")
        return click.Option([f"{name}/--no-{name[2:]}", field.name], default=None, **settings)
    return click.Option([name, field.name], default=None, nargs=kind[1], multiple=kind[2], **settings)


def _default(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, tuple) and not any(map(str, value))):
        return ""
    if isinstance(value, tuple):
        return f"  [default: {' '.join(map(str, value))}]"
    return f"  [default: {shown(value) if isinstance(value, bool) else value}]"


def _click_type(wanted: Any) -> tuple[Any, int, bool]:
    """(type, values it takes, whether it may be repeated) of a config field's type."""
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return _click_type(next(part for part in arguments if part is not types.NoneType))
    if typing.get_origin(wanted) is Literal:
        return click.Choice(list(arguments)), 1, False
    if typing.get_origin(wanted) is tuple:
        if arguments[-1] is Ellipsis:
            return _PLAIN[arguments[0]], 1, True
        return _PLAIN[arguments[0]], len(arguments), False
    return _PLAIN[wanted], 1, False


def _config(cls: type[Any], given: dict[str, Any], argument: str | None) -> Any:
    """The config from what was typed. Raises SpecError with every problem, named as it was typed."""
    table = {key: value for key, value in given.items() if value is not None and value != ()}
    problems: list[Problem] = []
    config = structure_table(cls, table, "", problems)
    if problems:
        raise SpecError([Problem(_typed(p.where, argument, given), p.message) for p in problems])
    return config


def _typed(where: str, argument: str | None, given: dict[str, Any]) -> str:
    if where == argument:
        return "DIR"
    return f"--{where.replace('_', '-')}" if where in given else "options"


def _lines(summary: dict[str, Any], indent: str = "") -> list[str]:
    """A summary as text, one value a line; tables inside are indented."""
    lines = []
    for key, value in summary.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            text = f"{value:,}" if type(value) is int else str(value)
            lines.append(f"{indent}{key}: {text}")
    return lines
