"""A miniature of VQA v2 and VQA-CP v2 in the official format, drawn: to try a spec before 33 GB are fetched.

24 photographs' worth of coloured discs, three questions about each, ten people's answers to every one.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

_COLORS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
_IMAGES = {"train2014": range(1, 13), "val2014": range(101, 109), "test2015": range(201, 205)}


def write_v2(root: Path) -> Path:
    """Write VQA v2 into a new folder: 12 training, 8 validation and 4 test images. Returns the folder."""
    for coco, ids in _IMAGES.items():
        (root / coco).mkdir(parents=True)
        asked = [question for image in ids for question in _draw(root, coco, image)]
        questions = [
            {key: question[key] for key in ("image_id", "question", "question_id")} for question in asked
        ]
        head = {"info": {"description": "drawn"}, "task_type": "Open-Ended", "data_subtype": coco}
        _write(root / f"v2_OpenEnded_mscoco_{coco}_questions.json", {**head, "questions": questions})
        if coco == "test2015":
            _write(
                root / "v2_OpenEnded_mscoco_test-dev2015_questions.json", {**head, "questions": questions[:5]}
            )
        else:
            annotations = [
                {key: question[key] for key in question if key != "question"} for question in asked
            ]
            _write(root / f"v2_mscoco_{coco}_annotations.json", {**head, "annotations": annotations})
    return root


def write_cp(v2: Path, root: Path) -> Path:
    """Write VQA-CP v2 into a folder, from ``v2``, where the images stay. Returns the folder.

    The questions about an image are divided among both splits, so that most images are in both.
    """
    root.mkdir(parents=True, exist_ok=True)
    for field in ("questions", "annotations"):
        flat = []
        for coco in ("train2014", "val2014"):
            name = f"v2_OpenEnded_mscoco_{coco}" if field == "questions" else f"v2_mscoco_{coco}"
            records = json.loads((v2 / f"{name}_{field}.json").read_text())[field]
            flat += [{**record, "coco_split": coco} for record in records]
        for split, rest in (("train", (0, 1, 3)), ("test", (2,))):
            chosen = [
                record for record in flat if record["question_id"] % 4 in rest and record["image_id"] != 103
            ]
            chosen += [record for record in flat if record["image_id"] == 103 and split == "test"]
            _write(root / f"vqacp_v2_{split}_{field}.json", chosen)
    return root


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _draw(root: Path, coco: str, image: int) -> list[dict[str, Any]]:
    """A picture of some discs of one colour, and three questions about it with their annotations."""
    chance = random.Random(image)
    color, count = chance.choice(sorted(_COLORS)), chance.randint(1, 3)
    picture = Image.new("RGB", (48, 32), (235, 235, 235))
    for place in range(count):
        ImageDraw.Draw(picture).ellipse((2 + 15 * place, 8, 14 + 15 * place, 20), fill=_COLORS[color])
    picture.save(root / coco / f"COCO_{coco}_{image:012d}.jpg", quality=95)
    words = ["zero", "one", "two", "three"]
    is_red = "yes" if color == "red" else "no"
    numbers = [str(count)] * 6 + [words[count]] * 2 + ["4", "many"]
    colors = [color] * 8 + [f"the {color}", "pink"]
    asked = [
        ("What color are the discs?", "what color are the", "other", colors),
        ("How many discs are there?", "how many", "number", numbers),
        ("Is there a red disc?", "is there a", "yes/no", [is_red] * 10),
    ]
    if image % 2:  # the same answers to questions of other types
        asked = [
            ("What is the discs' color?", "what is the", "other", colors),
            ("What number of discs is there?", "what number", "number", numbers),
            ("Are the discs red?", "are the", "yes/no", [is_red] * 10),
        ]
    return [
        {
            "question_id": image * 1000 + number,
            "image_id": image,
            "question": question,
            "question_type": kind,
            "answer_type": answer_type,
            "multiple_choice_answer": answers[0],
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": place}
                for place, answer in enumerate(answers, 1)
            ],
        }
        for number, (question, kind, answer_type, answers) in enumerate(asked)
    ]
