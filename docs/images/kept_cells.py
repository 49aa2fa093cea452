"""Draws what a trained model looked at: kept cells bright, the rest darkened, the answer below.

    python docs/images/kept_cells.py runs/han_rn/20260101-120000-abc123

The questions are drawn at random, the same number of each type, and none is left out because of its
answer: right ones are green, wrong ones red (with the right answer behind), partly right ones orange,
as in figures 3 and 4 of Malinowski et al. 2018. Needs Pillow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import hacore
from hacore.data import Ints, Questions, make_batch
from hacore.measure.predict import evaluating, predict
from hacore.measure.reading import question_text, read_output
from hacore.pictures import draw_kept, fold
from hacore.runs.trained import Trained

MARGIN = 12
COLOURS = {"right": (20, 130, 50), "partly": (215, 120, 0), "wrong": (195, 30, 40)}


def choose(trained: Trained, asked: Questions, number: int, seed: int) -> Ints:
    """Rows of ``number`` random questions, of every type in turn."""
    random = np.random.default_rng(seed)
    by_type = [random.permutation(np.flatnonzero(asked.type == t)) for t in np.unique(asked.type)]
    turns = [rows[turn] for turn in range(number) for rows in by_type if turn < len(rows)]
    return np.array(turns[:number], np.int64)


def draw(trained: Trained, split: str, rows: Ints, *, columns: int, side: int) -> Image.Image:
    """A sheet with one picture per question, ``side`` pixels wide."""
    asked = trained.dataset.questions(split)
    batch = make_batch(asked, trained.dataset.images(split), rows).to(trained.device)
    with evaluating(trained.model):
        output = predict(trained.model, batch, trained.precision)
    bright_Q = [reading.brightness for reading in read_output(output, trained.dataset.answers, 1)]
    score_Q = trained.dataset.score(output.logits_QA, batch).tolist()
    chosen_Q = output.logits_QA.argmax(-1).tolist()

    font = ImageFont.load_default(size=14)
    height = round(side * batch.images.shape[2] / batch.images.shape[3])
    tiles = []
    for number, row in enumerate(rows):
        pixels = batch.images[batch.image_index_Q[number]].cpu().numpy().transpose(1, 2, 0)
        picture = Image.fromarray(pixels).resize((side, height), Image.Resampling.LANCZOS)
        words = asked.words[asked.offsets[row] : asked.offsets[row + 1]]
        question = question_text([trained.dataset.vocabulary[word] for word in words])
        state = "right" if score_Q[number] >= 1 else "partly" if score_Q[number] > 0 else "wrong"
        answer = trained.dataset.answers[chosen_Q[number]]
        if state != "right" and asked.answer[row] >= 0:
            answer += f" (right: {trained.dataset.answers[asked.answer[row]]})"
        tiles.append((draw_kept(picture, bright_Q[number]), question, answer, COLOURS[state]))

    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    questions = [fold(pen, question, font, side) for _, question, _, _ in tiles]
    text_height = 18 * (max(len(lines) for lines in questions) + 1)
    step = (side + MARGIN, height + text_height + MARGIN)
    columns = min(columns, len(tiles))
    sheet_rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * step[0] + MARGIN, sheet_rows * step[1] + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, _, answer, colour) in enumerate(tiles):
        x, y = MARGIN + number % columns * step[0], MARGIN + number // columns * step[1]
        sheet.paste(picture, (x, y))
        for line, text in enumerate(questions[number]):
            pen.text((x, y + height + 4 + 18 * line), text, fill="black", font=font)
        pen.text((x, y + height + 4 + 18 * len(questions[number])), answer, fill=colour, font=font)
    return sheet


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a finished run's folder")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".png"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--side", type=int, default=180, help="width of a picture in pixels")
    parser.add_argument("--seed", type=int, default=0, help="which questions are drawn")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args(arguments)
    trained = hacore.load(chosen.run, device=chosen.device)
    rows = choose(trained, trained.dataset.questions(chosen.split), chosen.questions, chosen.seed)
    sheet = draw(trained, chosen.split, rows, columns=chosen.columns, side=chosen.side)
    sheet.save(chosen.output, optimize=True)
    print(f"{chosen.output}: {len(rows)} questions of {trained.spec.name} at step {trained.step}")


if __name__ == "__main__":
    main()
