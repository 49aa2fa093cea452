"""The command line. A command imports only what it needs."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from hacore import __version__
from hacore.cli.streams import drop_output, output_failed, prepare_streams
from hacore.errors import HacoreError
from hacore.machine.threads import sleep_while_waiting


class _Lazy(click.Group):
    """Imports a command's module when that command is called; the list of commands needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_summaries()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from hacore.registry import registry

        installed = registry().look_up("command", cmd_name)
        return installed.load() if installed else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=summary)
            for name, summary in _summaries().items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_summaries().items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-"):
            from hacore.errors import did_you_mean
            from hacore.registry import catalogue, registry

            # Raises for a command that could be installed; any other is a mistake of usage.
            if registry().look_up("command", args[0]) is None:
                known = self.list_commands(ctx)
                near = did_you_mean(args[0], {*known, *catalogue().get("command", {})})
                ctx.fail(f"no command '{args[0]}'{near}; commands: {', '.join(known)}")
        return super().resolve_command(ctx, args)


def _summaries() -> dict[str, str]:
    """{name: summary} of every command."""
    from hacore.registry import registry

    return {command.name: command.declared.summary for command in registry().of("command")}


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hacore")
@click.option("--debug", is_flag=True, help="Show the traceback of errors.")
def cli(debug: bool) -> None:
    """A workbench for hard attention in visual question answering.

    \b
    Examples:
      hacore run experiments/han_rn.toml
      hacore check experiments/han_rn.toml --set selector.k=8
      hacore plugins selector l2-topk
      hacore new selector my-selector

    Shell completion: see 'Command line' in the documentation.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the exit status is 0, 1 for what the user can fix, 2 for usage."""
    prepare_streams()
    if "_HACORE_COMPLETE" in os.environ:
        importlib.import_module("hacore.cli.completion")  # tells click how bash and zsh take keys
    if arguments is None:  # the program itself; a caller's process stays as it is
        sleep_while_waiting()
        arguments = sys.argv[1:]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe left.
        drop_output()
        sys.exit(0)
    except OSError as error:
        if not output_failed():
            raise
        drop_output()
        reason = error.strerror or str(error)
        _complain(f"standard output cannot be written: {reason}; make room or write to another place")
        sys.exit(1)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and "torch" in sys.modules:
        # Threads of gloo may outlive its group; destroyed by the interpreter's end, they abort the process.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """The exit status; raises OSError where standard output cannot be written."""
    # The flag may stand anywhere, as a user adds it to the end of the command that failed.
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = cli.main(arguments, prog_name="hacore", standalone_mode=False)
    except HacoreError as error:
        if debug:
            raise
        _complain(str(error))
        if "--json" in arguments:
            _print_problems(error)
        return 1
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    return status if isinstance(status, int) else 0


def _print_problems(error: HacoreError) -> None:
    """What is wrong as JSON, for editors and other programs."""
    from hacore.cli.tables import print_json
    from hacore.errors import Problem, SpecError

    if isinstance(error, SpecError):
        problems = [*error.problems]
    else:
        problems = [Problem("", line) for line in str(error).splitlines()]
    print_json({"valid": False, "problems": [problem.as_dict() for problem in problems]})


def _complain(text: str) -> None:
    for line in text.splitlines():
        click.echo(f"hacore: {line}", err=True)
