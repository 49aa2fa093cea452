"""Files of a pack that are damaged: one line of some words, whatever NumPy or zipfile raise."""

import json
import warnings

import attrs
import numpy as np
import numpy.typing as npt
import pytest
from hacore_packing.packs import Format, common_fields, open_images, open_questions

from hacore.errors import DataError


@attrs.frozen(kw_only=True)
class Columns:
    image: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]


def damaged_header(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"}", b"("),
        (b"'shape'", b"'sh\x00pe'"),
        (b"|u1", b"|O8"),
        (b"NUMPY", b"NUMPX"),
        (b"False", b"Fals\xe9"),
    ],
)
def test_a_damaged_header_of_images(tmp_path, names, old, new):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3, 4, 5), np.uint8))
    damaged_header(path, old, new)
    with pytest.raises(DataError) as error:
        open_images(path, (2, 3, 4, 5))
    names(str(error.value), f"{path}:", "cannot be read", f"delete the folder {tmp_path}")


def test_what_a_library_says_at_length_is_cut(tmp_path, names):
    path = tmp_path / "a.npz"
    np.savez(path, image=np.arange(3000), words=np.arange(3000))
    # The length of the first name in the archive: zipfile shows all that it takes for a name.
    content = bytearray(path.read_bytes())
    content[26:28] = b"\xff\x1f"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as error:
            open_questions(path, Columns, 3000)
    names(str(error.value), f"{path}:", "cannot be read", f"delete the folder {tmp_path}")
    assert len(str(error.value)) < 600


GOOD = {
    "format": "made",
    "version": 1,
    "files": {},
    "source": {},
    "size": [4, 5],
    "mean": [0.5] * 3,
    "std": [0.2] * 3,
}
FORMAT = Format(
    name="made", version=1, build=lambda folder, described: common_fields(folder, described, "m", [])
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", [-1, 5]),
        ("size", [4.0, 5]),
        ("size", None),
        ("mean", [float("nan")] * 3),
        ("mean", ["a", "b", "c"]),
        ("std", [1.0]),
        ("std", [-1.0] * 3),
        ("files", {"a": {"bytes": []}}),
        ("files", 3),
        ("version", 2),
    ],
)
def test_a_description_of_no_pack(tmp_path, names, key, value):
    path = tmp_path / "pack.json"
    path.write_text(json.dumps(GOOD))
    assert FORMAT._read(tmp_path)[1]["size"] == (4, 5)
    path.write_text(json.dumps({**GOOD, key: value}))
    (problem,) = FORMAT.check(tmp_path)
    names(problem, f"{path}:", f"delete the folder {tmp_path}")


def test_a_description_that_is_nested_too_deeply(tmp_path, names):
    (tmp_path / "pack.json").write_text("[" * 100_000)
    (problem,) = FORMAT.check(tmp_path)
    names(problem, "pack.json:", "damaged")
