"""The JSON objects in a run folder's files, as classes. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import attrs
import cattrs

from hacore.errors import RunError
from hacore.machine.strict import strict_converter
from hacore.machine.texts import TextError, decode_text
from hacore.notebooks import html_of

FORMAT = 1
"""Of result.json and the lines of metrics.jsonl and of predictions; files that name none are older."""
Count = Annotated[int, 0, 2**63 - 1]
"""In a field's type: a number of things."""
Amount = Annotated[float, 0.0, math.inf]
Share = Annotated[float, 0.0, 1.0 + 1e-6]
"""As rounding may leave it."""
_RANGES = {Count: "not negative", Amount: "not negative", Share: "in [0, 1]"}


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Record(Mapping[str, Any]):
    """A JSON object with known keys: ``record.key`` is typed, ``record["key"]`` is what the file has.

    Keys whose fields ``optional`` made are left out of the file where they are None.
    """

    _repr_html_ = html_of

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = ((field, getattr(self, field.name)) for field in attrs.fields(type(self)))
        return {
            field.name: _plain(value)
            for field, value in values
            if value is not None or not field.metadata.get("optional")
        }

    def __getitem__(self, key: str) -> Any:
        return self.as_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    @classmethod
    def from_dict(cls, table: Any, where: str, way_out: str) -> Self:
        """The record of a JSON object. Raises RunError, which names ``where``, for anything else."""
        if isinstance(table, dict) and (written := table.get("format", FORMAT)) != FORMAT:
            raise RunError(
                f"{where}: has format {written!r}, this version of hacore reads {FORMAT}; read it with the "
                "version in environment.json"
            )
        try:
            return _converter.structure(table, cls)
        except Exception as error:  # cattrs raises all kinds for what is not an object
            problem = cattrs.transform_error(error, "", _in_words)[0]
            raise RunError(f"{where}: is not what hacore wrote: {problem}; {way_out}") from None


def read_line(text: bytes, path: Path, number: int, way_out: str) -> Any:
    """The JSON value of a line of a file. Raises RunError, which names the place, for anything else."""
    try:
        return json.loads(decode_text(text))
    except TextError as error:
        raise RunError(f"{path}:{number}: {error}; {way_out}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}:{number}: cannot be read as JSON: {error}; {way_out}") from None


def optional() -> Any:
    """A field whose key a file may lack, as files of earlier versions do."""
    return attrs.field(default=None, metadata={"optional": True})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [*map(_plain, value)] if isinstance(value, (list, tuple)) else value


def _in_words(error: BaseException, wanted: type | None) -> str:
    """What the converter found, or cattrs' own words."""
    text = str(error)
    return text if text.startswith("found ") else cattrs.v.format_exception(error, wanted)


def _finite(value: Any, _: Any) -> float:
    number = _strict.structure(value, float)
    if not math.isfinite(number):
        raise TypeError(f"found {number}, a finite number expected")
    return number


def _within(value: Any, wanted: Any) -> Any:
    low, high = wanted.__metadata__
    number = _converter.structure(value, wanted.__origin__)
    if not low <= number <= high:
        raise TypeError(f"found {number}, a number {_RANGES[wanted]} expected")
    return number


_strict, _converter = strict_converter(), strict_converter()
_converter.register_structure_hook(float, _finite)
_converter.register_structure_hook_func(lambda wanted: wanted in (Count, Amount, Share), _within)
