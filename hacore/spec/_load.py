"""From a TOML file and ``--set`` values to a resolved spec."""

from __future__ import annotations

import copy
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from itertools import accumulate
from pathlib import Path
from typing import Any

import attrs

from hacore.errors import HacoreError, PluginError, Problem, SpecError, did_you_mean, one_line
from hacore.machine.names import is_file_name
from hacore.machine.texts import TextError, decode_text
from hacore.registry import catalogue, registry, required_libraries
from hacore.spec._combinations import choices
from hacore.spec._schema import SECTIONS, EvalConfig, FeaturesConfig, HeadConfig, Spec, TrainConfig, Use
from hacore.spec._structure import Overrides, override_words, pairs, shown, structure_table, toml_value
from hacore.spec._write import spec_table

_TABLES: dict[str, type[Any]] = {
    "features": FeaturesConfig,
    "head": HeadConfig,
    "train": TrainConfig,
    "eval": EvalConfig,
}
SWEPT = (*SECTIONS, *_TABLES)
"""Tables whose keys a sweep may vary."""
_INHERITING = {"extends": (str, '"han_rn.toml"'), "without": (list, '["selector.k"]')}
"""Keys of a file that say what it inherits, and what not; their types, and examples."""
_OWN = ("name", "sweep")
"""Keys that no file inherits: what the experiment is called, and which runs it stands for."""
_AFTER = 2**31
"""Comes after every file that is extended."""
_MANY = (
    "the spec is a sweep, which is many runs; 'hacore sweep' lists (--dry-run) and runs them, "
    "--set sweep=none leaves the sweep out"
)
_HEADER = re.compile(r"\s*(\[?)\[\s*([A-Za-z0-9_.\- ]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"]+)\s*=")


SpecLike = Spec | str | Path | Mapping[str, Any]
"""A resolved spec, the path of a file, or a table as a file holds it."""


def load_spec(spec: SpecLike | None, overrides: Overrides = ()) -> Spec:
    """Read, override and resolve a spec; one that is resolved comes back as it is.

    overrides: ``key.path=value`` as ``--set`` takes them, one or several, or a table of values. Raises
    HacoreError; SpecError holds every problem at once, each with its place.
    """
    if isinstance(spec, (Spec, Mapping)):
        if isinstance(spec, Spec) and not overrides:
            return spec
        table = spec_table(spec) if isinstance(spec, Spec) else copy.deepcopy({**spec})
        set_values(table, overrides, "selector.k=8")
        return resolve(table)
    if not isinstance(spec, (str, Path)):
        raise HacoreError(f"spec: found {type(spec).__name__}; give the path of a file, a table or a Spec")
    source = Source(spec, overrides)
    try:
        return resolve(source.table)
    except SpecError as error:
        raise source.placed(error.problems) from None


class Source:
    """A spec file on top of what it extends, with overrides, and the way back from a key to its place.

    table: the whole spec. text: the same as TOML, without overrides; as written where it extends nothing.
    """

    def __init__(self, path: str | Path, overrides: Overrides, heirs: tuple[Path, ...] = ()) -> None:
        """heirs: the files that extend this one, the first one first."""
        self.path = Path(path)
        self.text, self.table = read_toml(self.path)
        if self.path.resolve() in [heir.resolve() for heir in heirs]:
            circle = " -> ".join(map(str, (*heirs, self.path)))
            raise HacoreError(f"goes in a circle, {circle}; leave it out of one of them")
        self._lines = {key: (len(heirs), line, self.path) for key, line in _lines(self.text).items()}
        self._overridden: list[tuple[str, str]] = []
        if "extends" in self.table:
            self._inherit((*heirs, self.path))
        self._overridden = set_values(self.table, overrides)

    def _inherit(self, heirs: tuple[Path, ...]) -> None:
        """Put the table on top of that of the file it extends, but for the keys of ``without``."""
        for key, (kind, example) in _INHERITING.items():
            if not isinstance(self.table.get(key, kind()), kind):
                what = f"found {shown(self.table[key])}; must be as in {key} = {example}"
                raise self.placed([Problem(key, what)])
        base, without = self.table.pop("extends"), self.table.pop("without", [])
        try:
            parent = Source(self.path.parent / os.path.expanduser(base), (), heirs)
        except SpecError:
            raise
        except HacoreError as error:
            raise self.placed([Problem("extends", str(error))]) from None
        known = _keys(parent.table)
        if unknown := [key for key in map(str, without) if key not in known]:
            wrong = [f"'{key}' is not in {parent.path}{did_you_mean(key, known)}" for key in unknown]
            raise self.placed(Problem("without", what) for what in wrong)
        # Deeper keys first: removing one makes the tables above it.
        set_values(parent.table, [f"{key}=none" for key in (*_OWN, *sorted(without, reverse=True))])
        given = _keys(self.table)
        self.table = _merged(parent.table, self.table)
        inherited = _keys(self.table) - given
        self._lines |= {key: place for key, place in parent._lines.items() if key in inherited}
        self.text = "\n".join([*pairs(self.table), ""])

    def placed(self, problems: Iterable[Problem]) -> SpecError:
        """The problems with their places: by file and line, then what is missing, then overrides."""
        placed = [(*self._place(problem.where), problem) for problem in problems]
        placed.sort(key=lambda place: place[0])
        return SpecError([attrs.evolve(problem, where=where, **parts) for _, where, parts, problem in placed])

    def _place(self, dotted: str) -> tuple[tuple[int, int], str, dict[str, Any]]:
        """Its order, in words, and in the parts of a ``Problem``."""
        # The override that named the key or a table above it; else the nearest line of the files.
        for number, (key, words) in reversed(list(enumerate(self._overridden))):
            if dotted == key or dotted.startswith(key + "."):
                where = f"--set {words}" if dotted == key else f"--set {words}: {dotted}"
                return (_AFTER, number), where, {"key": dotted}
        at = dotted
        while at not in self._lines and "." in at:
            at = at.rpartition(".")[0]
        at = at if at in self._lines else at.partition("[")[0]  # sweep[2], of tables on one line
        below = [words for key, words in self._overridden if key.startswith(dotted + ".")]
        if dotted not in self._lines and below:
            return (_AFTER, 0), f"--set {below[-1]}: {dotted}", {"key": dotted}
        if at in self._lines:
            depth, line, path = self._lines[at]
            place = {"key": dotted, "file": str(path), "line": line}
            return (depth, line), f"{path}:{line}: {dotted}", place
        return (_AFTER, -1), f"{self.path}: {dotted}", {"key": dotted, "file": str(self.path)}


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and tables of a TOML file. Raises HacoreError, which names the place, where it is damaged."""
    try:
        text = decode_text(path.read_bytes())
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise HacoreError(f"{path}: no such spec file{did_you_mean(path.name, near)}") from None
    except IsADirectoryError:
        raise HacoreError(f"{path}: is a folder; name a .toml file in it") from None
    except TextError as error:
        raise HacoreError(error.at(path)) from None
    except (OSError, ValueError) as error:
        raise HacoreError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the latter of tables in tables in tables
        raise HacoreError(one_line(f"{path}: is not valid TOML: {error}")) from None


def _lines(text: str) -> dict[str, int]:
    """{dotted key: line number} for headers and plain keys; enough to point at a place.

    Tables of an array are told apart by their number, ``sweep[2]``.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = header[2].replace(" ", "")
            first, dot, rest = table.partition(".")
            if header[1]:
                counts[table] = counts.get(table, 0) + 1
            if first in counts:
                lines.setdefault(first, number)
                table = f"{first}[{counts[first]}]{dot}{rest}"
            dotted = table
        elif key := _KEY.match(line):
            dotted = f"{table}.{key[1]}".replace('"', "").lstrip(".")
        else:
            continue
        for at in accumulate(dotted.split("."), "{}.{}".format):
            lines.setdefault(at, number)
    return lines


def _keys(table: dict[str, Any], above: str = "") -> set[str]:
    """Dotted keys of tables and values."""
    below = [_keys(value, f"{above}{key}.") for key, value in table.items() if isinstance(value, dict)]
    return {above + key for key in table}.union(*below)


def _merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """The parent's values and on top the child's; a section of another component is the child's alone."""
    merged = dict(parent)
    for key, value in child.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            same = before.get("use", value.get("use")) == value.get("use", before.get("use"))
            value = _merged(before, value) if same else value
        merged[key] = value
    return merged


def set_values(
    table: dict[str, Any], overrides: Overrides, example: str = "--set selector.k=8"
) -> list[tuple[str, str]]:
    """Apply ``key.path=value`` in place; values are TOML, a bare word is a string, none removes a key.

    example: how errors show it. Returns (dotted key, the override's words) in order.
    """
    flag = example.rpartition(" ")[0]
    applied = []
    for words in override_words(overrides):
        if words.encode(errors="replace").decode() != words:
            raise HacoreError(f"{flag} {words!a}: must be UTF-8".lstrip())
        place = f"{flag} {words}".lstrip()
        key, equals, text = (part.strip() for part in words.partition("="))
        if not equals or not all(re.fullmatch(r"[A-Za-z0-9_\-]+", part) for part in key.split(".")):
            raise HacoreError(one_line(f"{place}: must be key=value, as in {example}"))
        *parents, last = key.split(".")
        inner = table
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                kind = "a list of tables" if isinstance(inner, list) else "a value"
                raise HacoreError(one_line(f"{place}: '{parent}' is {kind}, not a table"))
        if text == "none":
            inner.pop(last, None)
        else:
            inner[last] = toml_value(text)
        applied.append((key, words))
    return applied


def resolve(table: dict[str, Any]) -> Spec:
    """A spec from plain tables. Raises SpecError whose places are dotted keys."""
    if "sweep" in table:
        raise SpecError([Problem("sweep", _MANY)])
    problems: list[Problem] = []
    allowed = ["name", "seed", *SECTIONS, *_TABLES]
    for key in table:
        if key in _INHERITING:
            problems.append(Problem(key, "counts only at the top of a spec file that extends another"))
        elif key not in allowed:
            near = _qualified(key, table) or did_you_mean(key, [*allowed, *_INHERITING])
            problems.append(Problem(key, f"unknown key{near}; allowed here: {', '.join(allowed)}"))
    values: dict[str, Any] = {"name": _name(table, problems), "seed": _seed(table, problems)}
    for section, kind in SECTIONS.items():
        values[section] = _use(table, section, kind, problems)
    for section, cls in _TABLES.items():
        inner = table.get(section, {})
        if isinstance(inner, dict):
            values[section] = structure_table(cls, inner, section, problems)
        else:
            problems.append(Problem(section, f"found {shown(inner)}; must be a table"))
    problems += _moved_features(values.get("features"), values.get("train"))
    if problems:
        order = {key: position for position, key in enumerate(table)}
        problems.sort(key=lambda p: order.get(p.where.split(".")[0], len(order)))
        raise SpecError(problems)
    return Spec(**values)


def spec_keys(spec: str | Path | dict[str, Any]) -> dict[str, Any]:
    """{dotted key: type} of all that a spec may say, options of the components that this one chooses too.

    spec: the path of a file, or its table. For ``SECTION.use`` the kind of component in place of a type.
    """
    table = spec if isinstance(spec, dict) else Source(spec, ()).table
    keys: dict[str, Any] = {"name": str, "seed": int}
    configs = dict(_TABLES)
    for section, kind in SECTIONS.items():
        keys[f"{section}.use"] = kind
        try:
            configs[section] = registry().find(kind, table[section]["use"]).declared.config
        except (PluginError, KeyError, TypeError):
            continue
    for section, cls in configs.items():
        keys |= {f"{section}.{field.name}": field.type for field in attrs.fields(attrs.resolve_types(cls))}
    return keys


def _qualified(key: str, table: dict[str, Any]) -> str:
    """``; did you mean 'train.lr'?`` of a key that lacks its table, or nothing."""
    dotted = [full for full in spec_keys(table) if full.rpartition(".")[2] == key and key != "use"]
    return f"; did you mean {' or '.join(map(repr, dotted))}?" if dotted else ""


def _moved_features(features: FeaturesConfig | None, train: TrainConfig | None) -> list[Problem]:
    """Images that are read as features cannot be moved."""
    if features is None or train is None or features.root is None:
        return []
    return [
        Problem(
            f"train.{key}",
            f"found {shown(moved)}; stored features cannot be moved; leave out {key}, or features.root",
        )
        for key, moved in (("shift", train.shift), ("rotation", train.rotation))
        if moved
    ]


def _name(table: dict[str, Any], problems: list[Problem]) -> str:
    name = table.get("name")
    if name is None:
        problems.append(Problem("name", 'missing; give the experiment its own name, as in name = "han_rn"'))
    elif not isinstance(name, str) or not is_file_name(unicodedata.normalize("NFC", name)):
        allowed = "must be a string of letters, digits, '.', '_' and '-' that begins with a letter or digit"
        problems.append(Problem("name", f"found {shown(name)}; {allowed}"))
    return unicodedata.normalize("NFC", str(name))  # as some file systems do


def _seed(table: dict[str, Any], problems: list[Problem]) -> int:
    seed = table.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**63:
        problems.append(Problem("seed", f"found {shown(seed)}; must be an integer from 0 to 2^63 - 1"))
        return 0
    return seed


def _chosen(table: dict[str, Any], section: str, kind: str, problems: list[Problem]) -> str | None:
    """The name after ``use``, or None after adding a problem."""
    inner = table.get(section)
    example = next(iter(catalogue().get(kind, {})), "NAME")
    way_out = f'{section} = {{ use = "{example}" }}'
    if inner is None:
        problems.append(Problem(section, f"missing; choose a component, as in {way_out}"))
    elif not isinstance(inner, dict):
        problems.append(Problem(section, f"found {shown(inner)}; must be a table, as in {way_out}"))
    elif "use" not in inner:
        problems.append(Problem(section, f"has no 'use'; choose a component, as in {way_out}"))
    elif not isinstance(inner["use"], str):
        problems.append(Problem(f"{section}.use", f"found {shown(inner['use'])}; must be a string"))
    else:
        return str(inner["use"])
    return None


def _use(table: dict[str, Any], section: str, kind: str, problems: list[Problem]) -> Use | None:
    name = _chosen(table, section, kind, problems)
    if name is None:
        return None
    try:
        config_class = registry().find(kind, name).declared.config
    except PluginError as error:
        problems.append(Problem(f"{section}.use", error.what, error.install))
        return None
    inner = {key: value for key, value in table[section].items() if key != "use"}
    options = structure_table(config_class, inner, section, problems)
    return None if options is None else Use(use=name, options=options)


def needs(path: str | Path, overrides: Overrides = ()) -> list[tuple[str, bool]]:
    """(distribution, installed) of every package a spec needs, the core first.

    Works when none of them is installed: published components are looked up in the catalogue.
    """
    source = Source(path, overrides)
    installed: dict[str, bool] = {"hacore": True}
    problems: list[Problem] = []
    varied = [choice.applied(source.table) for choice in choices(source.table, SWEPT, problems)]
    for table in varied or [source.table]:
        for section, kind in SECTIONS.items():
            name = _chosen(table, section, kind, problems)
            if name is None:
                continue
            try:
                installed.setdefault(registry().find(kind, name).distribution, True)
            except PluginError as error:
                if name in (published := catalogue().get(kind, {})):
                    installed[published[name]] = False
                else:
                    problems.append(Problem(f"{section}.use", str(error)))
    if problems:
        raise source.placed(dict.fromkeys(problems))
    for distribution in [*installed]:
        for library in required_libraries(distribution):
            installed[library] = any(distributions(name=library))
    return list(installed.items())
