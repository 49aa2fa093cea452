"""A miniature of VQA v2 and VQA-CP v2 in the official format, drawn and written for every test."""

import json
import random

import pytest
from PIL import Image, ImageDraw

from hacore.cli import main

COLORS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
SPLITS = {"train2014": range(1, 13), "val2014": range(101, 109), "test2015": range(201, 205)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_v2():
    """Writes VQA v2 into a folder."""
    return write_v2


@pytest.fixture(scope="session")
def make_cp():
    """Writes VQA-CP v2 into a folder, made of a folder of VQA v2."""
    return write_cp


@pytest.fixture
def v2(tmp_path):
    """12 training, 8 validation and 4 test images, three questions about each."""
    return write_v2(tmp_path / "vqa2")


@pytest.fixture
def cp(v2, tmp_path):
    """The questions of ``v2`` split again; the images stay where they are."""
    return write_cp(v2, tmp_path / "vqacp")


@pytest.fixture
def hacore(capsys):
    """Runs a command line; gives (exit status, standard output, lines of standard error)."""

    def run(*words):
        try:
            main([str(word) for word in words])
            status = 0
        except SystemExit as left:
            status = left.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err.splitlines()

    return run


@pytest.fixture
def change():
    """Changes the content of a JSON file in place."""

    def apply(path, how):
        content = json.loads(path.read_text())
        changed = how(content)
        path.write_text(json.dumps(content if changed is None else changed))

    return apply


def write_v2(root):
    for coco, ids in SPLITS.items():
        (root / coco).mkdir(parents=True)
        asked = [question for image in ids for question in draw(root, coco, image)]
        questions = [{key: it[key] for key in ("image_id", "question", "question_id")} for it in asked]
        head = {"info": {"description": "drawn"}, "task_type": "Open-Ended", "data_subtype": coco}
        write(root / f"v2_OpenEnded_mscoco_{coco}_questions.json", {**head, "questions": questions})
        if coco == "test2015":
            write(
                root / "v2_OpenEnded_mscoco_test-dev2015_questions.json", {**head, "questions": questions[:5]}
            )
        else:
            annotations = [{key: it[key] for key in it if key != "question"} for it in asked]
            write(root / f"v2_mscoco_{coco}_annotations.json", {**head, "annotations": annotations})
    return root


def write_cp(v2, root):
    """Every other question about an image goes to the other split, so that most images are in both."""
    root.mkdir(parents=True, exist_ok=True)
    for field in ("questions", "annotations"):
        flat = []
        for coco in ("train2014", "val2014"):
            name = f"v2_OpenEnded_mscoco_{coco}" if field == "questions" else f"v2_mscoco_{coco}"
            held = json.loads((v2 / f"{name}_{field}.json").read_text())[field]
            flat += [{**it, "coco_split": coco} for it in held]
        for split, rest in (("train", (0, 1, 3)), ("test", (2,))):
            chosen = [it for it in flat if it["question_id"] % 4 in rest and it["image_id"] != 103]
            chosen += [it for it in flat if it["image_id"] == 103 and split == "test"]
            write(root / f"vqacp_v2_{split}_{field}.json", chosen)
    return root


def write(path, content):
    path.write_text(json.dumps(content))


def draw(root, coco, image):
    """A picture of some discs of one colour, and three questions about it with their annotations."""
    chance = random.Random(image)
    color, count = chance.choice(sorted(COLORS)), chance.randint(1, 3)
    picture = Image.new("RGB", (48, 32), (235, 235, 235))
    for place in range(count):
        ImageDraw.Draw(picture).ellipse((2 + 15 * place, 8, 14 + 15 * place, 20), fill=COLORS[color])
    picture.save(root / coco / f"COCO_{coco}_{image:012d}.jpg", quality=95)
    words = ["zero", "one", "two", "three"]
    seen = "yes" if color == "red" else "no"
    numbers = [str(count)] * 6 + [words[count]] * 2 + ["4", "many"]
    colors = [color] * 8 + [f"the {color}", "pink"]
    asked = [
        ("What color are the discs?", "what color are the", "other", colors),
        ("How many discs are there?", "how many", "number", numbers),
        ("Is there a red disc?", "is there a", "yes/no", [seen] * 10),
    ]
    if image % 2:  # the same answers to questions of other types
        asked = [
            ("What is the discs' color?", "what is the", "other", colors),
            ("What number of discs is there?", "what number", "number", numbers),
            ("Are the discs red?", "are the", "yes/no", [seen] * 10),
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
                {"answer": it, "answer_confidence": "yes", "answer_id": place}
                for place, it in enumerate(answers, 1)
            ],
        }
        for number, (question, kind, answer_type, answers) in enumerate(asked)
    ]
