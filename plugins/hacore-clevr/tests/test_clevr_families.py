"""Question types of data without programs: the family's number says what a program would end with."""

import json

import pytest
from hacore_clevr import Config, PrepareConfig
from hacore_clevr.dataset import Clevr
from hacore_clevr.domain import QUESTION_TYPES
from hacore_clevr.generate.templates import load_templates
from hacore_clevr.official import questions_file, read_questions
from hacore_clevr.prepare import prepare

from hacore.data_tools import Silent

# The package's templates are numbered as those of CLEVR v1.0 and end with the same functions.
FUNCTIONS = [template.nodes[-1].function.split("filter_")[-1] for template in load_templates()]


def rewrite(root, split, change):
    """Apply ``change`` to every question of a split."""
    path = questions_file(root, split)
    content = json.loads(path.read_text())
    for number, question in enumerate(content["questions"]):
        change(number, question)
    path.write_text(json.dumps(content))


def without_program(number, question):
    del question["program"]
    question["question_family_index"] = number % 90


def functions_of(columns):
    return ["" if number < 0 else QUESTION_TYPES[number] for number in columns.function]


@pytest.fixture
def large(make_official, tmp_path):
    """As many questions as there are families."""
    return make_official(tmp_path / "large", {"train": 23, "val": 1})


def test_every_family_of_the_released_data_has_its_type(large):
    rewrite(large, "train", without_program)
    columns, problems = read_questions(large, "train", None)
    assert problems == []
    assert functions_of(columns)[:90] == FUNCTIONS
    assert columns.family.tolist()[:90] == list(range(90))


def test_scores_by_group_need_no_programs(large, tmp_path):
    for split in ("train", "val"):
        rewrite(large, split, without_program)
    prepare(PrepareConfig(root=str(large), output=str(tmp_path / "pack"), size=(8, 12), workers=1), Silent())
    data = Clevr(Config(root=str(tmp_path / "pack"), size=(8, 12)))
    assert data.question_types[:3] == ("0 equal_integer", "1 less_than", "2 greater_than")
    assert "unknown" not in data.question_types
    named = [data.question_types[number] for number in data.questions("train").type[:90]]
    assert named == [f"{family} {function}" for family, function in enumerate(FUNCTIONS)]
    assert data.groups["count"][:2] == ("25 count", "31 count")


def test_a_program_has_the_last_word_and_other_numbers_have_no_type(large):
    def change(number, question):
        if number == 0:
            question["question_family_index"] = 89
        elif number in (1, 2):
            del question["program"]
            question["question_family_index"] = (-1, 90)[number - 1]

    rewrite(large, "train", change)
    columns, problems = read_questions(large, "train", None)
    assert problems == []
    assert functions_of(columns)[:3] == ["count", "", ""]


def test_the_public_generator_counts_within_a_template_file(large):
    """It names the file beside the number; a family has one number all the same."""

    def change(number, question):
        if number % 4:
            del question["program"]
        question["question_family_index"] = number % 3
        question["template_filename"] = ("zero_hop.json", "one_hop.json", "mine.json")[number // 3 % 3]

    rewrite(large, "train", change)
    columns, problems = read_questions(large, "train", None)
    assert problems == []
    assert columns.family.tolist()[:9] == [84, 85, 86, 72, 73, 74, 0, 1, 2]
    assert functions_of(columns)[1:3] == ["exist", "query_shape"]


def test_the_templates_of_the_package_have_the_numbers_of_the_released_questions():
    """As public examples of released questions have them, and readers who found the order of the files."""
    templates = load_templates()
    firsts = {template.file.removesuffix(".json"): template.family for template in reversed(templates)}
    assert firsts == {
        "compare_integer": 0,
        "comparison": 9,
        "three_hop": 25,
        "single_and": 31,
        "same_relate": 36,
        "single_or": 64,
        "one_hop": 72,
        "two_hop": 78,
        "zero_hop": 84,
    }
    graphs = [[node.function for node in template.nodes] for template in templates]
    assert graphs[2] == ["scene", "filter_count", "scene", "filter_count", "greater_than"]
    assert graphs[39] == ["scene", "filter_unique", "same_shape", "exist"]
    assert graphs[46] == ["scene", "filter_unique", "same_material", "filter_exist"]
    assert graphs[89] == ["scene", "filter_unique", "query_size"]
