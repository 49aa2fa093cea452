"""Packs of earlier versions: those of CLEVR's own files, whose alpha is opaque, are kept."""

import json
import re
import shlex

import pytest
from hacore_clevr import Config, PrepareConfig
from hacore_clevr.dataset import Clevr
from hacore_clevr.prepare import prepare
from PIL import Image

from hacore.cli import main
from hacore.data_tools import Silent
from hacore.errors import DataError
from hacore.pictures import READER

SIZE = (6, 10)


def age(folder):
    described = json.loads((folder / "pack.json").read_text())
    assert described.pop("reader") == READER
    (folder / "pack.json").write_text(json.dumps(described))


def reader(folder):
    return json.loads((folder / "pack.json").read_text()).get("reader")


def cut_out(official):
    path = official / "images" / "val" / "CLEVR_val_000001.png"
    image = Image.open(path)
    image.putalpha(90)
    image.save(path)
    return path


def test_a_pack_of_opaque_files_is_kept(official, tmp_path):
    config = Config(root=str(official), size=SIZE)
    before = Clevr(config).fingerprint
    (folder,) = (path.parent for path in (tmp_path / "cache").rglob("pack.json"))
    age(folder)
    assert Clevr(config).fingerprint == before
    assert reader(folder) == READER
    age(folder)
    path = cut_out(official)
    with pytest.raises(
        DataError, match=rf"{path.name}.*transparency.*: hacore data prepare clevr .*--size 6 10"
    ):
        Clevr(config)


def test_a_prepared_folder_of_cut_outs_is_refused_and_renewed(official, tmp_path):
    folder = tmp_path / "the pack"
    prepare(PrepareConfig(root=str(official), output=str(folder), size=SIZE), Silent())
    age(folder)
    Clevr(Config(root=str(folder), size=SIZE))
    age(folder)
    cut_out(official)
    with pytest.raises(DataError) as caught:
        Clevr(Config(root=str(folder), size=SIZE))
    (command,) = re.findall(r"by: (hacore data prepare .*)$", str(caught.value))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(shlex.split(command)[1:])
    assert reader(folder) == READER
    assert Clevr(Config(root=str(folder), size=SIZE)).splits == ("train", "val", "test")
