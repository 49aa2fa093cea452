"""``hacore sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hacore.cli.observing import chosen_observers, with_observers
from hacore.cli.tables import device_option, json_option, percent, print_json, print_table, set_option
from hacore.console import Console, show_log
from hacore.errors import HacoreError
from hacore.machine.commands import pasteable
from hacore.observers import observer_flags
from hacore.registry import registry
from hacore.spec import Sweep, load_sweep, set_values
from hacore_sweep import Outcome, SweepFolder, run_sweep
from hacore_sweep._seeds import of_seeds


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path())
@set_option
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    type=click.IntRange(0),
    help="Run only this one of the sweep's seeds. May be repeated.",
)
@click.option("--jobs", type=click.IntRange(1), help="Runs at a time; default: what cores or GPUs allow.")
@device_option
@click.option("--on", default="local", show_default=True, help="Where the runs are: local, or an executor.")
@click.option(
    "--with",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the executor; 'hacore plugins executor NAME' lists them. May be repeated.",
)
@click.option("--output", metavar="FOLDER", help="The sweep folder; default: sweeps/NAME.")
@with_observers
@click.option("--dry-run", is_flag=True, help="List the combinations and stop; nothing is done.")
@json_option
def sweep(
    spec: str,
    overrides: tuple[str, ...],
    seeds: tuple[int, ...],
    jobs: int | None,
    device: str,
    on: str,
    options: tuple[str, ...],
    output: str | None,
    observers: tuple[str, ...],
    observer_options: tuple[str, ...],
    without: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run every combination of SPEC, a TOML file with a [sweep], several at a time.

    Leaves a sweep folder with the run folders and sweep.json, which names them. After a Ctrl-C or a
    failure, the same command, or 'hacore sweep FOLDER', resumes: finished runs are not repeated, and
    others continue from their last checkpoint. A run that fails does not stop the rest.

    \b
    Examples:
      hacore sweep experiments/tables/table1.toml --dry-run
      hacore sweep experiments/tables/table1.toml --seed 0 --jobs 2
      hacore sweep experiments/tables/table1.toml --log tensorboard
      hacore sweep sweeps/table1
      hacore sweep sweeps/table1 --on ray --with address=10.0.0.1:6379
    """
    table: dict[str, Any] = {}
    set_values(table, options, "--with address=10.0.0.1:6379")
    registry().find("executor", on)  # a mistake is reported before torch is loaded
    log = chosen_observers(observers, observer_options, without)
    plan, path = _plan(spec, overrides, output)
    chosen = of_seeds(plan, seeds)
    if dry_run:
        _list(plan, chosen, path, as_json)
        return
    show_log(Console())
    folder, outcomes = run_sweep(
        plan,
        output=path,
        seeds=seeds,
        jobs=jobs,
        device=device,
        on=on,
        options=table,
        log=log,
        without=without,
    )
    if as_json:
        print_json({"sweep": str(folder.path), "runs": folder.index()["runs"]})
    else:
        _print(folder.path, outcomes)
    outcomes = [outcome for outcome in outcomes if outcome.combination.short in chosen]
    _raise_missing(folder.path, outcomes, [*_executor_flags(on, options), *observer_flags(log, without)])


def _executor_flags(on: str, options: tuple[str, ...]) -> list[str]:
    """The same choice for another command."""
    return [] if on == "local" else ["--on", on, *(word for option in options for word in ("--with", option))]


def _plan(spec: str, overrides: tuple[str, ...], output: str | None) -> tuple[Sweep, Path]:
    """The sweep of a spec or of a sweep folder, and its folder."""
    if not SweepFolder.is_sweep(spec):
        plan = load_sweep(spec, overrides)
        return plan, Path(output or Path("sweeps", plan.name))
    if overrides or output:
        raise click.UsageError("a sweep folder resumes as it began; --set and --output need its SPEC")
    folder = SweepFolder.open(spec)
    return folder.sweep(), folder.path


def _raise_missing(folder: Path, outcomes: list[Outcome], flags: list[str]) -> None:
    """Raise HacoreError where runs are missing, with each failure and how to resume."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    missing = sum(outcome.status != "finished" for outcome in outcomes)
    lines = [f"{outcome.combination.label}: {outcome.error}" for outcome in failed]
    if failed:
        lines.append(
            f"{len(failed)} of {len(outcomes)} runs failed; {folder / 'logs'} has all that they said"
        )
    if missing > len(failed):
        lines.append(f"stopped before the end, {missing} of {len(outcomes)} runs are missing")
    if missing:
        command = pasteable("hacore", "sweep", folder, *flags)
        raise HacoreError("\n".join([*lines, f"resume with: {command}"]))


def _list(plan: Sweep, chosen: set[str], path: Path, as_json: bool) -> None:
    outcomes = [
        outcome for outcome in SweepFolder(path).outcomes_of(plan)[0] if outcome.combination.short in chosen
    ]
    if as_json:
        print_json([outcome.table(path) for outcome in outcomes])
        return
    print_table(
        f"{plan.name}: {len(outcomes)} runs in {path}",
        ["run", "combination", "status"],
        [[outcome.combination.spec.name, outcome.combination.label, outcome.status] for outcome in outcomes],
    )


def _print(folder: Path, outcomes: list[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        row = [outcome.combination.label, outcome.status, "", "", ""]
        if outcome.status == "finished" and outcome.folder is not None:
            result = outcome.folder.result()
            row[2:] = [
                percent(result.accuracy),
                percent(result.kept),
                f"{result.training.seconds:.0f}" if result.training else "",
            ]
        rows.append(row)
    print_table("", ["combination", "status", "accuracy (%)", "kept (%)", "training (s)"], rows)
    click.echo(f"\nsweep folder: {folder}\ntable: {pasteable('hacore', 'table', folder)}")
