"""A table as Markdown, CSV, LaTeX or JSON, and the rows from which the command line prints text."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hacore.errors import HacoreError
from hacore_report._runs import label
from hacore_report._table import Labels, Table
from hacore_report._values import BASELINES, Cell, Value, decimals

FORMATS = ("text", "markdown", "csv", "latex", "json")


def write_table(table: Table, form: str, *, digits: int | None = None) -> str:
    """The table as text in one of ``FORMATS``; digits: after the point, in place of what suits.

    Markdown, LaTeX and text show mean ± sample standard deviation, shares in percent. CSV and JSON
    have the numbers as result.json has them.
    """
    if form not in FORMATS:
        raise HacoreError(f"no format '{form}'; formats: {', '.join(FORMATS)}")
    if form == "csv":
        return _csv(table)
    if form == "json":
        return json.dumps(as_json(table), indent=2, ensure_ascii=False) + "\n"
    title, head, rows = as_text(table, digits)
    if form == "markdown":
        return _markdown(title, head, rows, len(table.row_keys))
    if form == "latex":
        return _latex(title, head, rows, len(table.row_keys))
    return _aligned(title, head, rows, len(table.row_keys))


def as_text(table: Table, digits: int | None = None) -> tuple[str, list[str], list[list[str]]]:
    """Title, heads and rows as people read them."""
    pairs = [(column, value) for column in table.columns for value in table.values]
    counts = {len(cell.seeds) for cell in table.cells.values()}
    bodies: list[list[str]] = []
    extra = {name: [words] + [""] * (len(table.row_keys) - 1) for name, words in BASELINES.items()}
    for column, value in pairs:
        cells = [table.cells.get((row, column, value.name)) for row in table.rows]
        number = decimals(value, cells, digits)
        bodies.append([_shown(value, cell, number, counted=len(counts) > 1) for cell in cells])
        for name, line in extra.items():
            cell = table.baselines.get((name, column, value.name))
            line.append(_shown(value, cell, number) if cell else "")
    rows = [[label(value) for value in row] for row in table.rows]
    rows = [[*row, *cells] for row, cells in zip(rows, zip(*bodies, strict=True), strict=True)]
    rows += [line for line in extra.values() if any(line[len(table.row_keys) :])]
    return _title(table, counts), [*table.row_keys, *(_head(table, *pair) for pair in pairs)], rows


def as_json(table: Table) -> dict[str, Any]:
    """Cells with mean, deviation, seeds and run folders; shares in [0, 1]."""

    def numbers(cell: Cell) -> dict[str, Any]:
        return {
            "mean": cell.mean,
            "deviation": cell.deviation,
            "seeds": list(cell.seeds),
            "runs": list(cell.runs),
        }

    def named(keys: tuple[str, ...], labels: Labels) -> dict[str, Any]:
        return dict(zip(keys, labels, strict=True))

    return {
        "rows": list(table.row_keys),
        "columns": list(table.column_keys),
        "values": [value.name for value in table.values],
        "cells": [
            {
                "row": named(table.row_keys, row),
                "column": named(table.column_keys, column),
                "value": value.name,
                **numbers(table.cells[row, column, value.name]),
            }
            for row in table.rows
            for column in table.columns
            for value in table.values
            if (row, column, value.name) in table.cells
        ],
        "baselines": [
            {"baseline": name, "column": named(table.column_keys, column), "value": value, **numbers(cell)}
            for (name, column, value), cell in table.baselines.items()
        ],
        "notes": list(table.notes),
    }


def _title(table: Table, counts: set[int]) -> str:
    names = ", ".join(value.title for value in table.values)
    many = max(counts, default=1)
    how = "one run each"
    if counts == {many} and many > 1:
        how = f"mean ± sample standard deviation of {many} runs"
    elif many > 1:
        how = "mean ± sample standard deviation (number of runs)"
    columns = f"; columns: {', '.join(table.column_keys)}" if table.column_keys else ""
    return f"{names} on {', '.join(table.splits)}; {how}{columns}"


def _head(table: Table, column: Labels, value: Value) -> str:
    place = ", ".join(map(label, column))
    if not place:
        return value.title
    return f"{place} {value.title}" if len(table.values) > 1 else place


def _shown(value: Value, cell: Cell | None, digits: int, counted: bool = False) -> str:
    if cell is None:
        return "-"
    factor = 100 if value.share else 1
    text = f"{factor * cell.mean:,.{digits}f}"
    if cell.deviation is not None:
        text += f" ± {factor * cell.deviation:,.{digits}f}"
    return f"{text} ({len(cell.seeds)})" if counted else text


def _aligned(title: str, head: list[str], rows: list[list[str]], keys: int) -> str:
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if index < keys else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *rows)
    ]
    return "\n".join([title, *lines]) + "\n"


def _markdown(title: str, head: list[str], rows: list[list[str]], keys: int) -> str:
    rule = ["---" if index < keys else "---:" for index in range(len(head))]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, rule, *rows)
    ]
    return "\n".join([f"{title[:1].upper()}{title[1:]}.", "", *lines]) + "\n"


_ESCAPES = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}


def _latex(title: str, head: list[str], rows: list[list[str]], keys: int) -> str:
    def line(cells: list[str]) -> str:
        return "  " + " & ".join(_escaped(cell) for cell in cells) + r" \\"

    body = [line(row) for row in rows]
    names = [row for row in rows if row[0] in BASELINES.values()]
    if names and len(names) < len(rows):
        body.insert(len(rows) - len(names), r"  \midrule")
    return "\n".join(
        [
            f"% {title}; needs the package booktabs",
            rf"\begin{{tabular}}{{{'l' * keys}{'r' * (len(head) - keys)}}}",
            r"  \toprule",
            line(head),
            r"  \midrule",
            *body,
            r"  \bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def _csv(table: Table) -> str:
    """A line for each row; of each column the mean, the deviation and the number of runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [(column, value) for column in table.columns for value in table.values]
    names = [" ".join([*map(label, column), value.name]) for column, value in pairs]
    parts = ("mean", "deviation", "runs")
    writer.writerow([*table.row_keys, *(f"{name} {part}" for name in names for part in parts)])
    for row in table.rows:
        line: list[Any] = [*map(label, row)]
        for column, value in pairs:
            cell = table.cells.get((row, column, value.name))
            numbers = (cell.mean, cell.deviation) if cell else (None, None)
            line += ["" if number is None else f"{number:.10g}" for number in numbers]
            line.append(len(cell.seeds) if cell else 0)
        writer.writerow(line)
    return text.getvalue()
