"""Files of a run that another program wrote again: read with a byte order mark, else named."""

import json
import shutil

import pytest
from hacore_report.predictions import read_predictions

import hacore
from hacore.errors import HacoreError
from hacore.runs.metrics import read_metrics
from hacore.spec import load_spec

SPEC = 'extends = "base.toml"\nname = "child"\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_table):
    table = small_table("marked", train={"steps": 2, "threads": 1}, eval={"baseline_steps": 1})
    runs = tmp_path_factory.mktemp("runs")
    folder, _ = hacore.run(hacore.resolve(table), runs=runs, device="cpu", report=False)
    return folder.path


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of a finished run."""
    return hacore.RunFolder(shutil.copytree(finished, tmp_path / "run"))


def rewrite(folder, codec):
    for path in [*folder.path.rglob("*.json*"), folder.spec_file]:
        path.write_bytes(path.read_bytes().decode().replace("\n", "\r\n").encode(codec))


def read(folder):
    """What the files say, as plain values."""
    predictions = read_predictions(folder.predictions_file(folder.result().split))
    return [
        folder.result().as_dict(),
        folder.spec(),
        [line.as_dict() for line in read_metrics(folder.metrics_file)],
        [line.as_dict() for line in predictions],
    ]


def test_with_a_mark_they_say_the_same(folder):
    before = read(folder)
    assert all(before)
    rewrite(folder, "utf-8-sig")
    assert read(folder) == before
    assert hacore.load(folder, device="cpu").summary.vocabulary


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_in_another_encoding_each_is_named(folder, names, codec):
    predictions = folder.predictions_file(folder.result().split)
    rewrite(folder, codec)
    damaged = []
    assert read_metrics(folder.metrics_file, damaged=damaged.append) == []
    names(damaged[0], f"{folder.metrics_file}:", "UTF-16", "save it as UTF-8")
    for path, use in {
        folder.result_file: folder.result,
        folder.spec_file: folder.spec,
        predictions: lambda: read_predictions(predictions),
    }.items():
        with pytest.raises(HacoreError) as caught:
            use()
        names(str(caught.value), f"{path}:", "UTF-16", "save it as UTF-8")
    problems = []
    assert read_metrics(folder.metrics_file, damaged=problems.append) == []
    names(problems[0], f"{folder.metrics_file}:", "UTF-16", "save it as UTF-8")


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_spec_and_what_it_extends(folder, tmp_path, names, codec):
    (tmp_path / "base.toml").write_bytes(folder.spec_file.read_text().encode(codec))
    (tmp_path / "child.toml").write_bytes(SPEC.encode("utf-8-sig"))
    if codec == "utf-8-sig":
        assert load_spec(tmp_path / "child.toml").name == "child"
    else:
        with pytest.raises(HacoreError) as caught:
            load_spec(tmp_path / "child.toml")
        names(str(caught.value), f"{tmp_path / 'base.toml'}:", "UTF-16", "save it as UTF-8")


def test_ids_of_any_size_in_predictions(folder):
    path = folder.predictions_file(folder.result().split)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ids = [2**63, 10**30, -(2**70), *range(3, len(lines))]
    path.write_text(
        "".join(json.dumps({**line, "id": number}) + "\n" for line, number in zip(lines, ids, strict=True))
    )
    assert [line.id for line in read_predictions(path)] == ids
