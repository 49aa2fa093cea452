"""Tables as people write them: CSV of any usual separator, a JSON object a line, or a JSON list.

A record is named by the line in which it begins, so that an editor leads to it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from hacore.errors import DataError, did_you_mean, reason
from hacore.machine.texts import TextError, decode_text
from hacore_folder.findings import Findings

SUFFIXES = (".csv", ".jsonl", ".json")
_SEPARATORS = (",", ";", "\t")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32_LE = codecs.BOM_UTF32_LE  # begins as UTF-16 does
_SPACE = re.compile(r"[ \t\r\n]*")
_LARGEST_FIELD = 1 << 24  # characters of a field of CSV; Python's own limit is 2^17


@attrs.frozen(kw_only=True)
class Record:
    """line: in which it begins. item: its place in a JSON list, from 1. values: texts, or what JSON holds."""

    line: int
    item: int = 0
    values: dict[str, Any]


@attrs.frozen(kw_only=True)
class Table:
    """The records of a file in order, and its columns as it names them, lower case."""

    columns: tuple[str, ...]
    records: list[Record]


def read_table(findings: Findings, needed: Sequence[str]) -> Table:
    """The table of a file ``findings.path``, whose suffix says what it is.

    needed: columns that it must have; they also tell the separator of a CSV file. UTF-8 and UTF-16 with a
    byte order mark, or UTF-8. What is wrong is noted in ``findings``, and broken records are left out.
    DataError when the file cannot be read.
    """
    path = findings.path
    read = {".csv": _read_csv, ".jsonl": _read_lines, ".json": _read_list}.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path}: must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; rename it")
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a table of questions") from error
    except TextError as error:
        findings.note(error.line, str(error))
        return Table(columns=(), records=[])
    table = read(text, findings, needed)
    if table.columns:
        _require_columns(table.columns, findings, needed)
    if not table.records and not len(findings):
        findings.note(0, f"holds no questions; write one a row, with the columns {', '.join(needed)}")
    return table


def _decode(data: bytes) -> str:
    if data.startswith(_UTF16) and not data.startswith(_UTF32_LE):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise TextError("begins as UTF-16 and is damaged or cut off") from None
    return decode_text(data)


def _require_columns(columns: Sequence[str], findings: Findings, needed: Sequence[str]) -> None:
    for name in needed:
        if name not in columns:
            near = did_you_mean(name, [column for column in columns if column not in needed])
            findings.note(
                1 if findings.path.suffix.lower() == ".csv" else 0,
                f"has no column '{name}'{near}; the columns found are {', '.join(columns)}; rename or add it",
            )


def _read_csv(text: str, findings: Findings, needed: Sequence[str]) -> Table:
    head = re.split("[\r\n]", text.lstrip(), maxsplit=1)[0]
    separator = max(_SEPARATORS, key=lambda mark: _score(head, mark, needed))
    before = csv.field_size_limit(_LARGEST_FIELD)
    try:
        rows = list(_rows(text, separator, findings))
    finally:
        csv.field_size_limit(before)
    if not rows:
        return Table(columns=(), records=[])
    columns = tuple(_names(rows[0][1]))
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    for name in twice:
        findings.note(rows[0][0], f"has the column '{name}' twice; remove one")
    if twice:
        return Table(columns=(), records=[])
    records = []
    for line, fields in rows[1:]:
        while len(fields) > len(columns) and not fields[-1].strip():  # as spreadsheets write empty cells
            fields.pop()
        if len(fields) != len(columns):
            findings.note(
                line,
                f"has {len(fields)} fields, the first line has {len(columns)}; put a text that has a "
                f"{_NAMES[separator]} or a quote in it between double quotes, and double the quotes in it",
            )
            continue
        records.append(Record(line=line, values=dict(zip(columns, fields, strict=True))))
    return Table(columns=columns, records=records)


_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


def _names(fields: Sequence[str]) -> list[str]:
    return [field.strip().lower() for field in fields]


def _score(head: str, separator: str, needed: Sequence[str]) -> tuple[int, int]:
    """How well a separator explains the first line: by needed columns, then by the number of fields."""
    fields = _names(next(csv.reader([head], delimiter=separator), []))
    return len({*fields} & {*needed}), len(fields)


def _rows(text: str, separator: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """(line in which it begins, fields) of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                findings.note(line, "a double quote begins a text here that never ends; close or double it")
                return
            findings.note(
                line,
                f"cannot be read as CSV ({error}); put the text in double quotes, and double those in it",
            )
            continue
        if any(field.strip() for field in fields):
            yield line, fields


def _read_lines(text: str, findings: Findings, needed: Sequence[str]) -> Table:
    values = []
    for line, content in enumerate(re.split("\r\n|\r|\n", text), 1):
        if content.strip():
            try:
                values.append((line, json.loads(content)))
            except (ValueError, RecursionError) as error:
                findings.note(line, f"is not JSON ({_cause(error)}); write one object a line")
    return _objects([(line, 0, value) for line, value in values], findings)


def _read_list(text: str, findings: Findings, needed: Sequence[str]) -> Table:
    """A list, item by item, for the line of each."""
    decode = json.JSONDecoder().raw_decode
    values: list[tuple[int, int, Any]] = []
    place = _skip(text, 0)
    line, counted = 1, 0
    if text[place : place + 1] != "[":
        findings.note(1, 'must be a list of objects, as in [{"image": ..., "question": ..., "answer": ...}]')
        return Table(columns=(), records=[])
    place = _skip(text, place + 1)
    ended = text[place : place + 1] == "]"
    while not ended:
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = decode(text, place)
        except (ValueError, RecursionError) as error:
            where = error.lineno if isinstance(error, json.JSONDecodeError) else line
            findings.note(where, f"is not JSON ({_cause(error)}); correct it there")
            break
        values.append((line, len(values) + 1, value))
        place = _skip(text, place)
        ended = text[place : place + 1] == "]"
        if not ended and text[place : place + 1] != ",":
            findings.note(
                text.count("\n", 0, place) + 1,
                "a comma or the end of the list is missing; correct it there, or the file is cut off",
            )
            break
        place = _skip(text, place + 1)
    return _objects(values, findings)


def _skip(text: str, place: int) -> int:
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]  # matches ""


def _cause(error: Exception) -> str:
    return error.msg.lower() if isinstance(error, json.JSONDecodeError) else reason(error).lower()


def _objects(values: Sequence[tuple[int, int, Any]], findings: Findings) -> Table:
    """The table of (line, item, value); what is no object is noted."""
    records = []
    for line, item, value in values:
        if isinstance(value, dict):
            names = {name: name.strip().lower() for name in value}
            values_by_column = {names[name]: value[name] for name in value}
            records.append(Record(line=line, item=item, values=values_by_column))
        else:
            form = '{"image": ..., "question": ..., "answer": ...}'
            findings.note(line, f"must be an object, as in {form}", item)
    columns = dict.fromkeys(name for record in records for name in record.values)
    return Table(columns=tuple(columns), records=records)
