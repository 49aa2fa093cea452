"""Every kind of picture file reads as its values say, and as an array of the same values."""

import struct
import zlib

import numpy as np
import pytest

from hacore.errors import DataError

Image = pytest.importorskip("PIL.Image")
pictures = pytest.importorskip("hacore.pictures")

SIZE = (7, 11)  # height, width: turned or not shows


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def pixels(random):
    return random.integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def read(image):
    return np.asarray(pictures.open_picture(image)).astype(int)


def as_upright(pixels, orientation):
    """What a viewer shows of stored pixels, by the table of EXIF 2.3: where row 0 and column 0 are."""
    return {
        1: pixels,  # top, left
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.swapaxes(0, 1),  # left, top
        6: pixels.swapaxes(0, 1)[:, ::-1],  # right, top
        7: pixels.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: pixels.swapaxes(0, 1)[::-1],  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "webp", "tif"])
def test_exif_turns_a_picture_of_any_format(pixels, tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{form}"
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if form == "webp" else {}))
    upright = as_upright(pixels, orientation)
    np.testing.assert_array_equal(read(path), upright)
    again = pictures.open_picture(pictures.open_picture(path))  # `ask` reads what was read
    np.testing.assert_array_equal(np.asarray(again), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_deep_grey_and_cut_outs(random, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = random.integers(0, 65536, SIZE).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png", exif=exif)
    wanted = np.round(as_upright(grey, orientation) / 257)
    np.testing.assert_array_equal(read(tmp_path / "grey.png"), np.stack([wanted] * 3, -1))
    cutout = random.integers(0, 256, (*SIZE, 4)).astype(np.uint8)
    Image.fromarray(cutout).save(tmp_path / "cutout.png", exif=exif)
    upright = as_upright(cutout, orientation).astype(float)
    alpha = upright[..., 3:] / 255
    on_white = upright[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read(tmp_path / "cutout.png") - on_white).max() <= 1


def test_damaged_exif_is_no_damaged_picture(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "it.png", exif=b"Exif\0\0MM no exif at all")
    np.testing.assert_array_equal(read(tmp_path / "it.png"), pixels)


@pytest.mark.parametrize(
    ("dtype", "form"),
    [
        ("u2", "png"),
        ("u2", "tif"),
        (">u2", "tif"),
        ("i4", "tif"),
        ("i4", "pgm"),
        ("f4", "tif"),
        ("u1", "png"),
    ],
)
def test_grey_is_scaled_by_the_range_of_its_type(random, tmp_path, dtype, form):
    most = {"u1": 255, "f4": 1}.get(dtype, 65535)
    grey = (random.random(SIZE) * most).astype(dtype)
    grey.flat[:2] = 0, most
    path = tmp_path / f"grey.{form}"
    Image.fromarray(grey).save(path)
    wanted = np.stack([np.round(grey.astype(np.float64) / most * 255)] * 3, -1)
    np.testing.assert_array_equal(read(path), wanted)
    with Image.open(path) as file:
        np.testing.assert_array_equal(read(file), wanted)
    for array in (grey, grey[None], grey[:, :, None]):
        np.testing.assert_array_equal(read(array), wanted)


@pytest.mark.parametrize(
    ("grey", "parts"),
    [
        (np.array([[0, 255.0]], np.float32), ("0 to 255", "[0, 1]")),
        (np.array([[-0.5, 0.5]], np.float32), ("-0.5 to 0.5", "[0, 1]")),
        (np.array([[0.1, np.nan]], np.float32), ("nan", "[0, 1]")),
        (np.array([[0.1, np.inf]], np.float32), ("inf", "[0, 1]")),
        (np.array([[0, 65536]], np.int32), ("0 to 65536", "0 to 65535", "16")),
        (np.array([[-1, 9]], np.int32), ("-1 to 9", "0 to 65535", "16")),
        (np.array([[0, 200]], np.int32), ("0 to 200", "0 to 65535", "8 bits")),
    ],
)
def test_values_out_of_range_are_an_error_never_black(tmp_path, names, grey, parts):
    path = tmp_path / "it.tif"
    Image.fromarray(grey).save(path)
    with pytest.raises(DataError) as caught:
        pictures.open_picture(path)
    names(str(caught.value), str(path), *parts)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError):
        pictures.open_picture(grey)
    with pytest.raises(DataError, match=r"^image: "):
        pictures.open_picture(Image.fromarray(grey))


@pytest.mark.parametrize(
    ("mode", "form"),
    [("LA", "png"), ("LA", "tif"), ("PA", "tif"), ("RGBA", "png"), ("RGBA", "tif"), ("RGBA", "webp")],
)
def test_alpha_is_put_on_white(random, tmp_path, mode, form):
    alpha = random.integers(0, 256, SIZE).astype(np.uint8)
    image = Image.fromarray(random.integers(0, 256, (*SIZE, 3)).astype(np.uint8))
    image = image.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode])
    colours = np.asarray(image.convert("RGB")).astype(float)
    image.putalpha(Image.fromarray(alpha))
    assert image.mode == mode
    options = {"lossless": True, "exact": True} if form == "webp" else {}
    image.save(tmp_path / f"it.{form}", **options)
    share = alpha[..., None] / 255
    picture = read(tmp_path / f"it.{form}")
    assert np.abs(picture - (colours * share + 255 * (1 - share))).max() <= 1
    np.testing.assert_array_equal(read(image), picture)
    array = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(read(array), picture)


def test_an_alpha_that_is_opaque_changes_nothing(pixels, tmp_path):
    """As in CLEVR's files: packs of them stay as they were."""
    Image.fromarray(np.dstack([pixels, np.full(SIZE, 255, np.uint8)])).save(tmp_path / "it.png")
    np.testing.assert_array_equal(read(tmp_path / "it.png"), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB"])
def test_a_value_that_stands_for_transparent_is_white(random, tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 9, SIZE).astype(np.uint16) * 257)
        stored, clear = np.asarray(image), 3 * 257
        colours = np.stack([stored / 257] * 3, -1)
    else:
        few = random.integers(0, 4, SIZE)
        table = random.integers(0, 255, (4, 3)).astype(np.uint8)
        image = Image.fromarray(table[few]).convert(mode)
        stored = np.asarray(image.convert("RGB") if mode == "RGB" else image)
        clear = tuple(table[2].tolist()) if mode == "RGB" else int(stored.max())
        colours = np.asarray(image.convert("RGB"))
    image.save(tmp_path / "it.png", transparency=255 if mode == "1" else clear)
    gone = (stored == clear).all(-1) if mode == "RGB" else stored == clear
    assert gone.any()
    np.testing.assert_array_equal(read(tmp_path / "it.png"), np.where(gone[..., None], 255, colours))


def png_of_16_bits(colours):
    """A PNG of (H, W, 3) uint16, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_colours_of_16_bits_keep_their_upper_8(random, tmp_path):
    colours = random.integers(0, 65536, (*SIZE, 3)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(colours))
    np.testing.assert_array_equal(read(tmp_path / "deep.png"), colours >> 8)
    np.testing.assert_array_equal(read(colours), colours >> 8)


def test_two_colours(random, tmp_path):
    mask = random.random(SIZE) < 0.5
    Image.fromarray(mask).save(tmp_path / "it.png")
    assert Image.open(tmp_path / "it.png").mode == "1"
    for image in (tmp_path / "it.png", mask):
        np.testing.assert_array_equal(read(image), np.stack([mask * 255] * 3, -1))
    np.testing.assert_array_equal(read(np.stack([mask] * 3, -1)), np.stack([mask * 255] * 3, -1))


@pytest.mark.parametrize("mode", ["HSV", "LAB", "YCbCr", "CMYK"])
def test_other_colour_spaces(mode):
    """Colours far from the edge of what each can hold come back."""
    for colour in ((200, 60, 60), (60, 160, 90), (70, 80, 190), (128, 128, 128)):
        image = Image.new("RGB", (4, 4), colour).convert(mode)
        assert np.abs(read(image) - colour).max() <= 5


def test_a_profile_of_colours_is_not_applied(pixels, tmp_path):
    profile = pytest.importorskip("PIL.ImageCms").ImageCmsProfile(
        pytest.importorskip("PIL.ImageCms").createProfile("sRGB")
    )
    Image.fromarray(pixels).save(tmp_path / "it.png", icc_profile=profile.tobytes())
    np.testing.assert_array_equal(read(tmp_path / "it.png"), pixels)


@pytest.mark.parametrize("form", ["png", "webp", "gif", "tif"])
def test_the_first_frame(tmp_path, form):
    red, green = (Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 255, 0)))
    options = {"lossless": True} if form == "webp" else {}
    red.save(tmp_path / f"it.{form}", save_all=True, append_images=[green], **options)
    np.testing.assert_array_equal(read(tmp_path / f"it.{form}")[0, 0], (255, 0, 0))


def test_a_damaged_tag_is_read_without_a_word(pixels, tmp_path, recwarn):
    path = tmp_path / "scene.tiff"
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    length = struct.pack("<HHI", 257, 4, 1)  # ImageLength, one LONG
    assert length in data
    path.write_bytes(data.replace(length, struct.pack("<HHI", 257, 3, 2)))  # two SHORTs
    np.testing.assert_array_equal(pictures.open_picture(path), pixels)
    assert list(recwarn) == []
    with pytest.warns(UserWarning, match="too many entries"), Image.open(path) as file:
        file.load()
