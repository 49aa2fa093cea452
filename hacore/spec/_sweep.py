"""From a spec with a ``[sweep]`` to the specs of all its runs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import Problem, SpecError
from hacore.machine.names import file_name_part, short_digest
from hacore.spec._combinations import Choice, choices, same
from hacore.spec._load import SWEPT, Source, resolve
from hacore.spec._schema import Spec
from hacore.spec._structure import Overrides, inline, override_words, shown
from hacore.spec._write import dump_spec

_LONGEST_NAME = 120  # bytes


@attrs.frozen(kw_only=True)
class Combination:
    """One run of a sweep.

    values: {dotted key: value}, as the sweep gives them. setting: those that tell it from the others, for
    people; empty where only seeds differ. seed: of the run. short: setting and seed as a file name.
    spec: resolved, named after the sweep and ``short``.
    """

    values: dict[str, Any]
    setting: str
    seed: int
    short: str
    spec: Spec

    @property
    def label(self) -> str:
        """Setting and seed."""
        return f"{self.setting}, seed {self.seed}" if self.setting else f"seed {self.seed}"


@attrs.frozen(kw_only=True)
class Sweep:
    """The runs that a spec with a ``[sweep]`` stands for.

    name: the spec's. text, overrides: the spec with all that it extends, and what was set on top of it.
    """

    name: str
    text: str
    overrides: tuple[str, ...]
    combinations: tuple[Combination, ...]


def is_sweep(path: str | Path, overrides: Overrides = ()) -> bool:
    """Whether a spec file has a ``[sweep]``, overrides applied."""
    return "sweep" in Source(path, overrides).table


def load_sweep(path: str | Path, overrides: Overrides = ()) -> Sweep:
    """Read a spec with a ``[sweep]`` and resolve every combination.

    overrides: as ``--set`` takes them, ``sweep.selector.k=[4, 8]`` too. Raises HacoreError; SpecError
    holds every problem of every combination at once, each with its place.
    """
    source = Source(path, overrides)
    problems: list[Problem] = []
    if "sweep" not in source.table:
        what = "missing; add its own table [sweep] with lists of values, as in selector.k = [4, 8]"
        raise source.placed([Problem("sweep", f"{what}, or use 'hacore run'")])
    chosen = choices(source.table, SWEPT, problems)
    specs = _resolved(source.table, chosen, problems)
    if problems:
        raise source.placed(problems)
    return Sweep(
        name=source.table["name"],
        text=source.text,
        overrides=tuple(override_words(overrides)),
        combinations=tuple(_combinations(chosen, specs)),
    )


def _resolved(table: dict[str, Any], chosen: list[Choice], problems: list[Problem]) -> list[Spec]:
    """The spec of each choice; a problem that several share is listed once."""
    specs: list[Spec] = []
    wrong: dict[Problem, list[int]] = defaultdict(list)
    # A spec whose sweep is wrong is still checked, except for sections that the sweep may have meant to give.
    tables = [choice.applied(table) for choice in chosen] or [
        {key: value for key, value in table.items() if key != "sweep"}
    ]
    for index, combined in enumerate(tables):
        try:
            specs.append(resolve(combined))
        except SpecError as error:
            for problem in error.problems:
                if chosen or problem.where.split(".")[0] in combined:
                    wrong[problem].append(index)
    problems += [_placed(problem, chosen, affected) for problem, affected in wrong.items()]
    if not problems:
        problems += _twice(chosen, specs)
    return specs


def _placed(problem: Problem, chosen: list[Choice], affected: list[int]) -> Problem:
    """The problem at the list that has the value, with the other values that it takes, if any."""
    if not chosen:
        return problem
    first = chosen[affected[0]]
    reason = _reason(first, chosen, set(affected))
    key = _key(problem.where, first)
    if key is None and not reason:
        return problem
    where = problem.where
    if key is not None:
        where = f"{first.place}.{key}{where[len(key) :] if where.startswith(key) else ''}"
    others = {name: value for name, value in reason.items() if name != key}
    if not others:
        return attrs.evolve(problem, where=where)
    return attrs.evolve(problem, where=where, message=f"{problem.message}; with {_describe(reason)}")


def _reason(first: Choice, chosen: list[Choice], affected: set[int]) -> dict[str, Any]:
    """The fewest of the choice's values that bring the problem, whatever the others are."""
    reason = dict(first.values)
    for key in first.values:
        fewer = {name: value for name, value in reason.items() if name != key}
        alike = {
            index
            for index, choice in enumerate(chosen)
            if all(name in choice.values and same(choice.values[name], fewer[name]) for name in fewer)
        }
        if alike <= affected:
            reason = fewer
    return reason


def _key(where: str, choice: Choice) -> str | None:
    """The key of the choice that a place in the spec lies in, or that lies in the place."""
    for key in choice.values:
        if f"{where}.".startswith(f"{key}.") or (key in choice.varied and key.startswith(f"{where}.")):
            return key
    return None


def _twice(chosen: list[Choice], specs: list[Spec]) -> list[Problem]:
    """Combinations that are the same experiment."""
    problems = []
    first: dict[tuple[str, int], Choice] = {}
    for choice, spec in zip(chosen, specs, strict=True):
        for seed in choice.seeds or (spec.seed,):
            other = first.setdefault((dump_spec(spec), seed), choice)
            if other is not choice:
                this, that = _describe(choice.values), _describe(other.values)
                what = f"{this} is the same run as {that} of {other.place}; leave one of them out"
                problems.append(Problem(choice.place, what))
                break
    return problems


def _describe(values: dict[str, Any]) -> str:
    """``selector.k = 4, aggregator.use = "rn"``."""
    return ", ".join(f"{key} = {inline(value)}" for key, value in values.items()) or "no values"


def _combinations(chosen: list[Choice], specs: list[Spec]) -> list[Combination]:
    combinations = []
    keys = _distinguishing(chosen)
    slugs = [_slug({key: choice.values[key] for key in keys if key in choice.values}) for choice in chosen]
    folded = [slug.casefold() for slug in slugs]  # on some file systems they are the same name
    for choice, spec, slug in zip(chosen, specs, slugs, strict=True):
        if folded.count(slug.casefold()) > 1 or len(f"{spec.name}{slug}".encode()) > _LONGEST_NAME:
            cut = file_name_part(slug, max(0, _LONGEST_NAME - len(spec.name.encode())))
            slug = f"{cut}-{short_digest(choice.values)}".strip("-")
        parts = [f"{key} = {_bare(choice.values[key])}" for key in keys if key in choice.values]
        for seed in choice.seeds or (spec.seed,):
            short = f"{slug}-seed{seed}" if slug else f"seed{seed}"
            combinations.append(
                Combination(
                    values=choice.values,
                    setting=", ".join(parts),
                    seed=seed,
                    short=short,
                    spec=attrs.evolve(spec, name=f"{spec.name}-{short}", seed=seed),
                )
            )
    return combinations


def _distinguishing(chosen: list[Choice]) -> list[str]:
    """The keys that tell the choices apart, without options that only go along with others."""
    used = dict.fromkeys(key for choice in chosen for key in choice.values)
    keys = [key for key in used if _varies(key, chosen)]
    varied = {key for choice in chosen for key in choice.varied}
    for key in reversed(keys):
        component = key.endswith(".use") or any(isinstance(choice.values.get(key), dict) for choice in chosen)
        fewer = [other for other in keys if other != key]
        texts = {json.dumps({other: choice.values.get(other) for other in fewer}) for choice in chosen}
        if key not in varied and not component and len(texts) == len(chosen):
            keys = fewer
    return keys


def _bare(value: Any) -> str:
    """A value for people: ``rn``, ``l2-topk (k = 5)``."""
    if isinstance(value, dict) and "use" in value:
        options = ", ".join(f"{key} = {_bare(item)}" for key, item in value.items() if key != "use")
        return f"{value['use']} ({options})" if options else str(value["use"])
    return value if isinstance(value, str) else inline(value)


def _varies(key: str, chosen: list[Choice]) -> bool:
    first = chosen[0].values
    return any(
        key not in choice.values or key not in first or not same(choice.values[key], first[key])
        for choice in chosen
    )


def _slug(values: dict[str, Any]) -> str:
    """Values as a part of a file name, ``rn-k4``."""
    lasts = [key.rpartition(".")[2] for key in values]
    parts = []
    for (key, value), last in zip(values.items(), lasts, strict=True):
        name = last if lasts.count(last) == 1 else key
        parts.append(_part("" if last == "use" else name, value))
    return "-".join(parts)


def _part(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return "-".join(_part("" if key == "use" else key, item) for key, item in value.items())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        items = value if isinstance(value, list) else [value]
        text = "-".join([name, *(shown(item) for item in items)])
    else:
        text = f"{name}{value}"
    return file_name_part(text.replace('"', ""), 4 * _LONGEST_NAME)
