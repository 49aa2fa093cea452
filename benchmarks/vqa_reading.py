"""How long it takes, and how much memory, to read VQA files of the official size, and to score results.

    python benchmarks/vqa_reading.py
    python benchmarks/vqa_reading.py --questions 2000      # does the program work?

The text is made up: as many questions and annotations as the training split of VQA v2, with ten answers
each, about one in thirty of them seen nowhere else. Each stage runs in a process of its own, whose peak
memory is told by the system; a mapped file counts as far as it was read. Times are those of
the processor, without starting Python.

    read      every record checked, into columns: what prepare does before it packs images
    answers   choosing 3,000 answers and scoring them for each question: what opening a dataset does
    score     the official accuracy of one answer to each question, files read by hacore
    json      the same files loaded by the standard library and nothing else, for comparison
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hacore.data_tools import Silent

QUESTIONS = 443_757
STAGES = ("read", "answers", "score", "json")
TYPES = [(f"what is number {i}", ("yes/no", "number", "other")[i % 3]) for i in range(65)]
WORDS = ("what", "is", "the", "color", "of", "a", "man", "how", "many", "dogs", "are", "there", "red", "bus")


def write(folder: Path, questions: int) -> None:
    """The files of a split, and a results file."""
    from hacore_vqa.official import V2

    chance = random.Random(0)
    split = V2.splits["train"]
    with (
        open(folder / split.questions, "w", encoding="utf-8") as asked,
        open(folder / split.annotations, "w", encoding="utf-8") as answered,
        open(folder / "results.json", "w", encoding="utf-8") as results,
    ):
        asked.write('{"info": {}, "questions": [')
        answered.write('{"info": {}, "annotations": [')
        results.write("[")
        for row in range(questions):
            comma = ", " if row else ""
            question, image = 1000 * row, row * 82_783 // questions
            text = " ".join(chance.choices(WORDS, k=6))
            usual = f"answer {int(chance.paretovariate(0.7)) % 20_000}"
            people = [usual if chance.random() < 0.7 else f"other {chance.random():.2f}" for _ in range(10)]
            if chance.random() < 0.3:
                people[3] = f"Only {row}."
            kind, answer_type = TYPES[row % 65]
            asked.write(
                comma + json.dumps({"image_id": image, "question": f"{text}?", "question_id": question})
            )
            annotation = {
                "question_type": kind,
                "multiple_choice_answer": usual,
                "answers": [
                    {"answer": answer, "answer_confidence": "yes", "answer_id": place}
                    for place, answer in enumerate(people, 1)
                ],
                "image_id": image,
                "answer_type": answer_type,
                "question_id": question,
            }
            answered.write(comma + json.dumps(annotation))
            results.write(comma + json.dumps({"question_id": question, "answer": usual}))
        asked.write("]}")
        answered.write("]}")
        results.write("]")


def run(stage: str, folder: Path) -> float:
    """Processor seconds of a stage."""
    from hacore_vqa import ScoreConfig
    from hacore_vqa.official import V2

    split = V2.splits["train"]
    paths = [str(folder / name) for name in (split.questions, split.annotations, "results.json")]
    if stage == "json":
        start = time.process_time()
        contents = [json.loads(Path(path).read_bytes()) for path in paths[:2]]
        assert len(contents) == 2
        return time.process_time() - start
    if stage == "score":
        from hacore_vqa.score import score

        config = ScoreConfig(questions=paths[0], annotations=paths[1], results=paths[2])
        start = time.process_time()
        outcome = score(config, Silent())
        assert not outcome.problems
        return time.process_time() - start
    from hacore_vqa.columns import Texts, read_split

    start, texts = time.process_time(), Texts()
    columns, problems = read_split(folder, split, texts)
    assert not problems
    if stage == "read":
        return time.process_time() - start
    from hacore_vqa.answers import choose_answers
    from hacore_vqa.publish import packed_texts

    packed: Any = packed_texts(texts)
    start = time.process_time()
    chosen = choose_answers(packed, [columns.chosen], 3000, 1)
    accepted, scores = chosen.accepted(columns)
    assert len(accepted) == len(scores) == len(columns)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure reading and scoring VQA files of the official size."
    )
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        seconds = run(given.stage, given.folder)
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
        return
    if given.questions < 1 or given.repeats < 1:
        parser.error("--questions and --repeats must be at least 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.questions)
        total = sum(path.stat().st_size for path in folder.iterdir())
        title = f"{given.questions:,} questions, {total / 1e6:,.0f} MB; {platform.machine()}, one process"
        table = Table(title=title)
        for column in ("stage", "processor seconds", "at best", "peak memory, MB"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for stage in STAGES:
            command = [sys.executable, __file__, "--stage", stage, "--folder", name]
            reports = [
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(given.repeats)
            ]
            seconds = sorted(report[0] for report in reports)
            peak = max(report[1] for report in reports)
            table.add_row(
                stage, f"{seconds[len(seconds) // 2]:.1f}", f"{seconds[0]:.1f}", f"{peak / 1e6:,.0f}"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
