"""Packs of earlier versions, which ignored EXIF and transparency: kept, or refused with the way out."""

import json
import re
import shlex

import numpy as np
import pytest
from hacore_packing import images as packing
from hacore_packing import prepare as preparation
from hacore_vqa import Config, CpConfig, PrepareConfig
from hacore_vqa.dataset import VqaCpV2, VqaV2
from hacore_vqa.pack import open_pack
from hacore_vqa.prepare import prepare_cp, prepare_v2
from PIL import Image

from hacore.data_tools import Silent
from hacore.errors import DataError
from hacore.pictures import READER, fit, open_picture

SIZE = (8, 12)
TURNED = "val2014/COCO_val2014_000000000103.jpg"


def turn(path):
    """As cameras write: stored upside down, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(path) as file:
        file.convert("RGB").rotate(180).save(path, exif=exif)


def age(folder):
    """What an earlier version would have left: no version, and the old stamps."""
    described = json.loads((folder / "pack.json").read_text())
    assert described.pop("reader") == READER
    described["source"].pop("images", None)
    (folder / "pack.json").write_text(json.dumps(described))


def cached(cache):
    (path,) = cache.rglob("pack.json")
    return path.parent


def renew(hacore, error, folder):
    """Runs the command that an error names."""
    (command,) = re.findall(r"by: (hacore data prepare .*)$", str(error))
    status, _, _ = hacore(*shlex.split(command)[1:])
    assert status == 0
    assert open_pack(folder).reader == READER


@pytest.mark.parametrize("name", ["plain", "with a blank and 'quotes'"])
def test_a_cached_pack_is_refused_only_for_what_reads_differently(make_v2, tmp_path, names, hacore, name):
    root = make_v2(tmp_path / name)
    config = Config(root=str(root), size=SIZE)
    before = VqaV2(config)
    folder = cached(tmp_path / "cache")
    age(folder)
    again = VqaV2(config)
    assert again.fingerprint == before.fingerprint
    assert open_pack(folder).reader == READER  # looked at once
    age(folder)
    turn(root / TURNED)
    with pytest.raises(DataError) as caught:
        VqaV2(config)
    names(str(caught.value), str(folder), TURNED, "EXIF", "hacore data prepare vqa-v2", "--size 8 12")
    renew(hacore, caught.value, folder)
    data = VqaV2(config)
    np.testing.assert_array_equal(data.images("val")[2], fit(open_picture(root / TURNED), SIZE))


def test_a_prepared_folder_is_compared_with_what_it_was_made_from(v2, tmp_path, names, hacore):
    folder = tmp_path / "the pack"
    prepare_v2(PrepareConfig(root=str(v2), output=str(folder), size=SIZE, splits=("train", "val")), Silent())
    age(folder)
    turn(v2 / TURNED)
    config = Config(root=str(folder), size=SIZE)
    with pytest.raises(DataError) as caught:
        VqaV2(config)
    names(str(caught.value), str(folder), TURNED, f"--output '{folder}'")
    renew(hacore, caught.value, folder)
    assert VqaV2(config).splits == ("train", "val")
    age(folder)
    (tmp_path / "vqa2").rename(tmp_path / "elsewhere")  # nothing to compare with: taken as it is
    VqaV2(config)


def test_vqa_cp_looks_where_its_images_are(cp, v2, tmp_path, hacore):
    folder = tmp_path / "pack"
    prepare_cp(PrepareConfig(root=str(cp), images=str(v2), output=str(folder), size=SIZE), Silent())
    described = json.loads((folder / "pack.json").read_text())
    del described["reader"]
    (folder / "pack.json").write_text(json.dumps(described))
    turn(v2 / TURNED)
    with pytest.raises(DataError) as caught:
        VqaCpV2(CpConfig(root=str(folder), size=SIZE))
    renew(hacore, caught.value, folder)
    VqaCpV2(CpConfig(root=str(folder), size=SIZE))


def test_prepare_makes_an_older_pack_again_only_where_needed(v2, tmp_path):
    config = PrepareConfig(root=str(v2), output=str(tmp_path / "pack"), size=SIZE, workers=1)
    turn(v2 / TURNED)
    prepare_v2(config, Silent())
    age(tmp_path / "pack")
    assert prepare_v2(config, Silent()).summary["images decoded"] == 24
    assert "already prepared" in prepare_v2(config, Silent()).summary


def test_rows_of_an_unfinished_pack_of_an_earlier_version_are_decoded_again(v2, tmp_path, monkeypatch):
    config = PrepareConfig(root=str(v2), output=str(tmp_path / "pack"), size=SIZE, workers=1)
    monkeypatch.setattr(packing, "SHARD", 4)
    last = v2 / "test2015" / "COCO_test2015_000000000204.jpg"
    whole = last.read_bytes()
    last.write_bytes(b"cut")
    with monkeypatch.context() as earlier:
        earlier.setattr(preparation, "READER", READER - 1)
        assert prepare_v2(config, Silent()).problems
    last.write_bytes(whole)
    assert prepare_v2(config, Silent()).summary["images decoded"] == 24
