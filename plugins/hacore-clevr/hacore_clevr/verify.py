"""Checks a folder in the official format: every answer is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.ids import ALLOWED, whole_number
from hacore_packing.packs import is_pack
from hacore_packing.stream import JsonError, read_list

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.texts import composed
from hacore.pictures import DamagedPictureError, open_picture
from hacore_clevr import VerifyConfig
from hacore_clevr.camera import relationships
from hacore_clevr.domain import RELATIONS
from hacore_clevr.objects import MALFORMED
from hacore_clevr.official import (
    find_splits,
    image_names,
    images_folder,
    questions_file,
    read_questions,
    scenes_file,
)
from hacore_clevr.programs import ProgramError, World, execute, normal_answer

TIE = 1e-4
"""Offsets this close to the limit of a relation may fall to either side: the files' numbers are rounded."""

EVERY = 100_000
"""Questions between messages."""


@attrs.define
class _Findings:
    """Counts, and the problems in the order in which they were found."""

    counts: dict[str, dict[str, Any]]
    problems: list[str]


def verify(config: VerifyConfig, tell: Tell) -> Outcome:
    """Every split of ``config.root``: questions, their programs on their scenes, scenes, images.

    A split without a scenes file or without programs is checked as far as possible, and the summary
    says how many answers were computed again. DataError when the folder is not CLEVR's, or is
    prepared data.
    """
    root = Path(config.root).expanduser()
    if is_pack(root):
        raise DataError(
            f"{root}: is prepared data, without the scenes and programs that give the answers; verify the "
            "folder that it was made from, or generate one without --packed"
        )
    findings = _Findings({}, [])
    for split in find_splits(root):
        names = image_names(root, split)
        columns, problems = read_questions(root, split, names)
        findings.problems += problems
        scenes = _scenes(root, split, names, findings)
        answers = _answers(root, split, scenes, findings, tell)
        if config.pictures:
            _pictures(root, split, names, findings, tell)
        findings.counts[split] = {
            "images": len(names),
            "scenes": len(scenes) if scenes is not None else "no file",
            "questions": len(columns),
            "answers computed again": answers,
        }
    return Outcome(summary={"folder": str(root), **findings.counts}, problems=tuple(findings.problems))


def _records(path: Path, key: str, findings: _Findings) -> Iterator[tuple[int, dict[str, Any]]]:
    """(place, record) of a list in a file; records that are not objects are skipped here."""
    try:
        for place, record in enumerate(read_list(path, key)):
            if type(record) is dict:
                yield place, record
    except JsonError as error:
        damage = f"{path}: {error};"
        if not any(problem.startswith(damage) for problem in findings.problems):  # else told before
            findings.problems.append(f"{damage} unpack or generate it again")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); unpack it again") from error


def _scenes(root: Path, split: str, names: list[str], findings: _Findings) -> dict[Any, World | None] | None:
    """Compiled scenes by image_index, None for one that is wrong; None when there is no scenes file."""
    path = scenes_file(root, split)
    if not path.is_file():
        return None
    worlds: dict[Any, World | None] = {}
    unseen = {composed(name): name for name in names}
    known = set(unseen)
    for place, scene in _records(path, "scenes", findings):
        where = f"{path}: scene {place}"
        index, name = whole_number(scene.get("image_index")), scene.get("image_filename")
        if index is None or type(name) is not str:
            findings.problems.append(
                f"{where}: must have an image_index, {ALLOWED}, and an image_filename, a file's name"
            )
            continue
        if index in worlds:
            findings.problems.append(f"{where}: image_index {index} was used before")
        elif composed(name) in known:
            unseen.pop(composed(name), None)
        else:
            findings.problems.append(f"{where}: image {name} is missing in {images_folder(root, split)}")
        try:
            worlds[index] = World.from_scene(scene)
            findings.problems += [f"{where}: {problem}" for problem in _misplaced(scene)]
        except MALFORMED as error:
            worlds[index] = None
            what = f"has no {error}" if isinstance(error, KeyError) else str(error)
            findings.problems.append(f"{where}: {what}")
    folder = images_folder(root, split)
    findings.problems += [f"{folder / name}: has no scene" for name in sorted(unseen.values())]
    return worlds


def _misplaced(scene: Mapping[str, Any]) -> list[str]:
    """Relations that disagree with the coordinates and directions of the scene's objects."""
    coords_O3 = _bounded([thing["3d_coords"] for thing in scene["objects"]], "3d_coords")
    named = {name: _bounded([scene["directions"][name]], f"directions.{name}") for name in RELATIONS}
    directions = {name: vector[0] for name, vector in named.items()}
    least, most = (relationships(coords_O3, directions, 0.2 + slack) for slack in (TIE, -TIE))
    wrong = []
    for name in RELATIONS:
        for number, others in enumerate(scene["relationships"][name]):
            if not set(least[name][number]) <= set(others) <= set(most[name][number]):
                wrong.append(
                    f"relationships.{name}[{number}] is {sorted(others)}; by the coordinates it is "
                    f"{relationships(coords_O3, directions)[name][number]}"
                )
    return wrong


def _bounded(points: list[Any], what: str) -> npt.NDArray[np.float64]:
    """(n, 3). ValueError for other numbers of numbers, and for numbers that no scene has."""
    array = np.array(points, np.float64)
    if array.shape != (len(points), 3) and points:
        raise ValueError(f"{what}: three numbers expected")
    if not (np.abs(array) < 1e6).all():
        raise ValueError(f"{what}: holds numbers that are not finite, or beyond a million")
    return array.reshape(-1, 3)


def _answers(
    root: Path, split: str, worlds: Mapping[Any, World | None] | None, findings: _Findings, tell: Tell
) -> int:
    """Compute every answer again; returns how many."""
    if worlds is None:
        return 0
    path, done = questions_file(root, split), 0
    for place, record in _records(path, "questions", findings):
        if place and place % EVERY == 0:
            tell.message(f"{split}: {place:,} questions checked")
        program, index = record.get("program"), whole_number(record.get("image_index"))
        if type(program) is not list or record.get("answer") is None:
            continue
        where = f"{path}: question {place}"
        if index not in worlds:
            shown = record.get("image_index")
            findings.problems.append(f"{where}: image_index {shown!r} has no scene")
            continue
        world = worlds[index]
        if world is None:
            continue  # the scene is among the problems already
        try:
            answer = execute(program, world)
        except ProgramError as error:
            findings.problems.append(f"{where}: program: {error}")
            continue
        except (TypeError, AttributeError, LookupError):
            findings.problems.append(
                f"{where}: program: its nodes must be objects with lists of inputs and values"
            )
            continue
        done += 1
        if answer != normal_answer(record["answer"]):
            findings.problems.append(
                f"{where}: answer {normal_answer(record['answer'])!r}; its program gives {answer!r}"
            )
    return done


def _pictures(root: Path, split: str, names: list[str], findings: _Findings, tell: Tell) -> None:
    """Decode every image."""
    for place, name in enumerate(names):
        path = images_folder(root, split) / name
        try:
            open_picture(path)
        except DamagedPictureError as error:
            findings.problems.append(f"{error}; unpack or generate it again")
        except DataError as error:
            findings.problems.append(str(error))
        if place % 100 == 99 or place + 1 == len(names):
            tell.progress(f"{split} images", place + 1, len(names))
