"""Packs of earlier versions are kept where every picture still reads the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from hacore_packing import readers
from hacore_packing.packs import Pack
from hacore_packing.readers import otherwise_read
from PIL import Image

from hacore.pictures import READER

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (12, 16, 3)).astype(np.uint8)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def alpha(least):
    return Image.fromarray(np.dstack([COLOURS, RANDOM.integers(least, 256, (12, 16)).astype(np.uint8)]))


@pytest.fixture
def pack(tmp_path):
    """An opened pack of an earlier version."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "pack.json").write_text('{"format": "old"}')
    values = {"size": (8, 8), "mean": (0.0,), "std": (1.0,), "source": None, "fingerprint": "x", "reader": 1}
    return Pack(folder=folder, **values)


@pytest.fixture
def save(tmp_path):
    """save(image, "name.png", ...): a file among 30 plain ones; gives all."""
    for number in range(30):
        Image.fromarray(COLOURS).save(tmp_path / f"plain{number:02d}.jpg", exif=turned(1))

    def run(image, name, **options):
        image.save(tmp_path / name, **options)
        return [path for path in tmp_path.iterdir() if path.is_file()]

    return run


@pytest.mark.parametrize(
    ("image", "name", "options"),
    [
        (Image.fromarray(COLOURS), "it.jpg", {"exif": turned(6)}),
        (Image.fromarray(COLOURS), "it.png", {"exif": turned(3)}),
        (Image.fromarray(COLOURS), "it.webp", {"exif": turned(2), "lossless": True}),
        (Image.fromarray(np.full((4, 4), 30_000, np.uint16)), "it.png", {}),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), "it.tif", {}),
        (Image.fromarray(np.full((4, 4), 7.5, np.float32)), "it.tif", {}),
        (alpha(0), "it.png", {}),
        (alpha(0).convert("LA"), "it.tif", {}),
        (Image.fromarray(COLOURS[..., 0]), "it.png", {"transparency": int(COLOURS[0, 0, 0])}),
    ],
)
def test_one_picture_that_reads_differently_is_found(pack, save, image, name, options):
    files = save(image, name, **options)
    assert Path(otherwise_read(pack, files)).name == name
    assert "reader" not in json.loads((pack.folder / "pack.json").read_text())


@pytest.mark.parametrize(
    ("image", "name", "options"),
    [
        (alpha(255), "it.png", {}),  # as in CLEVR
        (Image.fromarray(COLOURS[..., 0]), "it.jpg", {}),  # some of COCO are grey
        (Image.fromarray(COLOURS).convert("CMYK"), "it.jpg", {}),
        (Image.fromarray(COLOURS), "it.tif", {"exif": turned(6)}),  # Pillow itself turns TIFF
        (Image.fromarray(COLOURS).quantize(9), "it.png", {}),
        (Image.fromarray(np.zeros((4, 4), np.uint16)), "it.png", {}),
    ],
)
def test_a_pack_of_pictures_that_read_the_same_is_kept_and_marked(pack, save, image, name, options):
    files = save(image, name, **options)
    assert otherwise_read(pack, files) is None
    assert json.loads((pack.folder / "pack.json").read_text()) == {"format": "old", "reader": READER}


def test_plain_photographs_are_not_decoded(pack, save, monkeypatch):
    monkeypatch.setattr(readers, "open_picture", None)
    assert otherwise_read(pack, save(Image.fromarray(COLOURS), "it.jpg")) is None


def test_few_of_many_pngs_are_decoded(pack, tmp_path, monkeypatch):
    for number in range(200):
        alpha(255).save(tmp_path / f"it{number:03d}.png")
    decoded = []
    monkeypatch.setattr(readers, "_reads_differently", lambda path: decoded.append(Path(path).name))
    assert otherwise_read(pack, tmp_path.glob("*.png")) is None
    assert len(decoded) == readers.LOOKED_AT
    assert (decoded[0], decoded[-1]) == ("it000.png", "it199.png")


def test_nothing_is_compared_and_marked_where_the_files_are_gone(pack):
    assert otherwise_read(pack, []) is None
    assert "reader" not in json.loads((pack.folder / "pack.json").read_text())


def test_damage_since_then_is_no_difference(pack, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert otherwise_read(pack, [tmp_path / "text.png", tmp_path / "none.jpg"]) is None
