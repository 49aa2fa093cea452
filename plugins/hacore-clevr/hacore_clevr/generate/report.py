"""What a set of questions is like, compared with what is known about CLEVR v1.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hacore_clevr.domain import ANSWERS, GROUPS
from hacore_clevr.programs import function_of, normal_answer

Record = Mapping[str, Any]

_GROUP = {function: group for group, functions in GROUPS.items() for function in functions}

# Families by group: a count and an exist for each of zero to three hops, two of each for each attribute of
# same_relate; a count in single_and and eight in single_or; the nine of compare_integer; four queries
# for each number of hops and in single_and, twelve in same_relate; the sixteen of comparison.
_FAMILIES = {
    "count": 21,
    "exist": 12,
    "compare numbers": 9,
    "query attribute": 32,
    "compare attribute": 16,
}

KNOWN: Mapping[str, Any] = {
    "images": {"train": 70_000, "val": 15_000, "test": 15_000},
    "questions": {"train": 699_989, "val": 149_991, "test": 149_988},
    "objects": {"min": 3, "max": 10},
    "answers": len(ANSWERS),
    "families": sum(_FAMILIES.values()),
    "most words": "about 45",
    "share of families by group": {name: round(count / 90, 4) for name, count in _FAMILIES.items()},
}
"""Facts of CLEVR v1.0. It balances families: a group's share of them is about its share of questions."""


def report(questions: Iterable[Record], scenes: Iterable[Record]) -> dict[str, Any]:
    """Counts and shares of questions in the official format, as JSON can hold them.

    families: by number, how many questions, and how many of each answer. groups: shares of the five
    groups of published scores, "unknown" for questions without a program. words: of a question, between
    spaces. objects: how many scenes have how many. known: ``KNOWN``. ValueError when there is no question.
    """
    families: dict[int, Counter[str]] = {}
    groups: Counter[str] = Counter()
    words: Counter[int] = Counter()
    for question in questions:
        answers = families.setdefault(question.get("question_family_index", -1), Counter())
        answers[normal_answer(question["answer"]) if "answer" in question else "unknown"] += 1
        program = question.get("program")
        groups[_GROUP.get(function_of(program[-1]), "unknown") if program else "unknown"] += 1
        words[len(question["question"].split())] += 1
    total = words.total()
    if not total:
        raise ValueError("no questions to report on")
    objects = Counter(len(scene["objects"]) for scene in scenes)
    return {
        "questions": total,
        "scenes": objects.total(),
        "families": {
            str(family): {"questions": counts.total(), "answers": dict(counts.most_common())}
            for family, counts in sorted(families.items())
        },
        "answers": dict(sum(families.values(), Counter()).most_common()),
        "groups": {name: round(groups[name] / total, 4) for name in (*GROUPS, "unknown") if groups[name]},
        "words": {
            "min": min(words),
            "mean": round(sum(length * count for length, count in words.items()) / total, 2),
            "max": max(words),
        },
        "objects": {str(count): objects[count] for count in sorted(objects)},
        "known of CLEVR v1.0": dict(KNOWN),
    }


def overview(details: Mapping[str, Any]) -> dict[str, str]:
    """The main points of a ``report`` on at least one scene, compared with CLEVR v1.0."""
    words, groups = details["words"], details["groups"]
    counts = [family["questions"] for family in details["families"].values()]
    shares = [
        max(family["answers"].values()) / family["questions"] for family in details["families"].values()
    ]
    objects = {int(number): count for number, count in details["objects"].items()}
    mean = sum(number * count for number, count in objects.items()) / details["scenes"]
    lines = {
        "families": f"{len(counts)} (CLEVR: 90), {_span(counts, ',')} questions each",
        "most frequent answer of a family": f"{_span(shares, '.0%')} of its questions",
        "words": f"{_span((words['min'], words['max']))}, mean {words['mean']} (CLEVR: up to about 45)",
        "objects": f"{_span(objects)}, mean {mean:.2f} (CLEVR: 3 to 10)",
    }
    known = KNOWN["share of families by group"]
    for group, share in groups.items():
        comparison = f" (share of CLEVR's families: {known[group]:.1%})" if group in known else ""
        lines[group] = f"{share:.1%}{comparison}"
    return lines


def _span(values: Collection[float], form: str = "") -> str:
    """The least and the most, or what all of them are."""
    least, most = (format(value, form) for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"
