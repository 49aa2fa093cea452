"""The JSON objects in a run folder's files, as classes. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import attrs
import cattrs

from hacore.errors import RunError
from hacore.machine.strict import strict_converter

FORMAT = 1
"""Of result.json and the lines of metrics.jsonl and of predictions; files that name none are older."""
_converter = strict_converter()


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Record(Mapping[str, Any]):
    """A JSON object with known keys: ``record.key`` is typed, ``record["key"]`` is what the file has.

    Keys whose fields ``optional`` made are left out of the file where they are None.
    """

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
            problem = cattrs.transform_error(error, "")[0]
            raise RunError(f"{where}: is not what hacore wrote: {problem}; {way_out}") from None


def optional() -> Any:
    """A field whose key a file may lack, as files of earlier versions do."""
    return attrs.field(default=None, metadata={"optional": True})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [*map(_plain, value)] if isinstance(value, (list, tuple)) else value
