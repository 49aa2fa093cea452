"""What a spec's ``[sweep]`` says: lists of values for dotted keys, combined."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

from hacore.errors import Problem, did_you_mean
from hacore.spec._structure import flat, listed, shown

MODES = ("grid", "zip")
_EXAMPLE = "as in selector.k = [4, 8]"
_KEY = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")


@attrs.frozen(kw_only=True)
class Choice:
    """One combination of values, for some seeds.

    place: the table that it comes from, ``sweep`` or ``sweep[2]``. values: {dotted key: value}.
    varied: the keys that have several values there. seeds: None stands for the spec's own.
    """

    place: str
    values: dict[str, Any]
    varied: tuple[str, ...]
    seeds: tuple[int, ...] | None

    def applied(self, table: dict[str, Any]) -> dict[str, Any]:
        """A copy of a spec's table without its sweep and with these values."""
        swept = copy.deepcopy({key: value for key, value in table.items() if key != "sweep"})
        for key, value in self.values.items():
            *parents, last = key.split(".")
            inner = swept
            for parent in parents:
                if not isinstance(inner.get(parent), dict):
                    inner[parent] = {}
                inner = inner[parent]
            inner[last] = copy.deepcopy(value)
        return swept


def choices(table: dict[str, Any], sections: Sequence[str], problems: list[Problem]) -> list[Choice]:
    """Every combination in order; what is wrong is added to ``problems``, with dotted places.

    sections: the tables of a spec that may be swept.
    """
    if table.get("sweep") == []:
        problems.append(Problem("sweep", f"found an empty list; give a table of lists, {_EXAMPLE}"))
    combined: list[Choice] = []
    for place, block in _blocks(table):
        if not isinstance(block, dict):
            problems.append(Problem(place, f"found {shown(block)}; must be a table of lists, {_EXAMPLE}"))
            continue
        combined += _block(place, block, sections, problems)
    return combined


def same(one: Any, other: Any) -> bool:
    """Equal in TOML: 1, 1.0 and true are three values."""
    return json.dumps(one, sort_keys=True, default=repr) == json.dumps(other, sort_keys=True, default=repr)


def _blocks(table: dict[str, Any]) -> list[tuple[str, Any]]:
    """(place, table) of ``[sweep]``, or of each ``[[sweep]]``; none without a sweep."""
    sweep = table.get("sweep", [])
    if isinstance(sweep, list):
        return [(f"sweep[{number}]", block) for number, block in enumerate(sweep, start=1)]
    return [("sweep", sweep)]


def _block(
    place: str, block: dict[str, Any], sections: Sequence[str], problems: list[Problem]
) -> list[Choice]:
    usable = bool(block)
    mode = block.get("mode", "grid")
    if mode not in MODES:
        problems.append(Problem(f"{place}.mode", f"found {shown(mode)}; must be 'grid' or 'zip'"))
    seeds = _seeds(place, block["seeds"], problems) if "seeds" in block else None
    lists = flat({key: value for key, value in block.items() if key not in ("mode", "seeds")})
    for key, values in lists.items():
        wrong = _wrong_key(key, lists, sections) or _not_a_list(key, values)
        usable = usable and not wrong
        # A value that is there twice does not keep the combinations from being checked.
        if wrong := wrong or _repeated(values, once=mode != "zip"):
            problems.append(Problem(f"{place}.{key}", wrong))
    if not block:
        problems.append(Problem(place, f"is empty; give lists of values, {_EXAMPLE}, or seeds = [0, 1, 2]"))
    if not usable:
        return []
    lengths = {key: len(values) for key, values in lists.items()}
    if mode == "zip" and len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        problems.append(Problem(f"{place}.mode", f"zip takes lists of one length; {counts}"))
        return []
    rows = zip(*lists.values(), strict=True) if mode == "zip" else itertools.product(*lists.values())
    varied = tuple(key for key, length in lengths.items() if length > 1)
    combinations = [
        Choice(place=place, values=dict(zip(lists, row, strict=True)), varied=varied, seeds=seeds)
        for row in rows
    ]
    # A zip of no lists has no rows, but seeds alone are one combination.
    return combinations or [Choice(place=place, values={}, varied=(), seeds=seeds)]


def _seeds(place: str, seeds: Any, problems: list[Problem]) -> tuple[int, ...]:
    usable = isinstance(seeds, list) and seeds
    if not usable or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds):
        what = "must be a list of integers from 0 to 2^63 - 1, as in seeds = [0, 1, 2]"
        problems.append(Problem(f"{place}.seeds", f"found {shown(seeds)}; {what}"))
        return ()
    if len(set(seeds)) < len(seeds):
        problems.append(Problem(f"{place}.seeds", f"found {shown(seeds)}; give each seed once"))
    return tuple(seeds)


def _wrong_key(key: str, lists: dict[str, Any], sections: Sequence[str]) -> str | None:
    first = key.split(".")[0]
    if key == "seed":
        return "give the seeds as seeds = [0, 1, 2]"
    if key == "name":
        return "each run is named after its values; leave it out"
    if first not in sections or not _KEY.fullmatch(key):
        allowed = ("mode", "seeds", *sections)
        return f"unknown key{did_you_mean(first, allowed)}; allowed here: {', '.join(allowed)}"
    above = [other for other in lists if key.startswith(other + ".")]
    if above:
        return f"is part of '{above[0]}', which has its own list; put the option into its tables"
    return None


def _not_a_list(key: str, values: Any) -> str | None:
    if not isinstance(values, list):
        return f"found {shown(values)}; must be a list of values, as in {key} = {shown(listed(values))}"
    if not values:
        return "the list is empty; give at least one value"
    return None


def _repeated(values: list[Any], once: bool) -> str | None:
    for index, value in enumerate(values):
        if once and any(same(value, other) for other in values[:index]):
            return f"found {shown(value)} twice"
    return None
