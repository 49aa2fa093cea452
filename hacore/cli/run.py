"""``hacore run`` and ``hacore eval``."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import click
from rich.console import Console

from hacore.cli.observing import chosen_observers, with_observers
from hacore.cli.tables import device_option, json_option, percent, print_json, print_table, set_option
from hacore.errors import HacoreError
from hacore.observers import observer_flags
from hacore.runs.result import Measured
from hacore.spec import dump_spec, load_spec


@click.command(no_args_is_help=True)
@click.argument("spec", type=click.Path(), required=False)
@set_option
@click.option("--resume", metavar="RUN", help="Go on with this run folder; SPEC may be left out.")
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
    result.json and a page to look at, report/index.html (which needs pip install hacore[report]).
    Ctrl-C or SIGTERM save the state and leave; --resume goes on where it stopped.
    Several processes: torchrun --nproc-per-node 2 -m hacore run SPEC.

    \b
    Examples:
      hacore run experiments/han_rn.toml
      hacore run experiments/han_rn.toml --set selector.k=8 --set train.epochs=2
      hacore run experiments/han_rn.toml --log tensorboard --log-with tensorboard.pictures=4
      hacore run --resume runs/han_rn/20260101-120000-abc123
    """
    if spec is None and resume is None:
        raise click.UsageError("give a SPEC, or --resume RUN")
    if resume and overrides and spec is None:
        raise click.UsageError("--set with --resume needs the SPEC it changes; a run goes on as it began")
    without = without if report else (*without, "report")
    log = chosen_observers(observers, observer_options, without)
    if spec is not None:
        resolved = load_spec(spec, overrides)
        if dry_run:
            click.echo(dump_spec(resolved), nl=False)
            return
    # From here on torch is needed.
    from hacore.runs import RunFolder
    from hacore.runs.folder import same_experiment
    from hacore.workflow import run as run_spec

    folder = RunFolder.open(resume) if resume else None
    if folder is not None:
        if spec is None:
            resolved = folder.spec()
        else:
            same_experiment(folder, resolved)
        if dry_run:
            click.echo(dump_spec(resolved), nl=False)
            return
    from hacore.train.progress import reporter_for

    console = Console(stderr=True)
    show_log(console)
    reporter = reporter_for(console)
    folder, result = run_spec(
        resolved,
        runs=runs,
        resume=folder,
        device=device,
        reporter=reporter,
        log=log,
        without=without,
        created=lambda made: reporter.message(f"run folder: {made.path}"),
    )
    if result is None:
        from hacore.machine.processes import launched

        if not launched():
            again = shlex.join(["--resume", str(folder.path), *observer_flags(log, without)])
            raise HacoreError(f"stopped before the end; go on with: hacore run {again}")
        return
    if as_json:
        print_json({"run": str(folder.path), **result})
        return
    print_result(result)
    click.echo(f"\nrun folder: {folder.path}")
    if folder.report_file.is_file():
        click.echo(f"report: {folder.report_file}")


@click.command("eval", no_args_is_help=True)
@click.argument("run", type=click.Path())
@click.option("--split", help="Split of the dataset; default: the spec's eval.final_split.")
@device_option
@json_option
def evaluate(run: str, split: str | None, device: str, as_json: bool) -> None:
    """Measure the best model of RUN, a run folder, again; writes RUN/predictions/SPLIT.jsonl.

    Where the dataset has an official evaluation, the file that it takes is written beside the
    predictions, as SPLIT.submission. A split whose answers are not public gets no accuracy.

    \b
    Examples:
      hacore eval runs/han_rn/20260101-120000-abc123
      hacore eval runs/han_rn/20260101-120000-abc123 --split val --json
    """
    from hacore.runs import RunFolder
    from hacore.workflow import evaluate_run

    show_log(Console(stderr=True))
    result = evaluate_run(RunFolder.open(run), split=split, device=device)
    if as_json:
        print_json(result.as_dict())
        return
    print_result(result)
    predictions = Path(run) / "predictions" / f"{result.split}.jsonl"
    click.echo(f"\npredictions: {predictions}")
    if predictions.with_suffix(".submission").is_file():
        click.echo(f"submission: {predictions.with_suffix('.submission')}")


def print_result(result: Measured) -> None:
    """The accuracy by question type and group beside the baselines, in percent."""
    baselines = result.baselines
    names = {"majority": "majority answer", "question_only": "question only"}
    shown = [name for name in names if name in baselines]
    rows = []
    for parts, others in (
        (result.by_type, [baselines[name].by_type for name in shown]),
        (result.by_group, [baselines[name].by_group for name in shown]),
    ):
        for name, part in parts.items():
            beside = [percent(other.get(name)) for other in others]
            rows.append([name, f"{part.questions:,}", percent(part.accuracy), *beside])
    rows.append(
        ["all", f"{result.questions:,}", percent(result.accuracy)]
        + [percent(baselines[baseline].accuracy) for baseline in shown]
    )
    print_table(
        f"{result.name}: accuracy (%) on {result.split}, {percent(result.kept)}% of the cells kept",
        ["question type", "questions", "accuracy", *(names[baseline] for baseline in shown)],
        rows,
    )


def show_log(console: Console) -> None:
    """Let the library's own messages (data being prepared, say) reach the user."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)

    logger = logging.getLogger("hacore")
    logger.handlers = [Lines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
