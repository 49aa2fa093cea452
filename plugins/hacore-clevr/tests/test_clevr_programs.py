"""Programs give what a plain executor over lists of objects gives, and wrong ones are named by node."""

import re

import pytest
from hacore_clevr.domain import ATTRIBUTES, RELATIONS
from hacore_clevr.programs import FUNCTIONS, ProgramError, World, execute, members, steps, unfold
from hypothesis import assume, given, settings
from hypothesis import strategies as st


@st.composite
def scenes(draw):
    """A scene with any attributes and any relations."""
    count = draw(st.integers(0, 7))
    subsets = st.lists(st.integers(0, max(count - 1, 0)), unique=True, max_size=count)
    return {
        "objects": [
            {name: draw(st.sampled_from(values)) for name, values in ATTRIBUTES.items()} for _ in range(count)
        ],
        "relationships": {name: [draw(subsets) for _ in range(count)] for name in RELATIONS},
    }


def plainly(program, scene):
    """Outputs of the nodes, sets as sorted lists; None from a unique of other than one object on."""
    objects, outputs = scene["objects"], []
    for node in program:
        name, values = node["function"], node["value_inputs"]
        given_ = [outputs[place] for place in node["inputs"]]
        if None in given_:
            outputs.append(None)
            continue
        verb, _, rest = name.partition("_")
        first = given_[0] if given_ else None
        if name == "scene":
            result = list(range(len(objects)))
        elif name == "unique":
            result = first[0] if len(first) == 1 else None
        elif name == "relate":
            result = sorted(scene["relationships"][values[0]][first])
        elif name == "count":
            result = len(first)
        elif name == "exist":
            result = len(first) > 0
        elif name == "union":
            result = sorted(set(first) | set(given_[1]))
        elif name == "intersect":
            result = sorted(set(first) & set(given_[1]))
        elif name == "less_than":
            result = first < given_[1]
        elif name == "greater_than":
            result = first > given_[1]
        elif verb == "equal":
            result = first == given_[1]
        elif verb == "filter":
            result = [i for i in first if objects[i][rest] == values[0]]
        elif verb == "query":
            result = objects[first][rest]
        else:
            result = [
                i for i in range(len(objects)) if i != first and objects[i][rest] == objects[first][rest]
            ]
        outputs.append(result)
    return outputs


@st.composite
def programs(draw):
    """A program whose every node takes what it should."""
    program, kinds = [], []
    for _ in range(draw(st.integers(1, 14))):
        fitting = [
            name for name, function in FUNCTIONS.items() if all(kind in kinds for kind in function.inputs)
        ]
        function = FUNCTIONS[name := draw(st.sampled_from(fitting))]
        program.append(
            {
                "function": name,
                "inputs": [
                    draw(st.sampled_from([place for place, its in enumerate(kinds) if its == kind]))
                    for kind in function.inputs
                ],
                "value_inputs": [draw(st.sampled_from(allowed)) for allowed in function.values],
            }
        )
        kinds.append(function.output)
    return program, kinds


@settings(deadline=None, max_examples=400)
@given(scenes(), programs())
def test_every_node_gives_what_the_plain_executor_gives(scene, typed_program):
    program, kinds = typed_program
    expected = plainly(program, scene)
    world = World.from_scene(scene)
    if None in expected:
        node = expected.index(None)
        with pytest.raises(ProgramError, match=r"objects, not one") as error:
            steps(program, world)
        assert error.value.node == node
        return
    outputs = [
        members(output) if kind == "a set of objects" else output
        for output, kind in zip(steps(program, world), kinds, strict=True)
    ]
    assert outputs == expected
    # The public generator's field names mean the same.
    other = [
        {"type": node["function"], "inputs": node["inputs"], "side_inputs": node["value_inputs"]}
        for node in program
    ]
    assert steps(other, world) == steps(program, world)


def test_every_function_of_the_data_is_there():
    named = {"scene", "unique", "relate", "count", "exist", "union", "intersect"}
    named |= {"equal_integer", "less_than", "greater_than"}
    named |= {f"{verb}_{name}" for verb in ("filter", "query", "same", "equal") for name in ATTRIBUTES}
    assert set(FUNCTIONS) == named


SCENE = {
    "objects": [
        {"color": "red", "shape": "cube", "size": "large", "material": "metal"},
        {"color": "red", "shape": "sphere", "size": "small", "material": "rubber"},
        {"color": "blue", "shape": "cube", "size": "small", "material": "metal"},
    ],
    # From left to right: 0, 1, 2.
    "relationships": {
        "left": [[], [0], [0, 1]],
        "right": [[1, 2], [2], []],
        "front": [[]] * 3,
        "behind": [[]] * 3,
    },
}


def node(function, *inputs, values=()):
    return {"function": function, "inputs": list(inputs), "value_inputs": list(values)}


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ([node("scene"), node("count", 0)], "3"),
        ([node("scene"), node("filter_color", 0, values=["red"]), node("count", 1)], "2"),
        ([node("scene"), node("filter_count", 0, values=["metal", "cube"])], "2"),
        ([node("scene"), node("filter_exist", 0, values=["blue", "sphere"])], "no"),
        ([node("scene"), node("filter_unique", 0, values=["small", "cube"]), node("query_color", 1)], "blue"),
        (
            [
                node("scene"),
                node("filter_unique", 0, values=["blue", "", "cube"]),
                node("relate_filter_unique", 1, values=["left", "sphere"]),
                node("same_color", 2),
                node("unique", 3),
                node("query_material", 4),
            ],
            "metal",
        ),
        (
            [
                node("scene"),
                node("filter_unique", 0, values=["large"]),
                node("relate_filter_count", 1, values=["right", "small"]),
                node("relate_filter_exist", 1, values=["left"]),
                node("relate_filter", 1, values=["right", "rubber"]),
                node("count", 4),
                node("less_than", 5, 2),
            ],
            "yes",
        ),
    ],
)
def test_answers_are_strings_and_composites_are_understood(program, answer):
    world = World.from_scene(SCENE)
    assert execute(program, world) == answer
    plain = unfold(program)
    assert all(step["function"] in FUNCTIONS for step in plain)
    assert execute(plain, world) == answer


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([], "the program has no nodes"),
        ([node("scene"), node("counts", 0)], "node 1 (counts): unknown function 'counts'"),
        ([{"inputs": []}], "node 0 (no function): unknown function ''"),
        ([node("count", 0)], "node 0 (count): input 0 is not an earlier node"),
        ([node("scene"), node("count", 2), node("scene")], "node 1 (count): input 2 is not an earlier node"),
        ([node("scene"), node("count", -1)], "node 1 (count): input -1 is not an earlier node"),
        ([node("scene"), node("filter_count", 1, values=["red"])], "input 1 is not an earlier node"),
        ([node("scene"), node("count")], "node 1 (count): has 0 inputs; it takes 1"),
        ([{"function": "scene", "inputs": None}], "node 0 (scene): has None inputs; it takes 0"),
        ([node("scene", values=["red"])], "node 0 (scene): has 1 values; it takes 0"),
        ([node("scene"), node("filter_size", 0, values=["big"])], "value 'big'; must be one of small, large"),
        (
            [node("scene"), node("filter_exist", 0, values=["big"])],
            "value 'big' is not a value of any attribute",
        ),
        (
            [node("scene"), node("query_size", 0)],
            "input 0 is a set of objects; must be an object",
        ),
        ([node("scene"), node("unique", 0)], "node 1 (unique): its input has 3 objects, not one"),
        ([node("scene")], "node 0 (scene): gives a set of objects, which is not an answer"),
        (
            [
                node("scene"),
                node("filter_unique", 0, values=["blue"]),
                node("query_size", 1),
                node("query_shape", 1),
                node("equal_size", 2, 3),
            ],
            "node 5 (equal_size): input 4 is a shape; must be a size",
        ),
    ],
)
def test_a_wrong_program_names_its_node(program, message):
    with pytest.raises(ProgramError, match=re.escape(message)):
        execute(program, World.from_scene(SCENE))


@settings(deadline=None)
@given(scenes())
def test_a_wrong_scene_is_named(scene):
    count = len(scene["objects"])
    assume(count)
    scene["objects"][-1]["color"] = "pink"
    with pytest.raises(ValueError, match=f"^object {count - 1}: color 'pink'; must be one of gray, red, "):
        World.from_scene(scene)
    scene["objects"][-1]["color"] = "red"
    scene["relationships"]["front"][0] = [count]
    with pytest.raises(ValueError, match=rf"^relationships.front\[0\]: \[{count}\] must name objects from 0"):
        World.from_scene(scene)
    scene["relationships"]["front"] = scene["relationships"]["front"][1:]
    with pytest.raises(ValueError, match=r"^relationships.front: must be a list with an entry for each of"):
        World.from_scene(scene)
