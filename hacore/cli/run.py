"""``hacore run`` and ``hacore eval``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hacore.cli.completion import key_values, splits
from hacore.cli.observing import chosen_observers, with_observers
from hacore.cli.tables import (
    change_option,
    device_option,
    json_option,
    percent,
    print_json,
    print_table,
    set_option,
)
from hacore.console import Console, show_log
from hacore.errors import HacoreError
from hacore.machine.commands import pasteable
from hacore.observers import observer_flags
from hacore.registry import registry
from hacore.runs import RunFolder
from hacore.runs.choosing import unfinished_run
from hacore.runs.places import changed, moved_flags, placed, read_changes, same_experiment
from hacore.runs.result import Measured
from hacore.spec import Spec, dump_spec, load_spec, shown, spec_table


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path(), required=False)
@set_option
@click.option(
    "--resume",
    metavar="RUN",
    help="Resume this run folder, or the newest unfinished run of a folder of runs; SPEC may be left out.",
)
@device_option
@click.option("--runs", default="runs", show_default=True, help="Folder that holds the run folders.")
@click.option(
    "--dry-run", is_flag=True, help="Print the resolved spec and stop; nothing is trained or written."
)
@click.option("--report/--no-report", default=True, help="--no-report is --without report.")
@with_observers
@json_option
def run(
    spec: str | None,
    overrides: tuple[str, ...],
    resume: str | None,
    device: str,
    runs: str,
    dry_run: bool,
    report: bool,
    observers: tuple[str, ...],
    observer_options: tuple[str, ...],
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train and measure the experiment of SPEC, a TOML file.

    Leaves a folder RUNS/NAME/TIME-ID with the resolved spec, metrics, checkpoints, predictions,
    result.json and a page to look at, report/index.html (which the package hacore-report makes).
    With --resume only the places of the data can be changed, as data.root=DIR.
    Ctrl-C, SIGTERM and closing the terminal save the state and leave; --resume continues from there.
    Several processes: torchrun --nproc-per-node 2 -m hacore run SPEC.

    \b
    Examples:
      hacore run experiments/han_rn.toml
      hacore run experiments/han_rn.toml --set selector.k=8 --set train.epochs=2
      hacore run experiments/han_rn.toml --log tensorboard --log-with tensorboard.pictures=4
      hacore run --resume runs/han_rn
    """
    show_log(Console())
    resolved, folder = _what_to_run(spec, overrides, resume)
    moved = moved_flags(folder, resolved) if folder else []
    without = without if report else (*without, "report")
    log = chosen_observers(observers, observer_options, without)
    if dry_run:
        print_json(spec_table(resolved)) if as_json else click.echo(dump_spec(resolved), nl=False)
        return
    # From here on torch is needed.
    from hacore.workflow import run as run_spec

    folder, result = run_spec(
        resolved,
        runs=runs,
        resume=folder,
        device=device,
        log=log,
        without=without,
    )
    if result is None:
        _raise_stopped(folder, [*moved, *observer_flags(log, without)])
    elif as_json:
        print_json({"run": str(folder.path), **result})
    else:
        print_result(result)
        click.echo(f"\nrun folder: {folder.path}")
        if folder.report_file.is_file():
            click.echo(f"report: {folder.report_file}")
        _say_what_next(folder)


def _what_to_run(
    path: str | None, overrides: tuple[str, ...], resume: str | None
) -> tuple[Spec, RunFolder | None]:
    """The resolved spec, and the run folder to resume. Raises RunError for a folder of another spec."""
    if resume is None:
        if path is None:
            raise click.UsageError("give a SPEC, or --resume RUN")
        return load_spec(path, overrides), None
    folder = unfinished_run(resume)
    if path and "=" in path and not os.path.exists(path):  # SPEC was left out before KEY=VALUE
        overrides, path = (*overrides, path), None
    spec = placed(load_spec(path or folder.spec_file, overrides), folder)
    same_experiment(folder, spec)
    return spec, folder


def _say_what_next(folder: RunFolder) -> None:
    """Commands that one gives after a run, if they are installed."""
    commands = (
        ("ask", pasteable("hacore", "ask", folder.path) + ' PICTURE "QUESTION"'),
        ("table", pasteable("hacore", "table", folder.path.parent)),
        ("compare", pasteable("hacore", "compare", folder.path.parent) + " --against OTHER_RUNS"),
    )
    installed = {command.name for command in registry().of("command")}
    if lines := [line for name, line in commands if name in installed]:
        click.echo("next: " + "\n      ".join(lines))


def _raise_stopped(folder: RunFolder, flags: list[str]) -> None:
    """Says how to resume an interrupted run. Under torchrun, its launcher reports the end."""
    from hacore.machine.processes import launched

    if not launched():
        command = pasteable("hacore", "run", "--resume", folder.path, *flags)
        raise HacoreError(f"stopped before the end; resume with: {command}")


@click.command("eval", no_args_is_help=True)
@click.argument("run", type=click.Path())
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=key_values)
@change_option
@click.option(
    "--split", shell_complete=splits, help="Split of the dataset; default: the spec's eval.final_split."
)
@device_option
@json_option
def evaluate(
    run: str,
    changes: tuple[str, ...],
    overrides: tuple[str, ...],
    split: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure the best model of RUN, a run folder or a folder of runs, again.

    Writes RUN/predictions/SPLIT.jsonl. selector.KEY=VALUE measures it with another option of its selector,
    and selector.use=NAME with another selector that has no weights, without training. data.root=DIR says
    where the data are now, and features.root=DIR where the stored features are; other data, as data.use=NAME,
    are matched by the names of words and answers, and answers that the model does not know count as wrong.
    Predictions of another selector or other data are in SPLIT--DIGEST.jsonl, one file for each choice. What
    was measured, multiply-adds included, is beside the predictions as .json.

    Where the dataset has an official evaluation, the file that it takes is written beside the
    predictions, as SPLIT.submission. A split whose answers are not public gets no accuracy.

    \b
    Examples:
      hacore eval runs/han_rn
      hacore eval runs/han_rn/20260101-120000-abc123 --split val --json
      hacore eval runs/han_rn/20260101-120000-abc123 selector.k=5
      hacore eval runs/rn/20260101-120000-abc123 selector.use=l2-topk selector.k=10
      hacore eval runs/vqa/20260101-120000-abc123 data.root=/data/vqa
    """
    wanted = read_changes((*overrides, *changes))
    from hacore.runs.trained import load
    from hacore.workflow import evaluate_run

    show_log(Console())
    trained = changed(load(run, device=device), wanted)
    result = evaluate_run(trained, split=split)
    if as_json:
        print_json(result.as_dict())
        return
    print_result(result)
    if trained.other_data:
        click.echo(f"\ndata: others than it was trained on; {trained.unknown_names()}")
    selector = ", ".join(f"{key} = {shown(value)}" for key, value in result.selector.items())
    click.echo(f"\nselector: {selector}{' (the model has an oracle)' if result.oracle else ''}")
    click.echo(f"multiply-adds of a question: {result.multiply_adds:,}")
    click.echo(f"predictions: {result.predictions}")
    submission = Path(result.predictions).with_suffix(".submission")
    if submission.is_file():
        click.echo(f"submission: {submission}")


def print_result(result: Measured) -> None:
    """The accuracy by question type and group beside the baselines, in percent."""
    names = {"majority": "majority answer", "question_only": "question only"}
    beside = {words: result.baselines[name] for name, words in names.items() if name in result.baselines}
    rows = []
    for by in ("by_type", "by_group"):
        for name, part in getattr(result, by).items():
            others = [percent(getattr(baseline, by).get(name)) for baseline in beside.values()]
            rows.append([name, f"{part.questions:,}", percent(part.accuracy), *others])
    others = [percent(baseline.accuracy) for baseline in beside.values()]
    rows.append(["all", f"{result.questions:,}", percent(result.accuracy), *others])
    print_table(
        f"{result.name}: accuracy (%) on {result.split}, {percent(result.kept)}% of the cells kept",
        ["question type", "questions", "accuracy", *beside],
        rows,
    )
