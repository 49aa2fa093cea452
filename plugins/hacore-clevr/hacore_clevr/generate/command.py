"""``hacore data generate clevr``: a whole data set, in the official layout or packed for training.

Pictures first, then questions, block by block, by child processes; a GPU draws pictures in this one. What
is done is kept in a folder next to the output's, so that the next call resumes after any interruption, and
the output gets its name only when it is complete. The same plan gives the same files whatever the
number of processes; a GPU's pictures may differ from a CPU's in the last bits.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from hacore_packing.children import do_all
from hacore_packing.folders import only_one
from hacore_packing.making import unfinished
from hacore_packing.stream import written_list
from hacore_packing.writer import PackWriter

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError
from hacore.machine.threads import cores
from hacore_clevr import GenerateConfig
from hacore_clevr.columns import Collector
from hacore_clevr.generate.drawing import make_pictures
from hacore_clevr.generate.parts import (
    VERSION,
    Done,
    Job,
    Plan,
    Split,
    all_questions,
    all_scenes,
    questions_part,
    scenes_part,
)
from hacore_clevr.generate.questions import BLOCK
from hacore_clevr.generate.report import overview, report
from hacore_clevr.generate.scenes import picture_name
from hacore_clevr.generate.templates import digest, load_templates
from hacore_clevr.objects import Scenes
from hacore_clevr.official import questions_file, scenes_file
from hacore_clevr.publish import publish

Record = dict[str, Any]
Missing = list[tuple[Split, list[int]]]
"""The blocks of each split that are to be made."""

REPORT = "report.json"
"""In a generated folder: what it was made from, and what its questions are like."""

OFFICIAL_SIZE, PACKED_SIZE = (320, 480), (128, 128)
GPU_BLOCKS = 16  # blocks that a GPU draws at once


def generate(config: GenerateConfig, tell: Tell) -> Outcome:
    """Makes the data set, or what is missing of it.

    DataError as in ``plan_of``, and when the output folder holds other files or the disk is full.
    """
    if not config.output:
        raise DataError("output is not set; give the folder to make with --output")
    plan = plan_of(config)
    folder = Path(config.output).expanduser()
    with only_one(folder, tell):
        return _Generation(plan, folder, config, tell).run()


def plan_of(config: GenerateConfig) -> Plan:
    """What the options ask for. DataError if they do not go together or templates cannot be read."""
    val, test = (
        max(1, config.images * 15 // 100) if given is None else given
        for given in (config.val_images, config.test_images)
    )
    train = config.images - val - test
    if train < 1:
        raise DataError(f"images = {config.images}: val takes {val} and test {test}, none is left; raise it")
    if config.min_objects > config.max_objects:
        raise DataError(f"min_objects = {config.min_objects} is above max_objects = {config.max_objects}")
    if config.cogent:
        a, b = (("trainA", train), ("valA", val), ("testA", test)), (("valB", val), ("testB", test))
        splits = [Split(name=name, count=count, condition="A") for name, count in a]
        splits += [Split(name=name, count=count, condition="B") for name, count in b]
    else:
        named = (("train", train), ("val", val), ("test", test))
        splits = [Split(name=name, count=count) for name, count in named]
    templates = Path(config.templates).expanduser().resolve() if config.templates else None
    load_templates(templates, config.families)  # reports what is wrong with them
    return Plan(
        seed=config.seed,
        splits=tuple(splits),
        size=config.size or (PACKED_SIZE if config.packed else OFFICIAL_SIZE),
        questions=config.questions_per_image,
        min_objects=config.min_objects,
        max_objects=config.max_objects,
        packed=config.packed,
        templates=str(templates or ""),
        templates_sha256=digest(templates),
        families=config.families,
    )


class _Generation:
    """One call of ``generate``, which holds the folder's lock."""

    def __init__(self, plan: Plan, folder: Path, config: GenerateConfig, tell: Tell) -> None:
        self._plan, self._folder, self._tell = plan, folder, tell
        self._work = unfinished(folder)
        self._workers = config.workers or cores()
        gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self._device = "cuda" if gpu else "cpu"
        self._described = plan.describe()
        self._older = config.older

    def run(self) -> Outcome:
        started = time.monotonic()
        if done := self._finished():
            return Outcome(summary={"already generated": str(self._folder), **_counts(self._plan, done)})
        self._begin()
        writers = self._writers()
        pictures = self._draw(writers)
        self._ask()
        reports = self._publish(writers) if self._plan.packed else self._write()
        shutil.rmtree(self._folder / "parts")
        train = reports[self._plan.splits[0].name]
        return Outcome(
            summary={
                "generated": str(self._folder),
                **_counts(self._plan, reports),
                "pictures drawn": pictures,
                "seconds": round(time.monotonic() - started, 1),
                "report": str(self._folder / REPORT),
                f"in {self._plan.splits[0].name}": overview(train),
            }
        )

    def _finished(self) -> dict[str, Any] | None:
        """The reports of a finished folder. DataError if it holds anything other than what the plan makes."""
        if not self._folder.exists() or (self._folder.is_dir() and not any(self._folder.iterdir())):
            return None
        try:
            content = json.loads((self._folder / REPORT).read_text(encoding="utf-8"))
            plan, reports = dict(content["plan"]), dict(content["splits"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f"{self._folder}: holds files other than generated data; choose another folder with --output"
            ) from None
        if plan != self._described and {**plan, "version": VERSION} == self._described:
            if self._older == "renew":
                return None
            if self._older == "refuse":
                raise DataError(
                    f"{self._folder}: was generated by version {plan.get('version')} of the generator, whose "
                    f"pictures differ from those of version {VERSION}; add --older keep to use this data as "
                    "it is, or --older renew to make it anew"
                )
        elif plan != self._described:
            differs = ", ".join(key for key, value in self._described.items() if plan.get(key) != value)
            raise DataError(
                f"{self._folder}: was generated with other options (other: {differs}); choose another folder "
                "with --output, or delete this one"
            )
        shutil.rmtree(self._folder / "parts", ignore_errors=True)
        return reports

    def _begin(self) -> None:
        """Keeps what an earlier call with the same plan left, and nothing else."""
        path = self._work / "parts" / "plan.json"
        if self._work.exists() and (
            not path.is_file() or path.read_text(encoding="utf-8") != json.dumps(self._described)
        ):
            self._tell.message(f"an unfinished {self._folder} with other options is discarded")
            shutil.rmtree(self._work)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._described), encoding="utf-8")

    def _writers(self) -> dict[str, PackWriter]:
        if not self._plan.packed:
            return {}
        return {
            split.name: PackWriter(self._work, split.name, split.count, self._plan.size)
            for split in self._plan.splits
        }

    def _draw(self, writers: dict[str, PackWriter]) -> int:
        """Makes the missing scenes and pictures; returns how many."""
        unwritten = {
            (name, start // BLOCK) for name, writer in writers.items() for start, _ in writer.missing(BLOCK)
        }
        missing = self._missing(
            lambda split, block: (
                (split.name, block) not in unwritten and scenes_part(self._work, split.name, block).is_file()
            )
        )
        before, drawn = self._present(missing), 0
        with closing(self._pictures(missing)) as results:
            for done in results:
                if writers:
                    _pack(writers[done.split.name], done, unwritten)
                drawn += _images(done.split, done.blocks)
                self._tell.progress("drawing", before + drawn, self._plan.images)
        return drawn

    def _pictures(self, missing: Missing) -> Generator[Done, None, None]:
        if self._device == "cpu":
            return do_all("hacore_clevr.generate.drawing:make_pictures", self._jobs(missing), self._workers)
        jobs = (self._job(split, run) for split, blocks in missing for run in _runs(blocks, GPU_BLOCKS))
        return (make_pictures(job) for job in jobs)

    def _ask(self) -> None:
        """Makes the missing questions."""
        missing = self._missing(lambda split, block: questions_part(self._work, split.name, block).is_file())
        asked = self._present(missing)
        target = "hacore_clevr.generate.parts:make_questions"
        with closing(do_all(target, self._jobs(missing), self._workers)) as results:
            for done in results:
                asked += _images(done.split, done.blocks)
                self._tell.progress("asking", asked, self._plan.images)

    def _missing(self, is_there: Callable[[Split, int], bool]) -> Missing:
        return [
            (split, [block for block in split.blocks if not is_there(split, block)])
            for split in self._plan.splits
        ]

    def _present(self, missing: Missing) -> int:
        """Images of the blocks that are not missing."""
        return self._plan.images - sum(_images(split, blocks) for split, blocks in missing)

    def _jobs(self, missing: Missing) -> list[Job]:
        """One for each block: the splits share the processes, which take long to start."""
        return [self._job(split, range(block, block + 1)) for split, blocks in missing for block in blocks]

    def _job(self, split: Split, blocks: range) -> Job:
        threads = self._workers if self._device != "cpu" else 1
        return Job(
            work=self._work, plan=self._plan, split=split, blocks=blocks, device=self._device, threads=threads
        )

    def _write(self) -> dict[str, Any]:
        """The official files; gives the folder its name and returns the report of each split."""
        reports = {}
        for split in self._plan.splits:
            self._tell.message(f"writing the questions and scenes of {split.name}")
            info = {"split": split.name, "generator": "hacore-clevr", "seed": self._plan.seed}
            with (
                written_list(scenes_file(self._work, split.name), info, "scenes") as scene_list,
                written_list(questions_file(self._work, split.name), info, "questions") as question_list,
            ):
                reports[split.name] = report(
                    _each(all_questions(self._work, split), question_list),
                    _each(all_scenes(self._work, split), scene_list),
                )
        self._describe(reports)
        if self._folder.is_dir():
            shutil.rmtree(self._folder)  # empty, or made by an older version
        os.rename(self._work, self._folder)
        return reports

    def _publish(self, writers: dict[str, PackWriter]) -> dict[str, Any]:
        """The pack; gives the folder its name and returns the report of each split."""
        reports, questions, names, scenes = {}, {}, {}, {}
        for split in self._plan.splits:
            self._tell.message(f"packing the questions of {split.name}")
            names[split.name] = [picture_name(split.name, index) for index in range(split.count)]
            scenes[split.name] = Scenes.read(all_scenes(self._work, split))
            collector = Collector(names[split.name], scenes[split.name])
            asked = _each(all_questions(self._work, split), collector.add)
            reports[split.name] = report(asked, all_scenes(self._work, split))
            questions[split.name], problems = collector.finish()
            assert not problems, problems
        self._describe(reports)
        publish(
            self._folder,
            size=self._plan.size,
            images={name: writer.finish() for name, writer in writers.items()},
            questions=questions,
            names=names,
            scenes=scenes,
            source={"generated": self._described},
        )
        return reports

    def _describe(self, reports: dict[str, Any]) -> None:
        text = json.dumps({"plan": self._described, "splits": reports}, indent=1)
        (self._work / REPORT).write_text(text + "\n", encoding="utf-8")


def _each(records: Iterable[Record], use: Callable[[Record], None]) -> Iterator[Record]:
    """The records, each given to ``use`` as it passes."""
    for record in records:
        use(record)
        yield record


def _pack(writer: PackWriter, done: Done, unwritten: set[tuple[str, int]]) -> None:
    """Writes the pictures of blocks that are not in the pack yet."""
    assert done.pictures is not None
    first = done.split.rows(done.blocks[0])[0]
    for block in done.blocks:
        if (done.split.name, block) in unwritten:
            start, stop = done.split.rows(block)
            writer.write(start, done.pictures[start - first : stop - first])


def _images(split: Split, blocks: Iterable[int]) -> int:
    return sum(stop - start for start, stop in map(split.rows, blocks))


def _runs(blocks: list[int], most: int) -> Iterator[range]:
    """Neighbouring blocks together, up to ``most``."""
    start = 0
    for end in range(1, len(blocks) + 1):
        if end == len(blocks) or blocks[end] != blocks[end - 1] + 1 or end - start == most:
            yield range(blocks[start], blocks[end - 1] + 1)
            start = end


def _counts(plan: Plan, reports: dict[str, Any]) -> dict[str, Any]:
    return {
        "size": f"{plan.size[0]}x{plan.size[1]}",
        "images": {split.name: split.count for split in plan.splits},
        "questions": {split.name: reports[split.name]["questions"] for split in plan.splits},
    }
