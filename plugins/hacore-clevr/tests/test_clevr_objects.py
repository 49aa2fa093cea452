"""Which objects a question is about, and where they lie: against plain rules, points in space, and pixels."""

import json

import numpy as np
import pytest
from hacore_clevr import Config, GenerateConfig, PrepareConfig, prepare
from hacore_clevr.camera import HEIGHT, POSITION, WIDTH, project
from hacore_clevr.dataset import Clevr
from hacore_clevr.domain import ATTRIBUTES, RADIUS, SIZES
from hacore_clevr.generate.command import generate
from hacore_clevr.generate.layout import SceneOptions
from hacore_clevr.generate.scenes import make_scenes
from hacore_clevr.objects import UNKNOWN, Scenes, object_boxes, relevant_objects
from hacore_clevr.official import image_names, questions_file, scenes_file
from hacore_clevr.programs import World, members
from hacore_packing.packs import file_entry

from hacore.data_tools import Silent
from hacore.errors import DataError

SIZE = (6, 10)


def chain(*steps):
    """Nodes that each take the output of the one before; "scene" begins anew, a tuple names its inputs."""
    nodes = []
    for step in steps:
        text, inputs = step if isinstance(step, tuple) else (step, None)
        function, *values = text.split()
        if inputs is None:
            inputs = [] if function == "scene" else [len(nodes) - 1]
        nodes.append({"function": function, "inputs": inputs, "value_inputs": values})
    return nodes


THINGS = [  # shape, size, material, color; each is left of those after it
    ("cube", "large", "metal", "red"),
    ("sphere", "small", "rubber", "blue"),
    ("cylinder", "small", "rubber", "red"),
    ("sphere", "large", "metal", "green"),
]
SCENE = {
    "objects": [
        dict(zip(("shape", "size", "material", "color"), thing, strict=True)) | {"pixel_coords": [0, 0, 10]}
        for thing in THINGS
    ],
    "relationships": {
        "left": [list(range(place)) for place in range(4)],
        "right": [list(range(place + 1, 4)) for place in range(4)],
        "front": [[] for _ in range(4)],
        "behind": [[] for _ in range(4)],
    },
}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (chain("scene", "filter_color blue", "unique", "query_size"), [1]),
        (chain("scene", "filter_color red", "count"), [0, 2]),
        (chain("scene", "filter_color cyan", "exist"), []),
        # The red things left of the green one: the anchor too.
        (
            chain("scene", "filter_color green", "unique", "relate left", "filter_color red", "count"),
            [0, 2, 3],
        ),
        (chain("scene", "filter_shape cube", "unique", "relate left", "exist"), [0]),
        (chain("scene", "filter_color blue", "unique", "same_shape", "exist"), [1, 3]),
        (
            chain("scene", "filter_size large", "scene", "filter_color blue", ("union", [1, 3]), "count"),
            [0, 1, 3],
        ),
        # Those in both sets, not those in either.
        (
            chain("scene", "filter_size small", "scene", "filter_color red", ("intersect", [1, 3]), "count"),
            [2],
        ),
        (
            chain(
                "scene", "filter_color blue", "count", "scene", "filter_shape cube", "count",
                ("equal_integer", [2, 5]),
            ),
            [0, 1],
        ),
        # The public generator's composites.
        ([{"type": "scene", "inputs": []}, {"type": "filter_unique", "inputs": [0], "side_inputs": ["blue"]},
          {"type": "query_shape", "inputs": [1]}], [1]),
    ],
)  # fmt: skip
def test_a_question_is_about_what_its_program_singles_out(program, expected):
    assert members(relevant_objects(program, World.from_scene(SCENE))) == expected


def test_what_is_not_known_stays_unknown():
    scene = {**SCENE, "image_filename": "a.png"}
    scenes = Scenes.read([scene, {"image_filename": "broken.png"}, "nothing"])
    program = chain("scene", "filter_color blue", "unique", "query_size")
    assert scenes.relevant({"image_filename": "a.png", "program": program}) == 0b10
    for record in (
        {"image_filename": "b.png", "program": program},
        {"image_filename": "broken.png", "program": program},
        {"image_filename": "a.png"},
        {"image_filename": "a.png", "program": chain("scene", "filter_color red", "unique", "query_size")},
        {"image_filename": "a.png", "program": [{}]},
    ):
        assert scenes.relevant(record) == UNKNOWN
    table = scenes.boxes_of(["b.png", "a.png"])
    assert table.shape == (2, 4, 4)
    assert np.isnan(table[0]).all()
    assert not np.isnan(table[1]).any()


@pytest.mark.parametrize("size", SIZES)
def test_the_box_of_a_sphere_holds_its_outline(size):
    radius = RADIUS[SIZES.index(size)]
    noise = np.random.default_rng(0)
    for x, y in noise.uniform(-2.5, 2.5, (20, 2)):
        middle = np.array([x, y, radius])
        surface = noise.normal(size=(2000, 3))
        points = middle + radius * surface / np.linalg.norm(surface, axis=1, keepdims=True)
        projected = project(np.vstack([middle, points])[None], np.array([POSITION]))[0]
        thing = {"size": size, "shape": "sphere", "pixel_coords": projected[0].tolist()}
        left, top, right, bottom = object_boxes({"objects": [thing]})[0]
        outline = projected[1:, :2] / [WIDTH, HEIGHT]
        # To a twentieth of its diameter: nearer points look a little larger.
        slack = 0.05 * (right - left), 0.05 * (bottom - top)
        np.testing.assert_allclose(outline.min(0), [left, top], atol=max(slack))
        np.testing.assert_allclose(outline.max(0), [right, bottom], atol=max(slack))


def test_boxes_lie_on_the_drawn_objects():
    options = SceneOptions(min_objects=1, max_objects=1)
    scenes, pictures = make_scenes(0, "train", 0, 30, options, "cpu", (160, 240))
    shares = []
    for scene, picture in zip(scenes, pictures, strict=True):
        left, top, right, bottom = object_boxes(scene)[0]
        rows = slice(max(0, round(top * 160)), round(bottom * 160))
        columns = slice(max(0, round(left * 240)), round(right * 240))
        # The ground is grey: what has a colour is the object.
        colour = np.ptp(picture.astype(int), axis=0) > 25
        if colour.sum() > 50:
            shares.append(colour[rows, columns].sum() / colour.sum())
    assert len(shares) > 10
    assert np.mean(shares) > 0.9


def prepared(official, folder):
    prepare.prepare(PrepareConfig(root=str(official), output=str(folder), size=SIZE, workers=1), Silent())
    return folder


def test_a_pack_knows_the_objects_of_its_questions(official, tmp_path):
    data = Clevr(Config(root=str(prepared(official, tmp_path / "packed")), size=SIZE))
    assert data.objects("test") is None  # without programs and scenes
    for split, images in (("train", 6), ("val", 3)):
        objects, asked = data.objects(split), data.questions(split)
        assert objects.boxes_IO4.shape == (images, 3, 4)
        assert objects.relevant_QO.shape == (len(asked), 3)
        # The four questions of the miniature: the first color, the large cube, the ball and the
        # cylinder (no ball is right of it), and the cube beside all that is big.
        expected = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]], bool)
        families = np.array([int(data.question_types[kind].split()[0]) for kind in asked.type])
        np.testing.assert_array_equal(objects.relevant_QO, expected[families])


def test_limits_and_dev_keep_objects_with_their_questions(official, tmp_path):
    folder = str(prepared(official, tmp_path / "packed"))
    whole = Clevr(Config(root=folder, size=SIZE))
    parts = Clevr(Config(root=folder, size=SIZE, dev_images=2, train_questions=5))
    objects, dev, train = whole.objects("train"), parts.objects("dev"), parts.objects("train")
    np.testing.assert_array_equal(dev.boxes_IO4, objects.boxes_IO4[4:])
    np.testing.assert_array_equal(dev.relevant_QO, objects.relevant_QO[-8:])
    np.testing.assert_array_equal(train.boxes_IO4, objects.boxes_IO4[:4])
    np.testing.assert_array_equal(train.relevant_QO, objects.relevant_QO[:5])


def without(folder, *names):
    """The pack, as an older version would have made it."""
    path = folder / "train.questions.npz"
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files if name not in names}
    np.savez(path, **columns)
    described = json.loads((folder / "pack.json").read_text())
    described["files"][path.name] = file_entry(path)
    (folder / "pack.json").write_text(json.dumps(described))
    return str(folder)


def test_older_packs_have_no_objects(official, tmp_path):
    folder = without(prepared(official, tmp_path / "packed"), "relevant", "boxes", "attributes", "steps")
    data = Clevr(Config(root=folder, size=SIZE))
    assert data.objects("train") is None
    assert data.program_steps("train") is None
    assert len(data.questions("train")) == 24
    for options in ({"about": "attributes"}, {"train_steps": 3}):
        with pytest.raises(DataError, match=f"data.{next(iter(options))} = .*again"):
            Clevr(Config(root=folder, size=SIZE, **options))


def test_every_object_is_asked_for_its_attributes(official, tmp_path):
    folder = str(prepared(official, tmp_path / "packed"))
    data = Clevr(Config(root=folder, size=SIZE, dev_images=2, about="attributes"))
    for split, first, count in (("train", 0, 4), ("dev", 4, 2), ("val", 0, 3)):
        asked, objects = data.questions(split), data.objects(split)
        name = "val" if split == "val" else "train"
        scenes = json.loads(scenes_file(official, name).read_text())
        expected = [
            (image, place, data.question_types.index(f"query_{attribute}"), thing[attribute])
            for image, scene in enumerate(scenes["scenes"][first : first + count])
            for place, thing in enumerate(scene["objects"])
            for attribute in ATTRIBUTES
        ]
        assert (objects.relevant_QO.sum(1) == 1).all()
        boxes = Scenes.read(scenes["scenes"]).boxes_of(image_names(official, name))[first : first + count]
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        np.testing.assert_array_equal(objects.boxes_IO4, np.concatenate([middle, middle], -1))
        place = objects.relevant_QO.argmax(1).tolist()
        answers = [data.answers[answer] for answer in asked.answer]
        assert list(zip(asked.image.tolist(), place, asked.type.tolist(), answers, strict=True)) == expected
        words = [data.vocabulary[word] for word in asked.words]
        names = [name.removeprefix("query_") for name in data.question_types]
        known = [name if name in data.vocabulary else "<unk>" for name in names]
        assert words == [known[kind] for kind in asked.type]
        assert len(asked.offsets) == len(asked) + 1
    assert set(data.groups["query attribute"]) == set(data.question_types)
    assert data.unanswered == ()
    assert data.fingerprint != Clevr(Config(root=folder, size=SIZE, dev_images=2)).fingerprint


def test_objects_and_empty_places_are_told_apart(official, tmp_path):
    folder = str(prepared(official, tmp_path / "packed"))
    plain = Clevr(Config(root=folder, size=SIZE, about="attributes"))
    data = Clevr(Config(root=folder, size=SIZE, about="attributes", empty_places=40))
    assert data.fingerprint != plain.fingerprint
    asked, objects = data.questions("train"), data.objects("train")
    middles = plain.objects("train").boxes_IO4[..., :2]
    exist = asked.type == data.question_types.index("exist")
    attributes = plain.questions("train")
    assert asked.answer[~exist].tolist() == attributes.answer.tolist()
    assert asked.image[~exist].tolist() == attributes.image.tolist()
    assert (np.diff(asked.image) >= 0).all()
    places, beside = [], 0
    for row in np.flatnonzero(exist):
        (box,) = objects.boxes_IO4[asked.image[row]][objects.relevant_QO[row]]
        assert box[:2].tolist() == box[2:].tolist()
        others = middles[asked.image[row]]
        distance = np.nanmin(np.abs(others - box[:2]).max(-1))
        answer = data.answers[asked.answer[row]]
        assert distance == 0 if answer == "yes" else distance >= 1 / 16
        assert ((box >= 0) & (box < 1)).all()
        places += [(asked.image[row], *box[:2])] if answer == "no" else []
        beside += answer == "no" and distance <= 1 / 8
    assert exist.sum() - len(places) == np.isfinite(middles[..., 0]).sum()
    assert 0.3 < beside / len(places) < 1
    assert len(set(places)) == len(places) > 6 * 20
    again = Clevr(Config(root=folder, size=SIZE, about="attributes", empty_places=40)).objects("train")
    np.testing.assert_array_equal(again.boxes_IO4, objects.boxes_IO4)
    with pytest.raises(ValueError, match=r"empty_places = 3.*about = 'attributes'"):
        Config(empty_places=3)


@pytest.mark.parametrize("name", ["train_questions", "train_steps"])
def test_limits_of_the_data_s_own_questions_do_not_limit_attributes(name):
    with pytest.raises(ValueError, match=f"{name} = 5.*train_images"):
        Config(about="attributes", **{name: 5})


def test_train_may_begin_with_short_programs(official, tmp_path):
    folder = str(prepared(official, tmp_path / "packed"))
    whole = Clevr(Config(root=folder, size=SIZE))
    lengths = {
        record["question_index"]: len(record["program"])
        for record in json.loads(questions_file(official, "train").read_text())["questions"]
    }
    most = sorted(lengths.values())[len(lengths) // 2]
    easy = Clevr(Config(root=folder, size=SIZE, train_steps=most))
    assert whole.program_steps("train").tolist() == [lengths[row] for row in whole.questions("train").ids]
    chosen = [number for number in whole.questions("train").ids if lengths[number] <= most]
    assert 0 < len(chosen) < len(lengths)
    assert easy.questions("train").ids.tolist() == chosen
    assert easy.program_steps("train").tolist() == [lengths[row] for row in chosen]
    assert len(easy.objects("train").relevant_QO) == len(chosen)
    assert len(easy.questions("val")) == len(whole.questions("val"))
    assert easy.fingerprint != whole.fingerprint
    with pytest.raises(DataError, match="train_steps = 2"):
        Clevr(Config(root=folder, size=SIZE, train_steps=2))


def test_generated_packs_have_objects(tmp_path):
    config = GenerateConfig(images=6, val_images=1, test_images=1, packed=True, size=(32, 32), workers=1,
                            output=str(tmp_path / "made"), families=("zero_hop",))  # fmt: skip
    generate(config, Silent())
    data = Clevr(Config(root=str(tmp_path / "made"), size=(32, 32)))
    objects = data.objects("train")
    assert len(objects.boxes_IO4) == 4
    queries = [kind for kind, name in enumerate(data.question_types) if "query" in name]
    asked = np.isin(data.questions("train").type, queries)
    assert (objects.relevant_QO[asked].sum(1) == 1).all()
