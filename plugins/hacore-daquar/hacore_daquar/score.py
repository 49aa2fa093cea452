"""``hacore score daquar``: accuracy and WUPS of a file of answers. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from hacore.data_tools import Outcome, Tell
from hacore.errors import DataError, reason
from hacore.machine.texts import TextError, decode_text
from hacore_daquar import ScoreConfig
from hacore_daquar.official import answer_of
from hacore_daquar.wordnet import Nouns, find_wordnet
from hacore_daquar.wups import THRESHOLDS, Wups, split_answers, wups


def score(config: ScoreConfig, tell: Tell) -> Outcome:
    """Percentages over all questions of the official file: of answers that are right, and WUPS.

    A message tells how many answers are no noun of WordNet, which are similar to themselves alone. Lines that
    are wrong are named, and nothing is scored. DataError when a file, or WordNet, is missing.
    """
    if missing := [f"--{name}" for name in ("questions", "results") if not getattr(config, name)]:
        raise DataError(f"{', '.join(missing)} not given; name the official file and the file of answers")
    questions, results = Path(config.questions).expanduser(), Path(config.results).expanduser()
    asked, predictions = _lines(questions), _lines(results)
    answers = asked[1::3]
    if not answers or len(asked) % 3:
        what = (
            f"has {len(asked):,} lines and must have three a question, as qa.894.raw.test.format_triple has"
        )
        raise DataError(f"{questions}: {what}; name that file")
    problems = [
        f"{path}:{first + step * row}: the answer {line!r} is empty, or one of several is; correct it"
        for path, lines, first, step in ((questions, answers, 2, 3), (results, predictions, 1, 1))
        for row, line in enumerate(lines)
        if not answer_of(line)
    ]
    if len(predictions) != len(answers):
        what = f"has {len(predictions):,} answers, {questions} has {len(answers):,} questions"
        problems.insert(0, f"{results}: {what}; give one answer a line, in the order of the questions")
    if problems:
        return Outcome(summary={}, problems=tuple(problems))
    measure = Wups(Nouns(find_wordnet(config.wordnet)))
    words = {word for line in (*answers, *predictions) for word in split_answers(line)}
    unknown = sorted(word for word in words if not measure.known(word))
    if unknown:
        tell.message(f"{len(unknown):,} of {len(words):,} answers are no nouns of WordNet, as {unknown[0]!r}")
    right = sum(answer_of(one) == answer_of(other) for one, other in zip(predictions, answers, strict=True))
    summary = {"questions": len(answers), "accuracy": round(100 * right / len(answers), 2)}
    for threshold in THRESHOLDS:
        value = wups(predictions, answers, threshold, measure)
        summary[f"WUPS at {threshold}"] = round(100 * value, 2)
    return Outcome(summary=summary)


def _lines(path: Path) -> list[str]:
    """Without empty ones at the end. DataError for a file that cannot be read."""
    try:
        return [line.strip() for line in decode_text(path.read_bytes()).rstrip().splitlines()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from error
    except TextError as error:
        raise DataError(error.at(path)) from error
