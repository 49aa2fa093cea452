"""``hacore sweep``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from hacore.cli.observing import chosen_observers, with_observers
from hacore.cli.tables import device_option, json_option, percent, print_json, print_table, set_option
from hacore.errors import HacoreError
from hacore.observers import observer_flags
from hacore.registry import registry
from hacore.spec import Sweep, load_sweep, set_values


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

    Leaves a sweep folder with the run folders and sweep.json, which names them. The same command, or
    'hacore sweep FOLDER', goes on after a Ctrl-C or a failure: finished runs are not repeated, and
    others go on from their last checkpoint. A run that fails does not stop the rest.

    \b
    Examples:
      hacore sweep experiments/tables/table1.toml --dry-run
      hacore sweep experiments/tables/table1.toml --seed 0 --jobs 2
      hacore sweep experiments/tables/table1.toml --log tensorboard
      hacore sweep sweeps/table1
      hacore sweep sweeps/table1 --on ray --with address=10.0.0.1:6379
    """
    from hacore.sweeps import SweepFolder

    table: dict[str, Any] = {}
    set_values(table, options, "--with address=10.0.0.1:6379")
    registry().find("executor", on)  # a mistake is told before torch is loaded
    log = chosen_observers(observers, observer_options, without)
    if SweepFolder.is_sweep(spec):
        if overrides or output:
            raise click.UsageError("a sweep folder goes on as it began; --set and --output need its SPEC")
        held = SweepFolder.open(spec)
        found, folder = held.sweep(), held.path
    else:
        found = load_sweep(spec, overrides)
        folder = Path(output or Path("sweeps", found.name))
    wanted = {it.short for it in found.of_seeds(seeds)}
    if dry_run:
        _list(found, wanted, folder, as_json)
        return
    # From here on torch is needed.
    from hacore.cli.run import show_log
    from hacore.sweeps import run_sweep, sweep_reporter_for

    console = Console(stderr=True)
    show_log(console)
    made, outcomes = run_sweep(
        found,
        output=folder,
        seeds=seeds,
        jobs=jobs,
        device=device,
        on=on,
        options=table,
        log=log,
        without=without,
        reporter=sweep_reporter_for(console),
    )
    if as_json:
        print_json({"sweep": str(made.path), "runs": made.index()["runs"]})
    else:
        _print(made.path, outcomes)
    chosen = [it for it in outcomes if it.combination.short in wanted]
    failed = [it for it in chosen if it.status == "failed"]
    missing = sum(it.status != "finished" for it in chosen)
    lines = [f"{it.combination.label}: {it.error}" for it in failed]
    if failed:
        logs = made.path / "logs"
        lines.append(f"{len(failed)} of {len(chosen)} runs failed; {logs} has all that they said")
    if missing > len(failed):
        lines.append(f"stopped before the end, {missing} of {len(chosen)} runs are missing")
    if missing:
        place = [] if on == "local" else ["--on", on, *(word for it in options for word in ("--with", it))]
        again = shlex.join([str(made.path), *place, *observer_flags(log, without)])
        raise HacoreError("\n".join([*lines, f"go on with: hacore sweep {again}"]))


def _list(found: Sweep, wanted: set[str], folder: Path, as_json: bool) -> None:
    from hacore.sweeps import SweepFolder

    outcomes = [it for it in SweepFolder(folder).found(found)[0] if it.combination.short in wanted]
    if as_json:
        print_json([outcome.table(folder) for outcome in outcomes])
        return
    print_table(
        f"{found.name}: {len(outcomes)} runs in {folder}",
        ["run", "combination", "status"],
        [[it.combination.spec.name, it.combination.label, it.status] for it in outcomes],
    )


def _print(folder: Path, outcomes: list[Any]) -> None:
    rows = []
    for outcome in outcomes:
        row = [outcome.combination.label, outcome.status, "", "", ""]
        if outcome.status == "finished":
            result = outcome.folder.result()
            row[2:] = [
                percent(result.accuracy),
                percent(result.kept),
                f"{result.training.seconds:.0f}" if result.training else "",
            ]
        rows.append(row)
    print_table("", ["combination", "status", "accuracy (%)", "kept (%)", "training (s)"], rows)
    click.echo(f"\nsweep folder: {folder}\ntable: hacore table {folder}")
