"""A table as text, Markdown, CSV, LaTeX, JSON or a page."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence
from typing import Any

import attrs

from hacore.errors import HacoreError
from hacore_report._runs import label
from hacore_report._table import Labels, Table
from hacore_report._values import BASELINES, Cell, Value, decimals

FORMATS = ("text", "markdown", "csv", "latex", "html", "json")


def write_table(table: Table, form: str, *, digits: int | None = None, width: int | None = None) -> str:
    """The table as text in one of ``FORMATS``; digits: after the point, in place of what suits.

    width: characters of a line of the form text; what is wider is folded, and columns for which there is no
    place follow below, beside the same keys.

    Markdown, LaTeX, text and HTML, a whole page, show mean ± sample standard deviation, shares in percent.
    CSV and JSON have the numbers as result.json has them. Marked cells have a star in text, are bold in
    Markdown and LaTeX, and both in HTML; JSON says what the mark is, CSV does not.
    """
    if form not in FORMATS:
        raise HacoreError(f"no format '{form}'; formats: {', '.join(FORMATS)}")
    if form == "csv":
        return _csv(table)
    if form == "json":
        return json.dumps(as_json(table), indent=2, ensure_ascii=False) + "\n"
    sheet = sheet_of(table, digits)
    if form == "html":
        return _html(sheet, table.notes)
    if form == "text":
        return _aligned(sheet, width)
    return {"markdown": _markdown, "latex": _latex}[form](sheet)


@attrs.frozen(kw_only=True)
class Sheet:
    """A table as people read it. keys: how many columns name the row. marked: (row, column) of cells."""

    title: str
    head: list[str]
    rows: list[list[str]]
    keys: int
    marked: set[tuple[int, int]]
    legend: str


def sheet_of(table: Table, digits: int | None) -> Sheet:
    """The table as people read it; digits: as in ``write_table``."""
    keys = len(table.row_keys)
    pairs = [(column, value) for column in table.columns for value in table.values]
    counts = {len(cell.seeds) for cell in table.cells.values()}
    bodies: list[list[str]] = []
    extra = {name: [words] + [""] * (keys - 1) for name, words in BASELINES.items()}
    for column, value in pairs:
        cells = [table.cells.get((row, column, value.name)) for row in table.rows]
        number = decimals(value, cells, digits)
        bodies.append([_shown(value, cell, number, counted=len(counts) > 1) for cell in cells])
        for name, line in extra.items():
            cell = table.baselines.get((name, column, value.name))
            line.append(_shown(value, cell, number) if cell else "")
    rows = [_row_labels(table, row) for row in table.rows]
    rows = [[*row, *cells] for row, cells in zip(rows, zip(*bodies, strict=True), strict=True)]
    rows += [line for line in extra.values() if any(line[keys:])]
    return Sheet(
        title=_title(table, counts),
        head=[*table.row_keys, *(_head(table, *pair) for pair in pairs)],
        rows=rows,
        keys=keys,
        marked={
            (row_place, keys + place)
            for row_place, row in enumerate(table.rows)
            for place, (column, value) in enumerate(pairs)
            if (row, column, value.name) in table.marks
        },
        legend=table.legend,
    )


def _row_labels(table: Table, row: Labels) -> list[str]:
    """The values of the row's keys, the first with its remarks: ``oracle-k (oracle)``."""
    labels = [label(value) for value in row]
    if remarks := table.remarks[row]:
        labels[0] += f" ({', '.join(remarks)})"
    return labels


def as_json(table: Table) -> dict[str, Any]:
    """Cells with mean, deviation, seeds, run folders, mark and remarks; shares in [0, 1]."""

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
                "mark": table.marks.get((row, column, value.name)),
                "remarks": list(table.remarks[row]),
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
        "legend": table.legend,
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


def _aligned(sheet: Sheet, width: int | None) -> str:
    starred = {column for _, column in sheet.marked}  # in these all cells have a place for the star
    head = [name + " " * (column in starred) for column, name in enumerate(sheet.head)]
    rows = [
        [
            cell + ("*" if (place, column) in sheet.marked else " ") * (column in starred)
            for column, cell in enumerate(row)
        ]
        for place, row in enumerate(sheet.rows)
    ]
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    lines = _folded(sheet.title, width)
    for number, shown in enumerate(_blocks(widths, sheet.keys, width)):
        lines += [""] * bool(number)
        lines += [
            "  ".join(
                line[index].ljust(widths[index]) if index < sheet.keys else line[index].rjust(widths[index])
                for index in shown
            ).rstrip()
            for line in (head, *rows)
        ]
    return "\n".join([*lines, *(_folded(f"* {sheet.legend}", width) if sheet.legend else [])]) + "\n"


def _folded(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _blocks(widths: Sequence[int], keys: int, room: int | None) -> list[list[int]]:
    """Columns that stand side by side, each time after the keys; one at least, however narrow the room."""
    blocks = [list(range(keys))]
    for index in range(keys, len(widths)):
        taken = sum(widths[other] + 2 for other in blocks[-1]) + widths[index]
        if room is not None and taken > room and len(blocks[-1]) > keys:
            blocks.append(list(range(keys)))
        blocks[-1].append(index)
    return blocks


def _markdown(sheet: Sheet) -> str:
    rule = ["---" if index < sheet.keys else "---:" for index in range(len(sheet.head))]
    rows = [
        [f"**{cell}**" if (place, column) in sheet.marked else cell for column, cell in enumerate(row)]
        for place, row in enumerate(sheet.rows)
    ]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in (sheet.head, rule, *rows)
    ]
    bold = f" Bold: {sheet.legend}." if sheet.legend else ""
    return "\n".join([f"{sheet.title[:1].upper()}{sheet.title[1:]}.{bold}", "", *lines]) + "\n"


def _html(sheet: Sheet, notes: Sequence[str]) -> str:
    from hacore_report._rendering import render

    title, *lead = (words[:1].upper() + words[1:] for words in sheet.title.split("; "))
    return render(
        "table.html.jinja",
        title=title,
        lead=lead,
        sections={},
        head=sheet.head,
        rows=sheet.rows,
        keys=sheet.keys,
        marked=sheet.marked,
        notes=[*([f"*: {sheet.legend}"] if sheet.legend else []), *notes],
    )


_ESCAPES = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}


def _latex(sheet: Sheet) -> str:
    def line(cells: list[str], place: int | None = None) -> str:
        escaped = [
            rf"\textbf{{{_escaped(cell)}}}" if (place, column) in sheet.marked else _escaped(cell)
            for column, cell in enumerate(cells)
        ]
        return "  " + " & ".join(escaped) + r" \\"

    body = [line(row, place) for place, row in enumerate(sheet.rows)]
    names = [row for row in sheet.rows if row[0] in BASELINES.values()]
    if names and len(names) < len(sheet.rows):
        body.insert(len(sheet.rows) - len(names), r"  \midrule")
    return "\n".join(
        [
            f"% {sheet.title}; needs the package booktabs",
            *([f"% bold: {sheet.legend}"] if sheet.legend else []),
            rf"\begin{{tabular}}{{{'l' * sheet.keys}{'r' * (len(sheet.head) - sheet.keys)}}}",
            r"  \toprule",
            line(sheet.head),
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
        line: list[Any] = _row_labels(table, row)
        for column, value in pairs:
            cell = table.cells.get((row, column, value.name))
            numbers = (cell.mean, cell.deviation) if cell else (None, None)
            line += ["" if number is None else f"{number:.10g}" for number in numbers]
            line.append(len(cell.seeds) if cell else 0)
        writer.writerow(line)
    return text.getvalue()
