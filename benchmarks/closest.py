"""How many questions about the closest object the most used generator of Sort-of-CLEVR answers otherwise.

    python benchmarks/closest.py
    python benchmarks/closest.py --images 1000 --data-seed 1

On the same images and questions with ``closest = "other"`` and ``"popular"``, over all splits: questions in
which the object is its own closest, and those of them that get another answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs
from hacore_sort_of_clevr import Config
from hacore_sort_of_clevr.dataset import SortOfClevr


def count(config: Config) -> tuple[int, int, int]:
    """Questions about the closest object, those in which it is the object itself, other answers."""
    other = SortOfClevr(attrs.evolve(config, closest="other"))
    popular = SortOfClevr(attrs.evolve(config, closest="popular"))
    questions = own = changed = 0
    for split in other.splits:
        closest_Q = other.questions(split).type == other.question_types.index("closest")
        questions += int(closest_Q.sum())
        own += int((popular.objects(split).relevant_QO[closest_Q].sum(1) == 1).sum())
        changed += int((other.questions(split).answer != popular.questions(split).answer).sum())
    return questions, own, changed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=Config().images)
    parser.add_argument("--data-seed", type=int, default=0)
    given = parser.parse_args(arguments)
    questions, own, changed = count(Config(images=given.images, data_seed=given.data_seed))
    print(f"{questions:,} questions about the closest object")
    print(f"{own:,} ({own / questions:.1%}) in which the object is its own closest")
    print(f"{changed:,} ({changed / questions:.1%}) with another answer")


if __name__ == "__main__":
    main()
