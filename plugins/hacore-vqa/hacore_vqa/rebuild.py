"""VQA-CP v2 from the files of VQA v2 and lists of question ids, as it has no reliable host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from hacore_packing.folders import only_one

from hacore.data import cache_folder
from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.commands import pasteable
from hacore.machine.ids import ALLOWED, whole_number
from hacore.machine.texts import TextError, decode_text
from hacore_vqa import RebuildConfig
from hacore_vqa.findings import Findings
from hacore_vqa.official import CP, V2
from hacore_vqa.records import DIGITS, Annotation, Question, read_records

SOURCES = {"train": "train2014", "val": "val2014"}


def rebuild(config: RebuildConfig, tell: Tell) -> Outcome:
    """Writes the four official files of VQA-CP v2 into ``output``.

    question_ids: two files, each a JSON list of ids or of objects with a ``question_id``, or a text of ids.
    Ids that occur twice or are not in VQA v2 are all named, and nothing is written.
    DataError when there is nothing to make the files from; it says where to put them.
    """
    output = Path(config.output).expanduser() if config.output else cache_folder() / CP.name
    names = [name for split in CP.splits.values() for name in (split.questions, split.annotations)]
    if all((output / name).is_file() for name in names):
        return Outcome(summary={"already there": str(output)})
    if not all(config.question_ids):
        raise DataError(
            f"VQA-CP v2 has no reliable host; put {', '.join(names)} into {output}, or make them from VQA "
            "v2: --root DIR --question-ids TRAIN TEST, lists of question ids"
        )
    if not config.root:
        raise DataError("--root is not set; give the folder of VQA v2, whose questions the ids name")
    root = Path(config.root).expanduser()
    lists = {name: Path(path).expanduser() for name, path in zip(CP.splits, config.question_ids, strict=True)}
    problems: list[str] = []
    split_of = _read_lists(lists, problems)
    with only_one(output / "vqacp", tell):
        written, others = _write(root, output, split_of, lists, problems, tell)
    if problems:
        return Outcome(summary={}, problems=tuple(problems))
    return Outcome(
        summary={
            "folder": str(output),
            "questions": written,
            "questions of VQA v2 in neither list": others,
            "next": pasteable("hacore", "data", "prepare", CP.name, output, "--images", root),
        }
    )


def _read_lists(lists: dict[str, Path], problems: list[str]) -> dict[int, str]:
    """The split of each question."""
    split_of: dict[int, str] = {}
    for split, path in lists.items():
        findings = Findings(path)
        for number in _ids(path, findings):
            if number in split_of:
                where = "this list" if split_of[number] == split else str(lists[split_of[number]])
                findings.note(f"was in {where} before", number)
            split_of.setdefault(number, split)
        problems += findings.lines()
    return split_of


def _ids(path: Path, findings: Findings) -> Iterator[int]:
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); give a list of ids") from error
    except TextError as error:
        findings.add(str(error))
        return
    kind, entries = "word", list[Any](text.split())
    if text.lstrip()[:1] == "[":
        try:
            kind, entries = "entry", msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            findings.add(f"is not a list of question ids ({error})")
            return
    for place, entry in enumerate(entries, 1):
        number = _id(entry.get("question_id") if isinstance(entry, dict) else entry)
        if number is None:
            findings.add(f"{kind} {place} is {str(entry)[:40]!r}; must be a question id, {ALLOWED}")
            continue
        yield number


def _id(entry: Any) -> int | None:
    """An id of a list; those of a plain text are words."""
    return int(entry) if isinstance(entry, str) and DIGITS.fullmatch(entry) else whole_number(entry)


def _write(
    root: Path,
    output: Path,
    split_of: dict[int, str],
    lists: dict[str, Path],
    problems: list[str],
    tell: Tell,
) -> tuple[dict[str, int], int]:
    """Writes all four files under temporary names, and renames them when nothing is wrong.

    Returns the number of questions in each split, and of those of VQA v2 in neither.
    """
    places: dict[Path, Path] = {}
    written: dict[str, int] = {}
    others = 0
    try:
        for kind, field in ((Question, "questions"), (Annotation, "annotations")):
            tell.message(f"sorting the {field}")
            targets = {split: output / getattr(files, field) for split, files in CP.splits.items()}
            hidden = {split: path.with_name(f".{path.name}.part") for split, path in targets.items()}
            places |= {hidden[split]: path for split, path in targets.items()}
            written, others = _sort(kind, field, root, hidden, split_of, lists, problems)
        if not problems:
            for hidden_path, path in places.items():
                os.replace(hidden_path, path)
    except OSError as error:
        cause = error.strerror or error
        raise DataError(f"{output}: cannot be written ({cause}); make room, or give --output") from error
    finally:
        for hidden_path in places:
            hidden_path.unlink(missing_ok=True)
    return written, others


def _sort(
    kind: Any,
    field: str,
    root: Path,
    hidden: dict[str, Path],
    split_of: dict[int, str],
    lists: dict[str, Path],
    problems: list[str],
) -> tuple[dict[str, int], int]:
    """Streams the records of VQA v2 into their splits' files; returns how many went to each, and to none."""
    left = dict(split_of)
    counts, others, broken = dict.fromkeys(hidden, 0), 0, False
    with ExitStack() as opened:
        files = {split: opened.enter_context(open(path, "wb")) for split, path in hidden.items()}
        for source, coco in SOURCES.items():
            findings = Findings(root / getattr(V2.splits[source], field))
            for record in read_records(findings.path, kind, findings):
                split = left.pop(record.question_id, "")
                if not split:
                    others += 1
                    continue
                table = msgspec.to_builtins(record) | {"coco_split": coco}
                files[split].write(b",\n" if counts[split] else b"[")
                files[split].write(msgspec.json.encode(table))
                counts[split] += 1
            problems += findings.lines()
            broken = broken or bool(findings.lines())
        for split, file in files.items():
            file.write(b"]\n" if counts[split] else b"[]\n")
            file.flush()
            os.fsync(file.fileno())
    if not broken:  # what could not be read would be named again
        for split, path in lists.items():
            findings = Findings(path)
            for number in (number for number, its_split in left.items() if its_split == split):
                findings.note(f"is not among the {field} of VQA v2 in {root}", number)
            problems += findings.lines()
    return counts, others
