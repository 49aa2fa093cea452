"""``hacore data verify clevr``: nothing is found in a right folder, and each thing wrong is named."""

import json
import warnings

import pytest
from hacore_clevr import PrepareConfig, VerifyConfig
from hacore_clevr.objects import Scenes
from hacore_clevr.prepare import prepare
from hacore_clevr.verify import verify

from hacore.cli import main
from hacore.data_tools import Silent
from hacore.errors import DataError


def problems(root, **options):
    return list(verify(VerifyConfig(root=str(root), **options), Silent()).problems)


def change(root, kind, split, make):
    """Rewrite a file of the folder; make changes the list in it."""
    path = root / kind / f"CLEVR_{split}_{kind}.json"
    content = json.loads(path.read_text())
    make(content[kind])
    path.write_text(json.dumps(content))
    return path


def test_nothing_is_found_in_a_right_folder(official):
    outcome = verify(VerifyConfig(root=str(official)), Silent())
    assert outcome.problems == ()
    assert outcome.summary["train"] == {
        "images": 6,
        "scenes": 6,
        "questions": 24,
        "answers computed again": 24,
    }
    # As the public generator writes it, and without answers.
    assert outcome.summary["val"]["answers computed again"] == 12
    assert outcome.summary["test"] == {
        "images": 2,
        "scenes": "no file",
        "questions": 8,
        "answers computed again": 0,
    }


def test_prepared_data_are_refused_with_the_way_to_data_that_can_be_verified(official, tmp_path, names):
    packed = tmp_path / "packed"
    prepare(PrepareConfig(root=str(official), size=(8, 8), workers=1, output=str(packed)), Silent())
    with pytest.raises(DataError) as caught:
        problems(packed)
    names(str(caught.value), f"{packed}:", "prepared data", "without --packed")


def test_changed_answers_are_found_in_both_formats(official, names):
    train = change(official, "questions", "train", lambda all_: all_[5].update(answer="purple"))
    val = change(official, "questions", "val", lambda all_: all_[3].update(answer=False))
    first, second = problems(official)
    names(first, f"{train}:", "question 5:", "'purple'", "'red'")
    names(second, f"{val}:", "question 3:", "'no'", "'yes'")


def test_programs_that_are_not_valid_are_found_with_their_node(official, names):
    def spoil(asked):
        asked[0]["program"][1]["inputs"] = [2]  # node 2 takes node 1: a cycle
        asked[1]["program"][3]["inputs"] = [0]
        asked[2]["program"][0] = 7
        asked[3]["program"][1]["value_inputs"] = ["round"]

    path = change(official, "questions", "train", spoil)
    for number, (problem, parts) in enumerate(
        zip(
            problems(official),
            [
                ["node 1 (filter_color):", "input 2", "earlier node"],
                ["node 3 (unique):", "3 objects"],
                ["nodes", "inputs and values"],
                ["node 1 (filter_shape):", "'round'", "cube, sphere, cylinder"],
            ],
            strict=True,
        )
    ):
        names(problem, f"{path}:", f"question {number}:", *parts)


def test_missing_and_damaged_images_are_found(official, names):
    folder = official / "images" / "train"
    (folder / "CLEVR_train_000001.png").unlink()
    cut = folder / "CLEVR_train_000002.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    other = folder / "CLEVR_train_000009.png"
    other.write_bytes((folder / "CLEVR_train_000003.png").read_bytes())
    scenes = official / "scenes" / "CLEVR_train_scenes.json"
    messages = problems(official)
    questions = official / "questions" / "CLEVR_train_questions.json"
    names(messages[0], f"{questions}:", "4 questions (4, 5, 6, 7)")
    names(messages[1], f"{scenes}:", "scene 1:", "CLEVR_train_000001.png", "missing", str(folder))
    names(messages[2], f"{other}:", "no scene")
    names(messages[3], f"{cut}:", "read", "unpack or generate it again")
    assert len(messages) == 4
    assert problems(official, pictures=False) == messages[:3]


def test_cut_files_are_found_and_the_rest_is_checked(official):
    for kind in ("questions", "scenes"):
        path = official / kind / f"CLEVR_train_{kind}.json"
        path.write_text(path.read_text()[:-300])
    messages = problems(official)
    assert sum("is cut off after" in line for line in messages) >= 2
    assert sum("CLEVR_val" in line for line in messages) == 0


def test_wrong_scenes_are_found(official):
    def spoil(scenes):
        scenes[0]["relationships"]["left"][1] = []
        scenes[1]["objects"][2]["shape"] = "cone"
        scenes[2]["image_index"] = 3
        del scenes[4]["directions"]

    path = change(official, "scenes", "train", spoil)
    messages = problems(official)
    assert f"{path}: scene 0: relationships.left[1] is []; by the coordinates it is [0]" in messages
    assert f"{path}: scene 1: object 2: shape 'cone'; must be one of cube, sphere, cylinder" in messages
    assert f"{path}: scene 3: image_index 3 was used before" in messages
    assert f"{path}: scene 4: has no 'directions'" in messages
    asked = official / "questions" / "CLEVR_train_questions.json"
    assert f"{asked}: question 8: image_index 2 has no scene" in messages


def test_the_command_names_everything_and_fails(official, capsys):
    with pytest.raises(SystemExit) as left:
        main(["data", "verify", "clevr", str(official)])
    assert not left.value.code
    assert "answers computed again: 24" in capsys.readouterr().out
    change(
        official,
        "questions",
        "train",
        lambda all_: [question.update(answer="rubber") for question in all_[:3]],
    )
    with pytest.raises(SystemExit) as left:
        main(["data", "verify", "clevr", str(official)])
    assert left.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    named = [line for line in captured.err.splitlines() if line.startswith("hacore: ")]
    assert len(named) == 4
    assert named[-1] == "hacore: 3 problems found"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda scene: scene["directions"].update(left=[1.0, 0.0]), "directions.left"),
        (lambda scene: scene["directions"].pop("right"), "'right'"),
        (lambda scene: scene["objects"][0].update({"3d_coords": [10**400, 0, 0]}), "scene 0"),
        (lambda scene: scene["objects"][0].update({"3d_coords": [1e308, 0, 0]}), "3d_coords"),
        (lambda scene: scene["objects"][0].update({"3d_coords": [float("nan"), 0, 0]}), "3d_coords"),
        (lambda scene: scene["objects"][0].update({"3d_coords": [1, 2]}), "scene 0"),
        (lambda scene: scene["objects"][0].update(shape=["cube"]), "shape"),
        (lambda scene: scene.update(relationships=[]), "scene 0"),
    ],
)
def test_scenes_of_other_numbers_are_named(official, names, damage, words):
    path = change(official, "scenes", "train", lambda scenes: damage(scenes[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (first, *_) = problems(official)
    names(first, f"{path}:", "scene 0")
    assert words in first


@pytest.mark.parametrize("index", [[1], {}, 2**63, None])
def test_questions_about_no_scene_are_named(official, names, index):
    path = change(official, "questions", "train", lambda questions: questions[4].update(image_index=index))
    names(" ".join(problems(official)), f"{path}:", "question 4")


@pytest.mark.parametrize("depth", [0, 1e-320, "near", 10**400])
def test_scenes_of_impossible_depths_are_left_out_of_the_objects(official, depth):
    path = official / "scenes" / "CLEVR_train_scenes.json"
    scenes = json.loads(path.read_text())["scenes"]
    scenes[0]["objects"][0]["pixel_coords"][2] = depth
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = Scenes.read(scenes)
    assert sorted(read.worlds) == sorted(read.boxes) == [scene["image_filename"] for scene in scenes[1:]]
