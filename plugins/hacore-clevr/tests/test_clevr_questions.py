"""Made questions are right by the independent executor of ``hacore_clevr.programs``, balanced and clean."""

import json
import re
from collections import Counter, defaultdict

import pytest
from hacore_clevr.domain import GROUPS
from hacore_clevr.generate.questions import BLOCK, make_block, make_questions
from hacore_clevr.generate.scenes import draw_scenes, scene_records
from hacore_clevr.generate.templates import load_templates
from hacore_clevr.programs import FUNCTIONS, World, execute

from hacore.errors import DataError


@pytest.fixture(scope="module")
def scenes():
    """Two blocks and a half."""
    count = 2 * BLOCK + BLOCK // 2
    return scene_records(*draw_scenes(5, "train", 0, count), "train", 0)


@pytest.fixture(scope="module")
def templates():
    return load_templates()


@pytest.fixture(scope="module")
def questions(scenes, templates):
    return make_questions(scenes, 10, 5, "train", templates)


def test_every_answer_is_right_and_every_program_plain(scenes, questions):
    worlds = {scene["image_index"]: World.from_scene(scene) for scene in scenes}
    assert len(questions) == 10 * len(scenes)
    for question in questions:
        assert all(node["function"] in FUNCTIONS for node in question["program"])
        assert execute(question["program"], worlds[question["image_index"]]) == question["answer"]


def test_the_fields_are_the_official_ones(scenes, questions):
    assert [question["question_index"] for question in questions] == list(range(len(questions)))
    names = {scene["image_index"]: scene["image_filename"] for scene in scenes}
    for question in questions:
        assert set(question) == {
            *("split", "image_filename", "image_index", "question", "program", "answer"),
            *("question_family_index", "question_index"),
        }
        assert question["split"] == "train"
        assert question["image_filename"] == names[question["image_index"]]
        for node in question["program"]:
            assert set(node) == {"function", "inputs", "value_inputs"}


def test_there_are_90_families_and_all_of_them_ask(templates, questions):
    assert len(templates) == 90
    assert {question["question_family_index"] for question in questions} == set(range(90))
    last = {question["program"][-1]["function"] for question in questions}
    assert last <= {function for functions in GROUPS.values() for function in functions}


def test_no_image_is_asked_the_same_twice(questions):
    asked = defaultdict(list)
    for question in questions:
        asked[question["image_index"]].append(question["question"])
    assert all(len(set(texts)) == len(texts) for texts in asked.values())


def test_questions_read_as_english(questions):
    for question in questions:
        text = question["question"]
        assert text[0].isupper()
        assert text.endswith("?")
        assert not re.search(r"[<>\[\]{}]|  |\s[?.,;]|\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text


def test_yes_and_no_are_balanced(questions):
    answers = Counter(question["answer"] for question in questions)
    share = answers["yes"] / (answers["yes"] + answers["no"])
    assert 0.4 < share < 0.6


def test_blocks_made_apart_and_in_any_order_are_the_same(scenes, questions, templates):
    for block in (2, 0):
        some = [scene for scene in scenes if scene["image_index"] // BLOCK == block]
        block_questions = list(
            make_block(some, count=10, seed=5, split="train", block=block, templates=templates)
        )
        wanted = [question for question in questions if question["image_index"] // BLOCK == block]
        for mine, whole in zip(block_questions, wanted, strict=True):
            assert mine | {"question_index": 0} == whole | {"question_index": 0}
    other = make_questions(scenes[:BLOCK], 10, 6, "train", templates)
    assert [question["question"] for question in other] != [
        question["question"] for question in questions[: len(other)]
    ]


def test_a_folder_of_templates_loads_and_its_mistakes_are_all_named(tmp_path):
    good = {
        "text": ["How many <Z> <C> <M> <S>s are there?"],
        "nodes": [
            {"type": "scene", "inputs": []},
            {"type": "filter_count", "inputs": [0], "side_inputs": ["<Z>", "<C>", "<M>", "<S>"]},
        ],
        "params": [
            {"type": "Size", "name": "<Z>"},
            {"type": "Color", "name": "<C>"},
            {"type": "Material", "name": "<M>"},
            {"type": "Shape", "name": "<S>"},
        ],
        "constraints": [],
    }
    (tmp_path / "mine.json").write_text(json.dumps([good]))
    assert len(load_templates(tmp_path)) == 1
    bad_node = {**good, "nodes": [{"type": "scenes", "inputs": []}, good["nodes"][1]]}
    bad_rule = {**good, "constraints": [{"type": "ALL_NEQ", "params": ["<C>"]}]}
    (tmp_path / "mine.json").write_text(json.dumps([good, bad_node, bad_rule]))
    (tmp_path / "cut.json").write_text("[{")
    with pytest.raises(DataError) as error:
        load_templates(tmp_path)
    for words in ("cut.json", "scenes", "ALL_NEQ"):
        assert words in str(error.value)
