"""A picture is packed as it is asked about, whatever its kind; what cannot be read is named."""

import numpy as np
import pytest
from hacore_packing.decode import Job, decode, read_image
from PIL import Image

from hacore.pictures import fit, open_picture


@pytest.fixture
def kinds(tmp_path):
    """Files that a bare ``convert("RGB")`` gets wrong."""
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = random.random((20, 30))
    colours = random.integers(0, 256, (20, 30, 4)).astype(np.uint8)
    Image.fromarray(colours[..., :3]).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray((grey * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(colours).save(tmp_path / "cutout.png")
    return sorted(tmp_path.iterdir())


def test_a_picture_is_packed_as_it_is_asked_about(kinds):
    decoded = decode(Job(start=0, paths=tuple(map(str, kinds)), size=(8, 10)))
    assert decoded.damage == ()
    for path, packed in zip(kinds, decoded.images, strict=True):
        asked = fit(open_picture(path), (8, 10))
        np.testing.assert_array_equal(packed, asked)
        np.testing.assert_array_equal(read_image(path, (8, 10)), asked)
        with Image.open(path) as file:
            bare = fit(file.convert("RGB"), (8, 10))
        assert np.abs(bare.astype(int) - asked).max() > 9


def test_what_cannot_be_read_is_named(tmp_path, names):
    Image.fromarray(np.array([[0, 7]], np.float32)).save(tmp_path / "counts.tif")
    (tmp_path / "text.png").write_text("no picture")
    paths = [str(tmp_path / name) for name in ("counts.tif", "text.png", "none.png")]
    damage = decode(Job(start=5, paths=tuple(paths), size=(4, 4))).damage
    assert [row for row, _ in damage] == [5, 6, 7]
    counts, text, none = [line for _, line in damage]
    names(counts, paths[0], "floats from 0 to 7", "[0, 1]")
    assert "unpack" not in counts
    names(text, paths[1], "is not an image", "unpack it again")
    names(none, paths[2], "no such image file", "unpack it again")
