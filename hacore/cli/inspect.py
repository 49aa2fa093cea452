"""``hacore check``, ``hacore plugins`` and ``hacore needs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import click

from hacore.cli.completion import offer, registered
from hacore.cli.tables import json_option, print_json, print_table, set_option
from hacore.errors import HacoreError, did_you_mean
from hacore.plugin import KINDS, SECTIONS
from hacore.registry import CORE, Installed, registry
from hacore.registry.catalogue import published
from hacore.registry.installing import install_arguments
from hacore.spec import Combination, Sweep, describe_type, is_sweep, load_spec, load_sweep, shown
from hacore.spec import needs as needed_by

# As in specs too, where the table of a dataset is "data".
_KINDS = SECTIONS | {kind.replace("_", "-"): kind for kind in KINDS} | {kind: kind for kind in KINDS}


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path())
@set_option
@json_option
def check(spec: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say whether SPEC is valid: every problem with its place, or the cost of every stage.

    Multiply-adds are those of matrix products and convolutions for one question about one image. Of a
    spec with a [sweep], every combination is composed. For some datasets it needs no data.

    \b
    Examples:
      hacore check experiments/han_rn.toml
      hacore check experiments/han_rn.toml --set 'selector={use="all-cells"}' --json
    """
    if is_sweep(spec, overrides):
        _check_sweep(spec, load_sweep(spec, overrides), as_json)
        return
    resolved = load_spec(spec, overrides)
    from hacore.workflow import check as check_spec

    report = check_spec(resolved)
    total = {
        key: sum(getattr(stage, key) for stage in report.stages)
        for key in ("parameters", "trainable", "multiply_adds")
    }
    if as_json:
        print_json({"valid": True, "name": resolved.name, **attrs.asdict(report), "total": total})
        return
    rows = [
        [stage.stage, stage.use, stage.output, *(f"{getattr(stage, key):,}" for key in total)]
        for stage in report.stages
    ]
    rows.append(["all", "", "", *(f"{value:,}" for value in total.values())])
    print_table(
        f"{spec} is valid",
        ["stage", "component", "output", "parameters", "trained", "multiply-adds"],
        rows,
    )
    splits = ", ".join(f"{split} {count:,}" for split, count in report.questions.items())
    data = f"without the data, as dataset '{resolved.data.use}' expects them: {report.missing}"
    if report.missing is None:
        data = f"questions: {splits}\ntraining: {report.steps:,} steps, {report.steps_per_epoch:,} an epoch"
    here = " on this machine" if resolved.train.precision == "auto" else ""
    click.echo(
        f"\n{data}\nprecision: {report.precision}{here}\n"
        f"multiply-adds: one question of {report.words} words about one image"
        + (f"\nfeatures: {report.features}" if report.features else "")
    )


def _check_sweep(path: str, sweep: Sweep, as_json: bool) -> None:
    """The cost of every setting; those that cannot be composed are named, all of them."""
    from hacore.workflow import check as check_spec

    settings: dict[str, list[Combination]] = {}
    for combination in sweep.combinations:
        settings.setdefault(combination.setting or "all runs", []).append(combination)
    rows, problems = [], []
    for setting, combinations in settings.items():
        try:
            report = check_spec(combinations[0].spec)
        except HacoreError as error:
            problems.append(f"{setting}: {error}")
            continue
        rows.append(
            {
                "combination": setting,
                "seeds": len(combinations),
                "parameters": sum(stage.parameters for stage in report.stages),
                "multiply_adds": sum(stage.multiply_adds for stage in report.stages),
                "steps": report.steps,
            }
        )
    if problems:
        raise HacoreError("\n".join(problems))
    if as_json:
        print_json({"valid": True, "name": sweep.name, "combinations": rows})
        return
    print_table(
        f"{path} is valid: {len(sweep.combinations)} runs",
        ["combination", "seeds", "parameters", "multiply-adds", "steps"],
        [
            [f"{cell:,}" if isinstance(cell, int) else str(cell or "-") for cell in row.values()]
            for row in rows
        ],
    )


@click.command()
@click.argument("kind", required=False, shell_complete=offer(lambda ctx, word: _KINDS))
@click.argument(
    "name", required=False, shell_complete=offer(lambda ctx, word: registered(_KINDS[ctx.params["kind"]]))
)
@json_option
def plugins(kind: str | None, name: str | None, as_json: bool) -> None:
    """List installed components, those of KIND, or the options of the component NAME.

    KIND is what a spec chooses, as selector, or executor, places where sweeps can run; observer, who can
    watch runs; command; or what can be done with data, as prepare.

    \b
    Examples:
      hacore plugins
      hacore plugins selector
      hacore plugins selector l2-topk
    """
    kinds = [key for key, value in KINDS.items() if value.chosen or key in ("executor", "observer", "model")]
    if kind is not None:
        if kind not in _KINDS:
            raise click.UsageError(f"no kind '{kind}'{did_you_mean(kind, _KINDS)}; kinds: {', '.join(KINDS)}")
        kind = _KINDS[kind]
        kinds = [kind]
    if kind == "command" and name:
        raise click.UsageError(f"a command has no options in a spec; see 'hacore {name} --help'")
    if kind and name:
        _show(registry().find(kind, name), as_json)
        return
    installed = registry().of(*kinds)
    if kind is None:
        installed += [command for command in registry().of("command") if command.distribution != CORE]
    rows = [_row(component) for component in installed]
    problems = registry().problems()
    for problem in problems:
        click.echo(f"hacore: {problem}", err=True)
    if as_json:
        print_json({"components": rows, "problems": problems})
    elif rows:
        print_table("", [*rows[0]], [[*row.values()] for row in rows], minor=("version", "distribution"))
    else:
        click.echo(f"no {KINDS[kind].words if kind else 'component'} is installed; see docs/install.md")


def _row(component: Installed) -> dict[str, Any]:
    return {
        "kind": component.kind,
        "name": component.name,
        "distribution": component.distribution,
        "version": component.version,
        "summary": component.declared.summary,
    }


def _show(component: Installed, as_json: bool) -> None:
    row = _row(component)
    options: list[dict[str, Any]] = []
    for field in attrs.fields(attrs.resolve_types(component.declared.config)):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        options.append(
            {
                "option": field.name,
                "type": describe_type(field.type),
                "default": default,
                "live": bool(field.metadata.get("live")),
                "help": field.metadata["help"],
            }
        )
    if as_json:
        print_json({**row, "options": options})
        return
    title = f"{row['kind']} '{row['name']}' ({row['distribution']} {row['version']}): {row['summary']}"
    if not options:
        click.echo(f"{title}\nno options")
        return
    rows = [
        [name, kind, "none" if default is None else shown(default), "yes" if live else "", text]
        for name, kind, default, live, text in (entry.values() for entry in options)
    ]
    print_table(title, [*options[0]], rows)


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path())
@set_option
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Print what 'pip install' takes: FOLDER is plugins of a checkout, or dist after 'make wheels'.",
)
@json_option
def needs(spec: str, overrides: tuple[str, ...], source: Path | None, as_json: bool) -> None:
    """List the packages that SPEC needs, one a line; on a terminal also whether each is installed.

    \b
    Examples:
      hacore needs experiments/han_rn.toml
      pip install $(hacore needs experiments/han_rn.toml --from plugins)
    """
    packages = needed_by(spec, overrides)
    if source is None and as_json:
        print_json([{"package": name, "installed": installed} for name, installed in packages])
    elif source is None:
        for name, installed in packages:
            state = f"\t{'installed' if installed else 'not installed'}" if sys.stdout.isatty() else ""
            click.echo(f"{name}{state}")
    else:
        others = [name for name, _ in packages if name not in published()]
        for name in others:
            click.echo(f"hacore: {name} is not of hacore; install it as you did before", err=True)
        words = install_arguments([name for name, _ in packages if name not in others], source)
        print_json(words) if as_json else click.echo(" ".join(words))
