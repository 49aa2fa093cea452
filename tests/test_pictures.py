"""Any image, as a model takes it; and kept cells drawn over it."""

import numpy as np
import pytest
import torch

from hacore.errors import DataError
from hacore.interfaces import Selection, grid_positions
from hacore.measure.reading import read_output
from hacore.model.network import Output

Image = pytest.importorskip("PIL.Image")
pictures = pytest.importorskip("hacore.pictures")

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def halves():
    """Left half red, right half blue, 40 wide and 20 high."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:] = RED, BLUE
    return Image.fromarray(pixels)


def near(picture, x, y, colour):
    return max(abs(int(a) - b) for a, b in zip(picture.getpixel((x, y)), colour, strict=True)) < 16


def shows_halves(picture):
    return picture.mode == "RGB" and near(picture, 5, 10, RED) and near(picture, 35, 10, BLUE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P"])
def test_files_of_any_mode_are_rgb(halves, tmp_path, mode):
    path = tmp_path / ("it.jpg" if mode == "CMYK" else "it.png")
    halves.convert(mode).save(path)
    picture = pictures.open_picture(path)
    assert picture.size == (40, 20)
    assert shows_halves(picture)
    assert shows_halves(pictures.open_picture(str(path)))


def test_a_photograph_is_turned_as_exif_says(halves, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise to see it
    halves.rotate(90, expand=True).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    picture = pictures.open_picture(tmp_path / "photo.jpg")
    assert picture.size == (40, 20)
    assert shows_halves(picture)


def test_the_first_frame_of_an_animation(halves, tmp_path):
    halves.save(tmp_path / "it.gif", save_all=True, append_images=[Image.new("RGB", (40, 20), "green")])
    assert shows_halves(pictures.open_picture(tmp_path / "it.gif"))


def test_transparency_is_put_on_white(halves, tmp_path):
    alpha = Image.new("L", (40, 20), 255)
    alpha.paste(0, (0, 0, 20, 20))
    halves.putalpha(alpha)
    halves.save(tmp_path / "it.png")
    picture = pictures.open_picture(tmp_path / "it.png")
    assert picture.getpixel((5, 10)) == WHITE
    assert picture.getpixel((35, 10)) == BLUE


def test_sixteen_bits_of_grey_are_scaled(tmp_path):
    grey = np.array([[0, 32896, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "it.png")
    picture = pictures.open_picture(tmp_path / "it.png")
    assert [picture.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, WHITE]


def test_arrays_of_any_layout(halves):
    pixels = np.asarray(halves)
    for array in (
        pixels,
        pixels.transpose(2, 0, 1),
        torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        pixels / 255,
        (pixels / 255).astype(np.float32).transpose(2, 0, 1),
        np.dstack([pixels, np.full((20, 40), 255, np.uint8)]),
        halves,
    ):
        np.testing.assert_array_equal(np.asarray(pictures.open_picture(array)), pixels)
    for grey in (pixels[:, :, 0], pixels[:, :, :1], pixels[:, :, 0][None]):
        assert pictures.open_picture(grey).getpixel((5, 10)) == WHITE


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 6, 3), np.uint8), r"found an array \(4, 5, 6, 3\); give a path"),
        (np.zeros((0, 5, 3), np.uint8), r"found an array \(0, 5, 3\); give a path"),
        (np.zeros((4, 5, 3), np.int64), "found an array of int64; give uint8 or uint16, or float in"),
        (np.full((4, 5, 3), 255.0), r"floats must lie in \[0, 1\]; divide by 255"),
        (np.full((4, 5, 3), np.nan), r"floats must lie in \[0, 1\]"),
        (None, "found NoneType; give a path"),
        (7, "found int; give a path"),
    ],
)
def test_what_is_no_image_is_named(image, message):
    with pytest.raises(DataError, match=message) as caught:
        pictures.open_picture(image)
    assert "\n" not in str(caught.value)


def test_bad_files_are_one_line(halves, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:9000])
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    for name, message in {
        "none.png": "no such image file",
        "text.png": "is not an image; Pillow reads",
        "empty.png": "is not an image; Pillow reads",
        "cut.png": "the image cannot be read: ",
        "large.png": "has 10,000 x 9,000 pixels; at most 89,478,485 are read, make it smaller",
        "bomb.png": "has more than 178,956,970 pixels; at most 89,478,485 are read, make it smaller",
        ".": "the image cannot be read: Is a directory",
    }.items():
        with pytest.raises(DataError) as caught:
            pictures.open_picture(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {message}")
        assert "\n" not in str(caught.value)


def selection(**changes):
    return Selection(
        **{
            "features_QKC": torch.zeros(2, 2, 1),
            "index_QK": torch.tensor([[5, 0], [0, 3]]),
            "presence_QN": torch.zeros(2, 6),
            "positions_N2": grid_positions((2, 3)),
            "grid": (2, 3),
            **changes,
        }
    )


def brightnesses(**changes):
    """The brightness of the cells of each question, as a reply has it."""
    logits_QA = torch.zeros(2, 1)
    return [
        reading.brightness for reading in read_output(Output(logits_QA, selection(**changes)), ["yes"], 1)
    ]


def test_kept_cells_are_bright():
    kept = brightnesses(valid_QK=torch.tensor([[True, True], [False, True]]))
    assert [brightness.tolist() for brightness in kept] == [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [1, 0, 0]]]


def test_the_heaviest_cell_is_the_brightest():
    weighed = brightnesses(weight_QK=torch.tensor([[0.2, 0.1], [0.0, 0.0]]))
    assert [brightness.tolist() for brightness in weighed] == [
        [[0.5, 0, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0]],
    ]


def test_of_mixtures_every_cell_is_as_bright_as_its_share():
    share_QKN = torch.zeros(2, 2, 6)
    share_QKN[0, 0, :2], share_QKN[0, 1, 1:5] = 0.5, 0.25
    share_QKN[1, :, 3] = 1
    mixed = brightnesses(share_QKN=share_QKN, index_QK=share_QKN.argmax(-1))
    assert mixed[0].reshape(-1).tolist() == pytest.approx([2 / 3, 1, 1 / 3, 1 / 3, 1 / 3, 0])
    assert mixed[1].reshape(-1).tolist() == [0, 0, 0, 1, 0, 0]
    first, _ = read_output(Output(torch.zeros(2, 1), selection(share_QKN=share_QKN)), ["yes"], 1)
    assert [(cell.index, round(cell.weight, 3)) for cell in first.kept][:2] == [(1, 0.75), (0, 0.5)]


def test_a_pixel_belongs_to_the_nearest_cell():
    kept = brightnesses()[0]
    drawn = np.asarray(pictures.draw_kept(Image.new("RGB", (60, 40), (200,) * 3), kept))
    # Positions of the outer cells lie on the border.
    positions_N2 = grid_positions((2, 3)).numpy()
    y, x = np.mgrid[-1:1:40j, -1:1:60j]
    distance_N = (x[..., None] - positions_N2[:, 0]) ** 2 + (y[..., None] - positions_N2[:, 1]) ** 2
    bright = kept.reshape(-1)[distance_N.argmin(-1)] == 1
    assert bright.any()
    assert (drawn[bright] == 200).all()
    assert (drawn[~bright] == 200 * pictures.DARK).all()


def test_a_caption_is_folded(halves):
    plain = pictures.with_caption(halves, [("short", "black")])
    long = pictures.with_caption(halves, [("many words " * 20, "black")])
    assert plain.width == long.width
    assert long.height > plain.height + 3 * 19
