"""Folders of templates: what loads, what is refused with all its mistakes, and how wordings are said."""

import copy
import json
import random
import re
from collections import Counter

import pytest
from hacore_clevr.generate.stream import Stream
from hacore_clevr.generate.templates import load_templates
from hacore_clevr.generate.wording import fitting, parse_wording, word

from hacore.errors import DataError

DESCRIBED = {"<Z>": "size", "<C>": "color", "<M>": "material", "<S>": "shape"}
TWICE = DESCRIBED | {f"{slot[:-1]}2>": kind for slot, kind in DESCRIBED.items()}

FAMILY = {
    "text": ["Is there a <Z> <C> <M> <S> [that is] <R> the <Z2> <C2> <M2> <S2>?"],
    "nodes": [
        {"type": "scene", "inputs": []},
        {"type": "filter_unique", "inputs": [0], "side_inputs": ["<Z2>", "<C2>", "<M2>", "<S2>"]},
        {"type": "relate_filter_exist", "inputs": [1], "side_inputs": ["<R>", "<Z>", "<C>", "<M>", "<S>"]},
    ],
    "params": [
        {"type": kind, "name": f"<{letter}{number}>"}
        for number in ("", "2")
        for letter, kind in {"Z": "Size", "C": "Color", "M": "Material", "S": "Shape"}.items()
    ]
    + [{"type": "Relation", "name": "<R>"}],
    "constraints": [{"type": "NULL", "params": ["<Z2>"]}],
    "note": "keys that are not known are left alone",
}


def test_the_families_are_those_of_the_paper():
    templates = load_templates()
    assert [template.family for template in templates] == list(range(90))
    assert Counter(template.file.removesuffix(".json") for template in templates) == {
        "compare_integer": 9,
        "comparison": 16,
        "one_hop": 6,
        "same_relate": 28,
        "single_and": 5,
        "single_or": 8,
        "three_hop": 6,
        "two_hop": 6,
        "zero_hop": 6,
    }
    last = Counter(
        re.sub("^filter_|^relate_filter_", "", template.nodes[-1].function) for template in templates
    )
    assert last["count"] == 21
    assert last["exist"] == 12
    assert sum(last[f"query_{name}"] for name in DESCRIBED.values()) == 32
    assert sum(last[f"equal_{name}"] for name in DESCRIBED.values()) == 16
    assert last["equal_integer"] == last["less_than"] == last["greater_than"] == 3
    assert min(len(template.wordings) for template in templates) >= 3


def test_every_wording_of_the_package_says_every_value():
    for template in load_templates():
        slots = {slot for node in template.nodes for slot in node.slots} - template.empty
        for wording in template.wordings:
            assert slots <= wording.slots, wording.text
            assert wording.text.endswith("?")


def write(folder, *families):
    (folder / "mine.json").write_text(json.dumps(families))


def test_a_folder_of_ones_own_loads(tmp_path):
    write(tmp_path, FAMILY)
    (tmp_path / "notes.txt").write_text("not a template")
    (template,) = load_templates(tmp_path)
    assert (template.file, template.family) == ("mine.json", 0)
    assert template.empty == {"<Z2>"}


def spoiled(change):
    family = copy.deepcopy(FAMILY)
    change(family)
    return family


MISTAKES = {
    "params is missing": lambda family: family.pop("params"),
    "params: {'type': 'Size'} has no name such as <Z2>": lambda family: family["params"].append(
        {"type": "Size"}
    ),
    "parameter <Z9>: type 'Length' is not one of": lambda family: family["params"].append(
        {"type": "Length", "name": "<Z9>"}
    ),
    "parameter <Z8>: type ['Size'] is not one of": lambda family: family["params"].append(
        {"type": ["Size"], "name": "<Z8>"}
    ),
    "parameter <C> is declared twice": lambda family: family["params"].append(family["params"][1]),
    "node 1: unknown type 'filter_one'": lambda family: family["nodes"][1].update(type="filter_one"),
    "node 1: input 2 of filter_unique is not a node before it": lambda family: family["nodes"][1].update(
        inputs=[2]
    ),
    "node 1: inputs of filter_unique are []; 1 expected": lambda family: family["nodes"][1].update(inputs=[]),
    "node 2: relate_filter_exist reads an object, but node 0 gives": lambda family: family["nodes"][2].update(
        inputs=[0]
    ),
    "node 1: side_inputs of filter_unique are ['<Z2>']; 4 expected": lambda family: family["nodes"][1].update(
        side_inputs=["<Z2>"]
    ),
    "node 2: side input '<R7>' of relate_filter_exist is not a parameter": lambda family: family["nodes"][2][
        "side_inputs"
    ].__setitem__(0, "<R7>"),
    "node 2: relate_filter_exist takes a relation, but <Z> is a size": lambda family: family["nodes"][2][
        "side_inputs"
    ].__setitem__(0, "<Z>"),
    "the last node gives an object, which is not an answer": lambda family: family["nodes"].pop(),
    "nodes: at least one is expected": lambda family: family.update(nodes=[]),
    "text: at least one wording is expected": lambda family: family.update(text=[]),
    "text 0: slot <Q> is not a parameter of params": lambda family: family.update(text=["Is <Q> there?"]),
    "text 0: the brackets of 'Is [the [big]] <S> there?' do not match": lambda family: family.update(
        text=["Is [the [big]] <S> there?"]
    ),
    "text: no wording says all of the parameters": lambda family: family.update(text=["Is there a <S>?"]),
    "constraint 0: type 'ALL_NEQ' is not one of NULL, OUT_NEQ": lambda family: family.update(
        constraints=[{"type": "ALL_NEQ", "params": [0, 1]}]
    ),
    "constraint 0: '<R>' is not a parameter of params that can be empty": lambda family: family.update(
        constraints=[{"type": "NULL", "params": ["<R>"]}]
    ),
    "constraint 0: params of OUT_NEQ are [1, 7]; give two different nodes": lambda family: family.update(
        constraints=[{"type": "OUT_NEQ", "params": [1, 7]}]
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_named_with_file_and_family(tmp_path, message):
    write(tmp_path, FAMILY, spoiled(MISTAKES[message]))
    with pytest.raises(DataError) as error:
        load_templates(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{tmp_path}: ")
    assert any(line.startswith(f"mine.json: family 1: {message}") for line in lines), lines
    assert not any("family 0" in line for line in lines)


def test_all_mistakes_of_all_files_are_named_at_once(tmp_path):
    write(tmp_path, *[spoiled(change) for change in MISTAKES.values()])
    (tmp_path / "cut.json").write_text("[{")
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(DataError) as error:
        load_templates(tmp_path)
    lines = str(error.value).splitlines()
    for index, message in enumerate(MISTAKES):
        assert any(line.startswith(f"mine.json: family {index}: {message}") for line in lines)
    assert any(line.startswith("cut.json: cannot be read as JSON") for line in lines)
    assert "table.json: a list of families is expected" in lines
    assert lines[0] == f"{tmp_path}: {len(lines) - 1} found in question templates; fix them:"


def test_a_folder_without_templates_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=f"{folder}: .*name a folder of .json files"):
            load_templates(folder)


def sayings(text, values, parameters=TWICE):
    """Everything that a wording can say."""
    values = dict.fromkeys(parameters, "") | values
    wording = parse_wording(text, parameters)
    return {word(wording, values, Stream(seed, "test", 0)) for seed in range(300)}


def test_synonyms_and_optional_words():
    assert sayings("Is a <Z> <C> <M> <S> [out] there?", {"<Z>": "large", "<S>": "cube"}) == {
        f"Is a {size} {shape}{out} there?"
        for size in ("large", "big")
        for shape in ("cube", "block")
        for out in ("", " out")
    }
    assert sayings("<C> <S>s, are there any?", {"<C>": "red"}) == {
        "Red things, are there any?",
        "Red objects, are there any?",
    }


def test_articles_fit_what_follows():
    assert sayings("Is a <S> there?", {}) == {"Is a thing there?", "Is an object there?"}
    assert sayings("Is an <S> there?", {"<S>": "cylinder"}) == {"Is a cylinder there?"}


def test_optional_words_around_a_value_are_always_said():
    assert sayings("Is it [in <C> paint]?", {"<C>": "red"}) == {"Is it in red paint?"}
    assert sayings("Is it [in <C> paint]?", {}) == {"Is it?", "Is it in paint?"}


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [("red", "", True), ("red", "red", True), ("", "", True), ("red", "blue", False)],
)
def test_other_is_said_only_of_what_might_be_the_same(first, second, other):
    values = {"<C>": first, "<C2>": second, "<S2>": "cylinder", "<S>": "cylinder"}
    for text in ("Is another <C2> <S2> like the <C> <S>?", "Which other <C2> <S2> is like the <C> <S>?"):
        for sentence in sayings(text, values):
            assert ("other " in sentence) == other
            assert "  " not in sentence


def test_a_wording_that_leaves_out_a_value_is_not_used():
    wordings = [parse_wording(text, DESCRIBED) for text in ("Any <C> <S>?", "Any <S>?")]
    assert fitting(wordings, {"<C>": "red", "<S>": ""}) == wordings[:1]
    assert fitting(wordings, {"<C>": "", "<S>": "cube"}) == wordings


def test_the_longest_template_is_said_in_full():
    """Every slot of every wording, at its longest, is in the sentence, in order, cleanly."""
    full = {"size": "large", "color": "yellow", "material": "metal", "shape": "cylinder", "relation": "left"}
    called = {"large": "large|big", "metal": "metal|metallic|shiny", "left": "left of|left side of"}
    longest, rng = 0, random.Random(0)
    for template in load_templates():
        values = {
            slot: "" if slot in template.empty else full[kind] for slot, kind in template.parameters.items()
        }
        for wording in template.wordings:
            sentence = word(wording, values, Stream(rng.randrange(1000), "test", 0))
            longest = max(longest, len(sentence.split()))
            order = [values[slot] for slot in re.findall(r"<\w+>", wording.text) if values[slot]]
            pattern = ".*".join(f"(?:{called.get(value, value)})" for value in order)
            assert re.search(pattern, sentence, re.IGNORECASE), (wording.text, sentence)
            assert not re.search(r"[<>\[\]]|  | [?,;.]", sentence)
    assert 40 <= longest <= 60
