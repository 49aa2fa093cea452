"""A miniature of CLEVR in the official layout, small enough to be made for every test."""

import json

import numpy as np
import pytest
from hacore_clevr import camera
from hacore_clevr.domain import COLORS
from hacore_clevr.generate.layout import LIGHTS, Objects, Views
from PIL import Image

DIRECTIONS = {
    "right": [1.0, 0.0, 0.0],
    "left": [-1.0, 0.0, 0.0],
    "front": [0.0, -1.0, 0.0],
    "behind": [0.0, 1.0, 0.0],
    "above": [0.0, 0.0, 1.0],
    "below": [0.0, 0.0, -1.0],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HACORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def one_scene():
    """one_scene((shape, size, material, color, x, y), ...): views and objects, as render takes them."""
    return scene_of


def scene_of(*things, lights=LIGHTS):
    """A scene of (shape, size, material, color, x, y) from the unmoved camera."""
    columns = [np.array([column]) for column in zip(*things, strict=True)]
    shape, size, material, color, x, y = columns
    objects = Objects(
        shape_IO=shape,
        size_IO=size,
        material_IO=material,
        color_IO=color,
        xy_IO2=np.stack([x, y], -1).astype(float),
        rotation_IO=np.full(shape.shape, 20.0),
    )
    views = Views(
        count_I=np.array([len(things)]),
        camera_I3=np.array([camera.POSITION]),
        lights_I33=np.array([lights]),
    )
    return views, objects


@pytest.fixture(scope="session")
def make_official():
    """Writes a folder; ``counts`` gives the images by split, splits in ``unanswered`` have no answers."""
    return write_official


@pytest.fixture
def official(tmp_path):
    """train of 6 images, val of 3 as the public generator writes it, test of 2 without answers."""
    return write_official(tmp_path / "CLEVR_mini")


def write_official(root, counts=None, unanswered=("test",), generated=("val",), shape=(16, 24)):
    counts = counts or {"train": 6, "val": 3, "test": 2}
    for place, (split, count) in enumerate(counts.items()):
        folder = root / "images" / split
        folder.mkdir(parents=True)
        noise = np.random.default_rng(place)
        for index in range(count):
            pixels = noise.integers(0, 256, (*shape, 4), np.uint8)
            pixels[..., 3] = 255
            Image.fromarray(pixels).save(folder / f"CLEVR_{split}_{index:06d}.png")
        scenes = [scene(split, index) for index in range(count)]
        asked = [question for index in range(count) for question in questions(split, index)]
        for number, question in enumerate(asked):
            question["question_index"] = number
            if split in unanswered:
                for field in ("program", "answer", "question_family_index"):
                    del question[field]
            elif split in generated:
                as_generated(question)
        write_json(root / "questions" / f"CLEVR_{split}_questions.json", split, "questions", asked)
        if split not in unanswered:
            write_json(root / "scenes" / f"CLEVR_{split}_scenes.json", split, "scenes", scenes)
    return root


def write_json(path, split, key, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {"split": split, "version": "1.0"}, key: items}))


def scene(split, index):
    """A large metal cube, a small rubber sphere behind it to its right, a large rubber cylinder."""
    rows = [
        ("cube", "large", "metal", COLORS[index % 8], [-2.0, -1.0, 0.7]),
        ("sphere", "small", "rubber", COLORS[(index + 1) % 8], [0.0, 1.0, 0.35]),
        ("cylinder", "large", "rubber", COLORS[(index + 2) % 8], [2.0, -1.0, 0.7]),
    ]
    objects = [
        {
            "shape": shape,
            "size": size,
            "material": material,
            "color": color,
            "3d_coords": place,
            "pixel_coords": [240 + 60 * int(place[0]), 160 - 30 * int(place[1]), 10.0],
            "rotation": 30.0,
        }
        for shape, size, material, color, place in rows
    ]
    related = {
        relation: [
            [
                other
                for other, thing in enumerate(objects)
                if sum(
                    (b - a) * d
                    for a, b, d in zip(me["3d_coords"], thing["3d_coords"], direction, strict=True)
                )
                > 0.2
            ]
            for me in objects
        ]
        for relation, direction in DIRECTIONS.items()
        if relation not in ("above", "below")
    }
    return {
        "split": split,
        "image_index": index,
        "image_filename": f"CLEVR_{split}_{index:06d}.png",
        "objects": objects,
        "directions": DIRECTIONS,
        "relationships": related,
    }


def questions(split, index):
    """Four questions about ``scene(split, index)``, one of each of four families."""
    first = COLORS[index % 8]
    asked = [
        (f"How many {first} things are there?", ["scene", f"filter_color {first}", "count"], "1"),
        (
            "There is a large cube; what color is it?",
            ["scene", "filter_size large", "filter_shape cube", "unique", "query_color"],
            first,
        ),
        (
            "Is there a ball to the right of the cylinder?",
            [
                "scene",
                "filter_shape cylinder",
                "unique",
                "relate right",
                "filter_shape sphere",
                "exist",
            ],
            "no",
        ),
        (
            "Are there fewer cubes than big things?",
            [
                "scene",
                "filter_shape cube",
                "count",
                "scene",
                "filter_size large",
                "count",
                "less_than 2 5",
            ],
            "yes",
        ),
    ]
    return [
        {
            "split": split,
            "image_filename": f"CLEVR_{split}_{index:06d}.png",
            "image_index": index,
            "question": text,
            "program": program(steps),
            "answer": answer,
            "question_family_index": family,
        }
        for family, (text, steps, answer) in enumerate(asked)
    ]


def program(steps):
    nodes = []
    for number, step in enumerate(steps):
        function, *values = step.split()
        if function == "less_than":
            inputs, values = [int(value) for value in values], []
        else:
            inputs = [] if function == "scene" else [number - 1]
        nodes.append({"inputs": inputs, "function": function, "value_inputs": values})
    return nodes


def as_generated(question):
    """As the public generator writes it: type for function, outputs, numbers and booleans."""
    for node in question["program"]:
        node["type"] = node.pop("function")
        node["_output"] = None
    answer = question["answer"]
    question["answer"] = {"yes": True, "no": False}.get(answer, int(answer) if answer.isdigit() else answer)
