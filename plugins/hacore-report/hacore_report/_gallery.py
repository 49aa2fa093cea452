"""Questions of a split with what runs made of them: which are shown, and their pictures."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hacore.errors import HacoreError, RunError
from hacore.measure.predictions import Prediction
from hacore_report._asking import ask, open_models
from hacore_report._figures import heat

if TYPE_CHECKING:
    from PIL.Image import Image

    from hacore.measure.reading import Seen
    from hacore.runs import RunFolder
    from hacore.runs.trained import Trained

_MOST = 240  # pictures
_TOP = 3  # answers of a question
_LARGEST = 256  # pixels: what a page shows is no larger


@attrs.frozen(kw_only=True)
class Shown:
    """What one run made of a question. answers: (answer, probability), the likeliest first.

    darkness, presence: data URIs of one pixel a cell.
    """

    state: str
    prediction: str
    answers: tuple[tuple[str, float], ...]
    kept: int
    cells: int
    darkness: str
    presence: str


@attrs.frozen(kw_only=True)
class Item:
    """A question. image: key of its picture. answer: the right one, None where it is not known."""

    id: int
    image: str
    type: str
    question: str
    answer: str | None
    shown: tuple[Shown, ...]

    @property
    def state(self) -> str:
        """Of the one run, or whether several agree."""
        first = self.shown[0].state
        if len(self.shown) == 1:
            return first
        return f"all {first}" if {shown.state for shown in self.shown} == {first} else "they differ"


@attrs.frozen(kw_only=True)
class Gallery:
    """images: {key: (data URI, width, height)}. chosen: how the questions were chosen.

    first: how many of the items, which come first, a page shows at once; the others are unfolded.
    """

    items: tuple[Item, ...]
    first: int
    images: dict[str, tuple[str, int, int]]
    grids: tuple[tuple[int, int], ...]
    chosen: str


def open_gallery(
    folders: Sequence[RunFolder],
    tables: Sequence[Sequence[Prediction]],
    split: str,
    device: str,
    *,
    first: int,
) -> tuple[Gallery | None, str | None]:
    """The gallery of runs, or why there is none."""
    try:
        pairs = list(zip(open_models(folders, device), tables, strict=True))
        return gallery(pairs, split, first=first), None
    except HacoreError as error:
        return None, str(error)


def choose_questions(
    tables: Sequence[Sequence[Prediction]], most: int, each: int = 8, seed: int = 0, first: int = 12
) -> tuple[list[int], str]:
    """Ids of at most ``most`` random questions, balanced over types and outcomes, and a note on the choice.

    tables: the predictions of one run, or of several on the same questions; the outcome of several is
    the outcome of each. each: the most questions of one type and outcome. first: so many ids that come
    first are balanced by themselves; these, and those after them, are in the order of their types.
    """
    random = np.random.default_rng(seed)
    outcomes: dict[int, list[str]] = defaultdict(list)
    types: dict[int, str] = {}
    for table in tables:
        for prediction in table:
            outcomes[prediction.id].append(prediction.state)
            types[prediction.id] = prediction.type
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, states in outcomes.items():
        groups[types[number], tuple(states) if len(set(states)) > 1 else (states[0],)].append(number)
    shuffled = [[ids[i] for i in random.permutation(len(ids))] for _, ids in sorted(groups.items())]
    turns = [ids[turn] for turn in range(each) for ids in shuffled if turn < len(ids)]
    leading = {turns[at] for at in random.permutation(min(len(shuffled), most))[:first]}
    leading |= {*turns[len(shuffled) : len(shuffled) + max(0, min(first, most) - len(leading))]}
    note = (
        f"{min(len(turns), most):,} of {len(outcomes):,} questions, drawn at random: up to {each} of each "
        "type and outcome, so that the share of right answers here is not the accuracy."
    )
    place = {number: at for at, number in enumerate(types)}
    order = sorted(turns[:most], key=lambda number: (number not in leading, types[number], place[number]))
    return order, note


def gallery(runs: Sequence[tuple[Trained, Sequence[Prediction]]], split: str, *, first: int) -> Gallery:
    """The gallery of one run, or of several on the same questions. Opens the data of the first."""
    from hacore.measure.reading import question_text

    dataset = runs[0][0].dataset
    ids, note = choose_questions([predictions for _, predictions in runs], _MOST // len(runs), first=first)
    questions = dataset.questions(split)
    row_of = {number: row for row, number in enumerate(questions.ids.tolist())}
    missing = [number for number in ids if number not in row_of]
    if missing:
        raise RunError(f"split '{split}' has no question {missing[0]}; the data are not those of the run")
    rows = np.array([row_of[number] for number in ids], np.int64)
    outputs = [_predict(trained, split, rows) for trained, _ in runs]
    recorded = [{prediction.id: prediction for prediction in predictions} for _, predictions in runs]
    items = []
    for place, (number, row) in enumerate(zip(ids, rows.tolist(), strict=True)):
        words = questions.words[questions.offsets[row] : questions.offsets[row + 1]].tolist()
        items.append(
            Item(
                id=number,
                image=str(int(questions.image[row])),
                type=recorded[0][number].type,
                question=question_text([dataset.vocabulary[word] for word in words]),
                answer=recorded[0][number].answer,
                shown=tuple(
                    _picture(output[place], predictions[number])
                    for output, predictions in zip(outputs, recorded, strict=True)
                ),
            )
        )
    images = dataset.images(split)
    encoded = {item.image: _encoded(images[int(item.image)]) for item in items}
    grids = tuple(output[0].presence.shape for output in outputs)
    return Gallery(items=tuple(items), first=first, images=encoded, grids=grids, chosen=note)


def _predict(trained: Trained, split: str, rows: np.ndarray[Any, Any]) -> list[Seen]:
    """What predictions do not record: the presence of the cells and the next likely answers."""
    from hacore.measure.reading import read_output

    answers = trained.dataset.answers
    parts = ask(trained, split, rows, lambda _, output: read_output(output, answers, _TOP + 1))
    return [seen for part in parts for seen in part]


def _picture(output: Seen, recorded: Prediction) -> Shown:
    """What was recorded wins: in another batch, rounding may give the same question another answer."""
    from hacore.measure.reading import brightness

    bright = output.brightness
    if recorded.cells is not None:  # runs of contract 1 recorded none
        if (outside := max(recorded.cells, default=0)) >= bright.size:
            raise RunError(
                f"question {recorded.id} of the predictions keeps cell {outside}, of {bright.size}; write "
                "them again with 'hacore eval'"
            )
        bright = brightness(recorded.cells, recorded.weights, bright.shape)
    dark = np.zeros((*bright.shape, 4), np.uint8)
    dark[..., 3] = (255 * 0.7 * (1 - bright)).round()
    likeliest = (recorded.prediction, recorded.probability)
    others = [
        (answer.answer, answer.probability)
        for answer in output.answers
        if answer.answer != recorded.prediction
    ]
    return Shown(
        state=recorded.state,
        prediction=recorded.prediction,
        answers=(likeliest, *others[: _TOP - 1]),
        kept=recorded.kept,
        cells=output.presence.size,
        darkness=_uri(dark, "PNG"),
        presence=_uri(heat(output.presence), "PNG"),
    )


def _encoded(image_3HW: np.ndarray[Any, Any]) -> tuple[str, int, int]:
    """A picture of at most 256 pixels, and its own width and height."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image_3HW.transpose(1, 2, 0)))
    size = picture.size
    picture.thumbnail((_LARGEST, _LARGEST))
    return data_uri(picture), *size


def data_uri(picture: Image) -> str:
    """The picture in the smaller of PNG and JPEG: drawn scenes and photographs."""
    pixels = np.asarray(picture)
    return min(_uri(pixels, "PNG"), _uri(pixels, "JPEG"), key=len)


def _uri(pixels: np.ndarray[Any, Any], kind: str) -> str:
    from PIL import Image

    file = io.BytesIO()
    options = {"quality": 85} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(pixels).save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
