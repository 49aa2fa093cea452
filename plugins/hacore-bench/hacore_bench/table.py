"""A measurement as tables for people."""

from __future__ import annotations

from collections.abc import Callable

import click

from hacore.cli.tables import print_table
from hacore.spec import shown
from hacore_bench.record import Bench, Model, Row
from hacore_bench.subject import ALL_CELLS, OWN
from hacore_bench.work import PARTS, WHOLE

Value = Callable[[Row], float | None]


def show(bench: Bench) -> None:
    """Print two tables for each size of batch, the stages and the whole, and what must be known of them."""
    weights = "random weights" if bench.step is None else f"weights of step {bench.step:,}"
    click.echo(f"{bench.target}: {bench.name}, {weights}, questions of {bench.dataset}'s split {bench.split}")
    for model in bench.models:
        click.echo(_describe(model))
    machine, matrix = bench.machine, bench.matrix
    compiled = ", compiled" if machine.compile else ""
    threads = f"{machine.threads} {'thread' if machine.threads == 1 else 'threads'}"
    click.echo(f"{machine.device_name}, {threads}, {machine.precision}{compiled}, torch {machine.torch}")
    click.echo(
        f"matrix product ({matrix.side:,} x {matrix.side:,}): "
        f"{matrix.multiply_adds_per_second / 1e9:,.1f} billion multiply-adds a second"
    )
    for questions in dict.fromkeys(row.questions for row in bench.rows):
        _show_stages(bench, questions)
        _show_whole(bench, questions)
    for note in bench.notes:
        click.echo(f"\n{note}")


def _describe(model: Model) -> str:
    selector = ", ".join(
        f"{key} = {shown(value)}" for key, value in model.selector.items() if value is not None
    )
    name = "the model" if model.name == OWN else "all cells"
    return f"{name}: selector {selector}; {model.kept:.1f} of {model.cells} cells kept"


def _show_stages(bench: Bench, questions: int) -> None:
    """Milliseconds by stage."""
    rows = []
    for part in PARTS:
        forward = bench.row(OWN, questions, part, "forward")
        if forward is None:  # no image is encoded
            continue
        cells = [part, _number(forward.multiply_adds, "{:,}"), _number(_percent(forward), "{:.1f}")]
        for work in ("forward", "backward"):
            cells += _beside(bench, questions, part, work, _milliseconds, "{:.3f}")
        rows.append(cells)
    images = next(row.images for row in bench.rows if row.questions == questions)
    title = (
        f"\n{questions} question{'s' * (questions > 1)} about {images} image{'s' * (images > 1)}, "
        "milliseconds (medians)"
    )
    compared = ["all cells", "times"] if len(bench.models) > 1 else []
    columns = ["stage", "multiply-adds", "% of matrix", "forward", *compared, "backward", *compared]
    print_table(title, columns, rows, minor=columns[1:3][::-1])


def _show_whole(bench: Bench, questions: int) -> None:
    """What the whole model costs."""
    lines: list[tuple[str, str, Value, str]] = [
        ("forward, ms", "forward", _milliseconds, "{:.3f}"),
        ("training step, ms", "step", _milliseconds, "{:.3f}"),
        ("forward, questions a second", "forward", _rate, "{:,.0f}"),
        ("training, questions a second", "step", _rate, "{:,.0f}"),
        ("forward, peak MB", "forward", _megabytes, "{:,.1f}"),
        ("training step, peak MB", "step", _megabytes, "{:,.1f}"),
        ("multiply-adds of a question", "forward", lambda row: row.multiply_adds, "{:,}"),
        ("forward, % of matrix", "forward", _percent, "{:.1f}"),
    ]
    compared = ["all cells", "times"] if len(bench.models) > 1 else []
    rows = [
        [title, *_beside(bench, questions, WHOLE, work, value, form)] for title, work, value, form in lines
    ]
    for row in rows:  # of what is better when it is more, the ratio would say the same again
        if compared and row[0].endswith(("a second", "of matrix")):
            row[-1] = ""
    print_table("", ["whole model", "this model", *compared], rows)


def _beside(bench: Bench, questions: int, part: str, work: str, value: Value, form: str) -> list[str]:
    """The number of the model, of all cells, and how many times the first the second is."""
    row, other = (bench.row(name, questions, part, work) for name in (OWN, ALL_CELLS))
    own = value(row) if row else None
    if len(bench.models) < 2:
        return [_number(own, form)]
    theirs = value(other) if other else None
    times = theirs / own if own and theirs is not None else None
    return [_number(own, form), _number(theirs, form), _number(times, "{:.2f}")]


def _milliseconds(row: Row) -> float | None:
    return row.milliseconds


def _rate(row: Row) -> float | None:
    return row.questions_per_second


def _megabytes(row: Row) -> float | None:
    return None if row.peak_bytes is None else row.peak_bytes / 1e6


def _percent(row: Row) -> float | None:
    return 100 * row.matrix_share if row.matrix_share is not None and row.multiply_adds else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
