"""Files as other programs write them: byte order marks, other encodings, ids of any size, accents."""

import json
import unicodedata

import numpy as np
import pytest
from hacore_clevr import Config, VerifyConfig
from hacore_clevr.dataset import Clevr
from hacore_clevr.generate.templates import digest, load_templates
from hacore_clevr.official import image_names, read_questions, read_scenes
from hacore_clevr.verify import verify

from hacore.console import Silent
from hacore.data import UNKNOWN
from hacore.errors import DataError
from hacore.runs.data_summary import DataSummary

NFC, NFD = "caf\u00e9", "cafe\u0301"


def opened(root):
    return Clevr(Config(root=str(root), size=(8, 12)))


def questions(root, split="train"):
    return root / "questions" / f"CLEVR_{split}_questions.json"


def scenes(root, split="train"):
    return root / "scenes" / f"CLEVR_{split}_scenes.json"


@pytest.fixture
def change():
    """Changes the records of a file of questions or scenes."""

    def apply(path, key, how):
        content = json.loads(path.read_text())
        how(content[key])
        path.write_text(json.dumps(content))

    return apply


def problems_of(root):
    return verify(VerifyConfig(root=str(root)), Silent()).problems


def test_files_with_a_mark_are_the_same_data(official, make_official, tmp_path):
    marked = make_official(tmp_path / "marked")
    for path in marked.glob("*/*.json"):
        path.write_bytes(("\ufeff" + "\r\n" * 100).encode() + path.read_bytes())
    assert opened(marked).fingerprint == opened(official).fingerprint
    assert opened(marked).objects("train") is not None
    assert problems_of(marked) == ()


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le"])
def test_other_encodings_are_named(official, names, codec):
    for path in (questions(official), scenes(official)):
        path.write_bytes(path.read_text().encode(codec))
    _, (problem,) = read_questions(official, "train", image_names(official, "train"))
    names(problem, f"{questions(official)}:", "UTF-16", "save it as UTF-8")
    files = [line.partition(": ")[0] for line in problems_of(official) if "UTF-16" in line]
    assert sorted(files) == sorted([str(questions(official)), str(scenes(official))])


def test_ids_of_any_size(official, change):
    ids = [2**63, -(10**30), *map(float, range(2, 20)), *range(20, 24)]

    def enlarge(records):
        for record, number in zip(records, ids, strict=True):
            record["question_index"] = number
            record["image_index"] += 2**64

    change(questions(official), "questions", enlarge)
    change(
        scenes(official),
        "scenes",
        lambda records: [record.update(image_index=record["image_index"] + 2**64) for record in records],
    )
    assert problems_of(official) == ()
    found = opened(official).questions("train").ids.tolist()
    assert found == [int(number) for number in ids]
    assert {type(number) for number in found} == {int}


@pytest.mark.parametrize("field", ["question_index", "image_index"])
@pytest.mark.parametrize("value", ["12", 1.5, 2.0**53, True, [1]])
def test_ids_that_are_no_whole_numbers_are_named_once(official, change, names, field, value):
    def spoil(records):
        for record in records[4:8]:
            record[field] = value

    change(questions(official), "questions", spoil)
    _, (problem,) = read_questions(official, "train", image_names(official, "train"))
    names(problem, f"{questions(official)}:", "4 questions (4, 5, 6, 7)", field, "must be a whole number")
    assert any(f"'{field}'" in line for line in problems_of(official))


def test_accents_apart_are_the_same_questions(make_official, change, tmp_path):
    data = {}
    for form in ("NFC", "NFD"):
        root = make_official(tmp_path / form)

        def ask(records, form=form):
            for record in records[::3]:
                record["question"] = unicodedata.normalize(form, "Is the CAF\u00c9 na\u00efve?")

        for split in ("train", "val"):
            change(questions(root, split), "questions", ask)
        data[form] = opened(root)
    assert data["NFC"].fingerprint == data["NFD"].fingerprint
    assert NFC in data["NFD"].vocabulary
    for split in ("train", "val"):
        np.testing.assert_array_equal(*(one.questions(split).words for one in data.values()))
    assert UNKNOWN not in data["NFC"].tokenize(f"is the {NFD}")


def test_names_of_images_in_either_form(official, change):
    """macOS lists names with accents apart; the files name them as they were typed."""
    folder = official / "images" / "train"
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("CLEVR", NFD))

    def rename(records):
        for record in records:
            record["image_filename"] = record["image_filename"].replace("CLEVR", NFC)

    change(questions(official), "questions", rename)
    change(scenes(official), "scenes", rename)
    assert problems_of(official) == ()
    names = image_names(official, "train")
    read = read_scenes(official, "train")
    columns, problems = read_questions(official, "train", names, read)
    assert problems == []
    assert sorted(set(columns.image.tolist())) == list(range(6))
    assert (columns.relevant >= 0).all()
    assert np.isfinite(read.boxes_of(names)).all()


def test_models_of_earlier_data_find_their_words():
    """Vocabularies of earlier versions hold words as the data spelled them."""
    summary = DataSummary(
        vocabulary=("<pad>", "<unk>", NFD, "na\u00efve", "red"),
        answers=("yes",),
        image_size=(3, 8, 8),
        image_mean=(0.0,) * 3,
        image_std=(1.0,) * 3,
        word_vectors=0,
        fingerprint="earlier",
    )
    words = Clevr.split_words(f"{NFD} {NFC} nai\u0308ve na\u00efve red blue")
    assert summary.number(words) == [2, 2, 3, 3, 4, UNKNOWN]
    assert summary.number([NFD, "nai\u0308ve"]) == [2, 3]


@pytest.fixture
def templates(tmp_path):
    """A folder with one family that asks about a café, and a function that writes it again."""
    folder = tmp_path / "templates"
    folder.mkdir()
    family = {
        "text": [f"How many <Z> <C> <M> <S> are in the {NFC}?"],
        "nodes": [
            {"type": "scene", "inputs": []},
            {"type": "filter_count", "inputs": [0], "side_inputs": ["<Z>", "<C>", "<M>", "<S>"]},
        ],
        "params": [
            {"type": kind, "name": f"<{kind[0] if kind != 'Size' else 'Z'}>"}
            for kind in ("Size", "Color", "Material", "Shape")
        ],
    }

    def write(form="NFC", codec="utf-8"):
        text = unicodedata.normalize(form, json.dumps([family], ensure_ascii=False))
        (folder / "one.json").write_bytes(text.encode(codec))
        return folder

    return write


def test_templates_in_any_form(templates, names):
    folder = templates()
    expected, checksum = load_templates(folder), digest(folder)
    templates(codec="utf-8-sig")
    assert (load_templates(folder), digest(folder)) == (expected, checksum)
    assert load_templates(templates("NFD")) == expected
    with pytest.raises(DataError) as caught:
        load_templates(templates(codec="utf-16"))
    names(str(caught.value).splitlines()[1], "one.json:", "UTF-16", "UTF-8")
