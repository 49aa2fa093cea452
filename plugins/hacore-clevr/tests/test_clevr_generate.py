"""``hacore data generate clevr``: whole data sets that any reader of the format takes, made again alike."""

import json
import shutil
from hashlib import sha256

import attrs
import numpy as np
import pytest
from hacore_clevr import Config, GenerateConfig, PrepareConfig, VerifyConfig
from hacore_clevr.dataset import Clevr
from hacore_clevr.domain import ANSWERS, COLORS
from hacore_clevr.generate.command import REPORT, generate, plan_of
from hacore_clevr.generate.layout import CONDITION_A, CONDITION_B
from hacore_clevr.generate.parts import VERSION, Split
from hacore_clevr.generate.templates import load_templates
from hacore_clevr.pack import check_pack
from hacore_clevr.prepare import prepare
from hacore_clevr.verify import verify
from hacore_packing.writer import PackWriter
from PIL import Image

from hacore.cli import main
from hacore.data_tools import Silent
from hacore.errors import DataError

SIZE = (32, 48)


class Stop(Silent):
    """Interrupts after ``after`` reports of progress."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def progress(self, what, done, total):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def make(output, tell=None, **options):
    options = {"images": 100, "size": SIZE, "questions_per_image": 2, "workers": 1, **options}
    return generate(GenerateConfig(output=str(output), device="cpu", **options), tell or Silent())


def files(folder):
    """Digests of all files by their names."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(folder, kind, split):
    return json.loads((folder / kind / f"CLEVR_{split}_{kind}.json").read_text())


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory):
    """200 images, 2,000 questions."""
    folder = tmp_path_factory.mktemp("generated") / "data"
    outcome = make(folder, images=200, questions_per_image=10, workers=2)
    assert outcome.problems == ()
    return folder


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """What ``make`` gives with its own options."""
    folder = tmp_path_factory.mktemp("some") / "data"
    make(folder)
    return folder


def found_in(folder):
    return list(verify(VerifyConfig(root=str(folder)), Silent()).problems)


def test_every_answer_of_200_images_and_2000_questions_is_right(round_trip):
    outcome = verify(VerifyConfig(root=str(round_trip)), Silent())
    assert outcome.problems == ()
    assert [outcome.summary[split] for split in ("train", "val", "test")] == [
        {"images": count, "scenes": count, "questions": 10 * count, "answers computed again": 10 * count}
        for count in (140, 30, 30)
    ]


def test_damage_is_found_and_named(round_trip, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(round_trip, folder)
    path = folder / "questions" / "CLEVR_val_questions.json"
    content = read(folder, "questions", "val")
    asked = content["questions"]
    right = asked[7]["answer"]
    asked[7]["answer"] = next(answer for answer in ANSWERS if answer != right)
    program = asked[11]["program"]
    program[1]["inputs"] = [len(program) - 1]
    path.write_text(json.dumps(content))
    (folder / "images" / "train" / "CLEVR_train_000003.png").unlink()
    cut = folder / "images" / "test" / "CLEVR_test_000002.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    scenes = folder / "scenes" / "CLEVR_test_scenes.json"
    scenes.write_bytes(scenes.read_bytes()[:-2000])
    problems = found_in(folder)

    def named(*words):
        return [line for line in problems if all(word in line for word in words)]

    assert named(f"{path}: question 7: answer '{asked[7]['answer']}'; its program gives '{right}'")
    assert named(f"{path}: question 11:", "node 1")
    assert named("CLEVR_train_000003.png", "questions")
    assert named(str(cut))
    assert named(str(scenes))


def test_files_have_the_official_fields(round_trip):
    question = read(round_trip, "questions", "train")["questions"][13]
    assert sorted(question) == [
        "answer",
        "image_filename",
        "image_index",
        "program",
        "question",
        "question_family_index",
        "question_index",
        "split",
    ]
    assert (question["question_index"], question["image_index"], question["split"]) == (13, 1, "train")
    assert all(sorted(node) == ["function", "inputs", "value_inputs"] for node in question["program"])
    scene = read(round_trip, "scenes", "train")["scenes"][1]
    assert sorted(scene) == [
        "directions",
        "image_filename",
        "image_index",
        "objects",
        "relationships",
        "split",
    ]
    with Image.open(round_trip / "images" / "train" / scene["image_filename"]) as image:
        assert (image.size, image.mode) == ((48, 32), "RGB")


def test_questions_are_numbered_over_the_whole_split(round_trip):
    asked = read(round_trip, "questions", "train")["questions"]
    assert [question["question_index"] for question in asked] == list(range(1400))
    assert [question["image_index"] for question in asked] == sorted(
        question["image_index"] for question in asked
    )


def test_the_report_lies_beside_the_data(round_trip):
    report = json.loads((round_trip / REPORT).read_text())
    assert list(report["splits"]) == ["train", "val", "test"]
    assert report["splits"]["val"]["questions"] == 300
    assert set(report["splits"]["train"]["answers"]) <= set(ANSWERS)
    assert report["plan"]["seed"] == 0


@pytest.mark.parametrize("packed", [False, True])
def test_processes_make_the_same_files(tmp_path, packed):
    for workers in (1, 3):
        make(tmp_path / str(workers), workers=workers, packed=packed)
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_another_seed_makes_other_files(some, tmp_path):
    make(tmp_path / "other", seed=1)
    here, there = files(some), files(tmp_path / "other")
    assert here.keys() == there.keys()
    assert not [name for name in here if here[name] == there[name]]


def test_packed_holds_what_the_official_files_hold(some, tmp_path):
    make(tmp_path / "packed", packed=True)
    assert check_pack(tmp_path / "packed") == []
    outcome = prepare(
        PrepareConfig(root=str(some), size=SIZE, output=str(tmp_path / "prepared"), workers=1), Silent()
    )
    assert outcome.problems == ()
    one, other = (Clevr(Config(root=str(tmp_path / name), size=SIZE)) for name in ("packed", "prepared"))
    assert one.vocabulary == other.vocabulary
    assert one.question_types == other.question_types
    assert (one.image_mean, one.image_std) == (other.image_mean, other.image_std)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.images(split), other.images(split))
        for name, column in attrs.asdict(one.questions(split)).items():
            np.testing.assert_array_equal(column, getattr(other.questions(split), name), err_msg=name)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 7])
def test_goes_on_after_an_interruption(tmp_path, packed, after):
    """Two blocks of train, one of val and one of test are drawn, then asked about."""
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "some", Stop(after), packed=packed)
    assert not (tmp_path / "some").exists()
    outcome = make(tmp_path / "some", packed=packed)
    drawn = [64, 70, 85, 100][min(after, 4) - 1]
    assert outcome.summary["pictures drawn"] == 100 - drawn
    make(tmp_path / "whole", packed=packed)
    assert files(tmp_path / "some") == files(tmp_path / "whole")


def test_other_options_do_not_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "some", Stop(2))
    assert make(tmp_path / "some", seed=3).summary["pictures drawn"] == 100
    make(tmp_path / "whole", seed=3)
    assert files(tmp_path / "some") == files(tmp_path / "whole")


def test_what_is_there_already_is_kept(some):
    before = files(some)
    outcome = make(some)
    assert outcome.summary["already generated"] == str(some)
    assert outcome.summary["questions"] == {"train": 140, "val": 30, "test": 30}
    with pytest.raises(DataError, match=r"other options.*seed, questions"):
        make(some, seed=1, questions_per_image=3)
    assert files(some) == before


@pytest.mark.parametrize("packed", [False, True])
def test_data_of_an_older_version_is_kept_or_made_anew(tmp_path, packed):
    folder = tmp_path / "data"
    make(folder, images=3, packed=packed)
    new = files(folder)
    path = folder / REPORT
    report = json.loads(path.read_text())
    report["plan"]["version"] -= 1
    path.write_text(json.dumps(report))
    older = files(folder)
    with pytest.raises(DataError, match=rf"version {VERSION - 1}.*--older keep.*--older renew"):
        make(folder, images=3, packed=packed)
    with pytest.raises(DataError, match=r"other options.*seed"):
        make(folder, images=3, packed=packed, seed=1, older="renew")
    assert "already generated" in make(folder, images=3, packed=packed, older="keep").summary
    assert files(folder) == older
    assert make(folder, images=3, packed=packed, older="renew").summary["pictures drawn"] == 3
    assert files(folder) == new


def test_other_files_are_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="holds files other than generated data"):
        make(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_nothing_is_left_beside_the_folder(tmp_path):
    make(tmp_path / "data", images=3)
    assert {path.name for path in tmp_path.iterdir()} - {".data.lock", "cache"} == {"data"}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "images",
        "questions",
        REPORT,
        "scenes",
    ]


def test_cogent_restricts_colors_by_split(tmp_path):
    make(tmp_path / "cogent", images=40, cogent=True, val_images=12, test_images=8)
    pairs = {}
    for split, count in {"trainA": 20, "valA": 12, "testA": 8, "valB": 12, "testB": 8}.items():
        scenes = read(tmp_path / "cogent", "scenes", split)["scenes"]
        assert len(scenes) == count
        allowed = CONDITION_A if split.endswith("A") else CONDITION_B
        pairs[split] = {(thing["shape"], thing["color"]) for scene in scenes for thing in scene["objects"]}
        assert all(color in allowed[shape] for shape, color in pairs[split])
    assert {color for shape, color in pairs["trainA"] if shape == "sphere"} == set(COLORS)
    assert found_in(tmp_path / "cogent") == []
    assert Clevr(Config(root=str(tmp_path / "cogent"), size=SIZE)).splits == (
        "train",
        "val",
        "test",
        "valB",
        "testB",
    )


def test_numbers_of_objects_are_an_option(tmp_path):
    make(tmp_path / "few", images=40, min_objects=4, max_objects=5)
    scenes = read(tmp_path / "few", "scenes", "train")["scenes"]
    assert {len(scene["objects"]) for scene in scenes} == {4, 5}


def test_splits_have_the_shares_of_clevr():
    assert plan_of(GenerateConfig(images=100_000)).splits == (
        Split(name="train", count=70_000),
        Split(name="val", count=15_000),
        Split(name="test", count=15_000),
    )
    chosen = plan_of(GenerateConfig(images=5000, val_images=400, test_images=100)).splits
    assert [split.count for split in chosen] == [4500, 400, 100]


def test_a_users_templates_are_asked(tmp_path):
    wording = {
        "text": ["What number of <C> things are there?"],
        "nodes": [
            {"type": "scene", "inputs": []},
            {"type": "filter_color", "side_inputs": ["<C>"], "inputs": [0]},
            {"type": "count", "inputs": [1]},
        ],
        "params": [{"type": "Color", "name": "<C>"}],
        "constraints": [],
    }
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / "mine.json"
    path.write_text(json.dumps([wording]))
    make(tmp_path / "data", images=10, templates=str(tmp_path / "own"))
    texts = {question["question"] for question in read(tmp_path / "data", "questions", "train")["questions"]}
    assert texts
    assert all(text.startswith("What number of ") for text in texts)
    assert found_in(tmp_path / "data") == []
    wording["text"] = ["How many <C> things?"]
    path.write_text(json.dumps([wording]))
    with pytest.raises(DataError, match="other: templates_sha256"):
        make(tmp_path / "data", images=10, templates=str(tmp_path / "own"))


def test_families_are_chosen_by_their_file(tmp_path):
    make(tmp_path / "data", images=40, questions_per_image=12, families=("zero_hop", "single_and"))
    chosen = load_templates(only=("zero_hop", "single_and"))
    assert {template.file for template in chosen} == {"zero_hop.json", "single_and.json"}
    asked = read(tmp_path / "data", "questions", "train")["questions"]
    assert {question["question_family_index"] for question in asked} == {
        template.family for template in chosen
    }
    every = {template.family: template for template in load_templates()}
    assert len(every) == 90
    assert all(every[template.family].nodes == template.nodes for template in chosen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 3, "val_images": 2}, r"images = 3.*val takes 2.*test 1"),
        ({"min_objects": 5, "max_objects": 4}, r"min_objects = 5.*max_objects = 4"),
        ({"families": ("zero_hop", "one_hip")}, r"one_hip.*compare_integer, "),
        ({"templates": "nowhere"}, "templates cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_said(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        make(tmp_path / "data", **options)
    assert not list(tmp_path.glob("data*"))


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PackWriter, "write", full)
    with pytest.raises(DataError, match=r"No space left on device.*run again to resume"):
        make(tmp_path / "data", images=3, packed=True)
    monkeypatch.undo()
    assert make(tmp_path / "data", images=3, packed=True).summary["pictures drawn"] == 3


def test_from_the_command_line(tmp_path, capsys):
    command = ["data", "generate", "clevr"]
    options = ["--images", "10", "--questions-per-image", "4", "--seed", "7", "--size", "32", "48"]
    with pytest.raises(SystemExit) as left:
        main([*command, *options, "--output", str(tmp_path / "data")])
    assert not left.value.code
    text = capsys.readouterr().out
    assert "train: 8\n" in text
    assert "compare attribute: " in text
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 1
    assert "output is not set" in capsys.readouterr().err
