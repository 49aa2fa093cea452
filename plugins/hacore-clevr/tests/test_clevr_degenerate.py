"""No part of a made question is useless, and ``useless_node`` finds what plain sets find."""

import random
from collections import Counter

import attrs
import pytest
from hacore_clevr.domain import ATTRIBUTES, RELATIONS
from hacore_clevr.generate.degenerate import useless_node
from hacore_clevr.generate.questions import BLOCK, make_questions
from hacore_clevr.generate.templates import load_templates
from hacore_clevr.programs import ProgramError, World, execute


def made_scene(index, rng):
    """A scene with random attributes and places; it is seen along the second axis."""
    things = [
        {name: rng.choice(values) for name, values in ATTRIBUTES.items()}
        | {"3d_coords": [rng.uniform(-3, 3), rng.uniform(-3, 3), 0.5]}
        for _ in range(rng.randint(3, 10))
    ]
    sign_axis = {"left": (-1, 0), "right": (1, 0), "front": (-1, 1), "behind": (1, 1)}

    def standing(relation, to):
        sign, axis = sign_axis[relation]
        origin = things[to]["3d_coords"][axis]
        return [
            other for other, thing in enumerate(things) if sign * (thing["3d_coords"][axis] - origin) > 0.2
        ]

    return {
        "image_filename": f"CLEVR_train_{index:06d}.png",
        "image_index": index,
        "objects": things,
        "relationships": {name: [standing(name, to) for to in range(len(things))] for name in RELATIONS},
    }


@pytest.fixture(scope="module")
def scenes():
    rng = random.Random(3)
    return [made_scene(index, rng) for index in range(96)]


@pytest.fixture(scope="module")
def questions(scenes):
    return make_questions(scenes, 10, 0, "train", load_templates())


def sets_read(program, scene, replaced=None, stand_in=None):
    """The sets that unique, count and exist read, in order, up to the first unique without an answer.

    stand_in: what the node ``replaced`` gives, "scene" or which of its inputs.
    """
    objects, outputs, read = scene["objects"], [], []
    for place, node in enumerate(program):
        verb, _, rest = node["function"].partition("_")
        given = [outputs[one] for one in node["inputs"]]
        if place == replaced:
            result = set(range(len(objects))) if stand_in == "scene" else given[stand_in]
        elif verb == "scene":
            result = set(range(len(objects)))
        elif verb == "filter":
            result = {one for one in given[0] if objects[one][rest] == node["value_inputs"][0]}
        elif verb == "relate":
            result = set(scene["relationships"][node["value_inputs"][0]][given[0]])
        elif verb == "same":
            result = {one for one, thing in enumerate(objects) if thing[rest] == objects[given[0]][rest]} - {
                given[0]
            }
        elif verb == "union":
            result = given[0] | given[1]
        elif verb == "intersect":
            result = given[0] & given[1]
        elif verb in ("unique", "count", "exist"):
            read.append(given[0])
            if verb == "unique" and len(given[0]) != 1:
                return read
            result = min(given[0], default=None)
        else:
            result = None
        outputs.append(result)
    return read


def plainly_useless(program, scene):
    expected = sets_read(program, scene)
    for place, node in enumerate(program):
        stand_ins = {"relate": ["scene"], "union": [0, 1], "intersect": [0, 1]}.get(node["function"], [])
        if any(sets_read(program, scene, place, stand_in) == expected for stand_in in stand_ins):
            return place
    return None


def test_no_made_question_has_a_useless_part(scenes, questions):
    joined = 0
    for question in questions:
        functions = {node["function"] for node in question["program"]}
        joined += bool(functions & {"relate", "union", "intersect"})
        assert plainly_useless(question["program"], scenes[question["image_index"]]) is None, question
    assert joined > len(questions) // 3


def test_useless_parts_are_those_that_plain_sets_find(scenes, questions):
    """Programs of made questions with other values, on other scenes; most are not valid there."""
    rng, counts = random.Random(5), Counter()
    for question in questions * 12:
        scene = rng.choice(scenes)
        program = []
        for node in question["program"]:
            values, verb = node["value_inputs"], node["function"].partition("_")
            if values and rng.random() < 0.5:
                values = [rng.choice(RELATIONS if verb[0] == "relate" else ATTRIBUTES[verb[2]])]
            program.append({**node, "value_inputs": values})
        world = World.from_scene(scene)
        try:
            execute(program, world)
        except ProgramError:
            continue
        expected = plainly_useless(program, scene)
        useless = useless_node(program, world)
        if useless is not None and program[useless]["function"] not in ("relate", "union", "intersect"):
            assert expected is None or expected > useless  # both sides of a comparison are the same
            counts["same"] += 1
            continue
        assert useless == expected
        counts["useful" if useless is None else program[useless]["function"]] += 1
    assert min(counts[name] for name in ("useful", "relate", "union")) > 20, counts


def node(function, *inputs, values=()):
    return {"function": function, "inputs": list(inputs), "value_inputs": list(values)}


def test_a_comparison_of_a_thing_with_itself_is_useless(scenes):
    red = [node("scene"), node("filter_color", 0, values=["red"]), node("count", 1)]
    again = [node("scene"), node("filter_color", 3, values=["red"]), node("count", 4)]
    world = World.from_scene(scenes[0])
    assert useless_node([*red, *again, node("equal_integer", 2, 5)], world) == 6
    again[1] = node("filter_color", 3, values=["blue"])
    assert useless_node([*red, *again, node("equal_integer", 2, 5)], world) is None


def test_families_and_answers_are_balanced(scenes, questions):
    """96 images, 960 questions, 90 families: each is asked about eleven times."""
    families = Counter(question["question_family_index"] for question in questions)
    assert set(families) == set(range(90))
    assert max(families.values()) <= 2 * min(families.values())
    blocks = {}
    for question in questions:
        key = (question["image_index"] // BLOCK, question["question_family_index"])
        blocks.setdefault(key, Counter())[question["answer"]] += 1
    assert len(blocks) == 180
    for counts in blocks.values():
        first, second, *_ = [*sorted(counts.values(), reverse=True), 0, 0]
        assert first <= 1.1 * (second + 1) + 1  # each block starts with one answer counted once already


def test_a_family_with_a_single_answer_is_hardly_asked(scenes):
    """As the first of the official compare_integer, whose constraint leaves "no" alone."""
    templates = load_templates()
    assert templates[0].nodes[4].function == "equal_integer"
    always_no = attrs.evolve(templates[0], different=((1, 3),))
    asked = make_questions(scenes, 10, 0, "train", [always_no, *templates[1:]])
    answers = [question["answer"] for question in asked if question["question_family_index"] == 0]
    blocks = {scene["image_index"] // BLOCK for scene in scenes}
    assert set(answers) <= {"no"}
    assert len(answers) <= 2 * len(blocks)
    assert len(asked) == 10 * len(scenes)  # other families take its place


@pytest.mark.slow
def test_no_answer_of_a_family_stands_out():
    """640 images: seventy questions a family; none of its answers has more than 60% of them."""
    rng = random.Random(4)
    asked = make_questions([made_scene(index, rng) for index in range(640)], 10, 1, "train", load_templates())
    answers = {}
    for question in asked:
        answers.setdefault(question["question_family_index"], Counter())[question["answer"]] += 1
    assert len(answers) == 90
    assert max(max(counts.values()) / counts.total() for counts in answers.values()) < 0.6
