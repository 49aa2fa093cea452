"""Image files of strangers: what is taken, and what is refused how."""

import io
import os
import struct
import sys
import threading
import zlib

import numpy as np
import pytest
from hacore_serve.limits import Limits, Refused
from hacore_serve.uploads import open_upload
from PIL import Image

QUESTION = "is the red object on the left?"


@pytest.fixture
def upload(client, encode):
    """upload(bytes): the server's answers to a picture alone, and to a question about it; as one status."""

    def run(data):
        shown = client.post("/api/picture", json={"image": encode(data)})
        asked = client.post("/api/ask", json={"image": encode(data), "question": QUESTION})
        assert shown.status_code == asked.status_code
        return shown, asked

    return run


@pytest.fixture(scope="module")
def pixels():
    """Two colours a quarter each, so that turns and mirrors show."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:20, :40] = (250, 10, 10)
    image[20:, 40:] = (10, 10, 250)
    return image


def shown(response):
    return np.asarray(Image.open(io.BytesIO(response.content)))


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width, height):
    """A PNG of a few hundred bytes that says it has so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_bad_files_are_refused_in_one_line(upload, as_file, pixels):
    whole = as_file(np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8), "JPEG")
    for data, status, message in [
        (b"these are notes, and no image\n" * 50, 415, "the file is not an image; PNG, JPEG, WebP, GIF"),
        (b"", 415, "the file is empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", 415, "the file is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "the file is not an image"),
        (b"\x89PNG\r\n\x1a\n" + os.urandom(100), 415, "the file is not an image"),
        (bomb(30_000, 30_000), 413, "the image has too many pixels; at most 25 million are taken, make it"),
        (bomb(9_000, 9_000), 413, "the image has 9,000 x 9,000 pixels; at most 25 million are taken"),
        (whole[: len(whole) // 2], 422, "the image is damaged"),
        (bomb(400, 400), 422, "the image is damaged"),
    ]:
        for response in upload(data):
            assert (response.status_code, response.json()["error"][: len(message)]) == (status, message)
            assert "\n" not in response.json()["error"]


def test_a_file_of_too_many_bytes(serving, encode):
    httpx = pytest.importorskip("httpx")
    with serving(Limits(rate=0, upload=100_000), names=["han"]) as address:
        for size, status in [(99_000, 415), (100_500, 413), (5_000_000, 413)]:
            response = httpx.post(f"{address}/api/picture", json={"image": encode(os.urandom(size))})
            assert response.status_code == status
        assert response.json()["error"] == "the image file is too large; at most 0.1 MB are taken"


def test_not_base64(client):
    for text in ("é", "a", "/etc/passwd!", "data:image/png;base64,AAAA"):
        response = client.post("/api/picture", json={"image": text})
        assert (response.status_code, response.json()) == (
            422,
            {"error": "image: must be a file in base64"},
        )


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats(upload, as_file, pixels, form, models):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(form, {})
    data = as_file(pixels, form, **options)
    picture, asked = upload(data)
    assert picture.headers["content-type"] == "image/png"
    assert np.abs(shown(picture).astype(int) - pixels).max() <= (12 if form == "JPEG" else 0)
    with Image.open(io.BytesIO(data)) as image:
        reply = models["han"].ask(image, QUESTION)
    assert asked.json()["answers"][0]["answer"] == reply.answer
    assert [cell["index"] for cell in asked.json()["kept"]] == [cell.index for cell in reply.kept]


def test_the_first_frame_of_an_animation(upload, as_file, pixels):
    frames = [Image.fromarray(np.full_like(pixels, value)) for value in (80, 160)]
    data = as_file(pixels, "GIF", save_all=True, append_images=frames, duration=50)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.array_equal(shown(upload(data)[0]), pixels)


def test_transparency_is_white(upload, as_file, pixels):
    clear = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    clear[:20, 40:, 3] = 0
    preview = shown(upload(as_file(clear))[0])
    assert (preview[:20, 40:] == 255).all()
    assert np.array_equal(preview[:, :40], pixels[:, :40])


def test_a_cmyk_jpeg(upload, as_file, pixels):
    data = as_file(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    preview = shown(upload(data)[0]).astype(int)
    assert np.abs(preview[5:15, 5:35] - (250, 10, 10)).max() < 25
    assert np.abs(preview[25:35, 45:75] - (10, 10, 250)).max() < 25


def test_a_photograph_is_turned_as_exif_says(upload, as_file, pixels):
    for orientation, turned in [(6, np.rot90(pixels, -1)), (3, np.rot90(pixels, 2)), (2, pixels[:, ::-1])]:
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture, asked = upload(as_file(pixels, "PNG", exif=exif))
        assert np.array_equal(shown(picture), turned)
        assert asked.json()["grid"] == [5, 5]


def test_grey_16_bit_and_palettes(upload, as_file, pixels):
    deep = Image.fromarray((pixels[:, :, 0].astype(np.uint16) << 8) + 7)
    assert np.abs(shown(upload(as_file(deep))[0])[..., 0].astype(int) - pixels[:, :, 0]).max() <= 1
    few = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(shown(upload(as_file(few))[0]), pixels)


def test_floats_are_read_in_their_range_or_refused(upload, as_file):
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    assert np.array_equal(
        shown(upload(as_file(Image.fromarray(ramp), "TIFF"))[0])[..., 0], np.round(ramp * 255)
    )
    for answer in upload(as_file(Image.fromarray(300 * ramp), "TIFF")):
        assert answer.status_code == 422
        assert "floats from 0 to 300" in answer.text


def test_a_preview_is_small_and_keeps_its_shape(upload, as_file):
    wide = Image.new("RGB", (2000, 500), "red")
    assert shown(upload(as_file(wide))[0]).shape == (160, 640, 3)
    assert shown(upload(as_file(Image.new("RGB", (1, 1))))[0]).shape == (1, 1, 3)


def test_nothing_is_written_to_a_disk_or_read_from_it(as_file, pixels, encode, monkeypatch):
    data = encode(as_file(pixels, "TIFF", compression="tiff_lzw"))
    opened = []
    main = threading.get_ident()

    def hook(event, arguments):
        if event in ("open", "os.open", "tempfile.mkstemp", "subprocess.Popen"):
            opened.append((threading.get_ident() == main and active, event, arguments))

    active = False
    sys.addaudithook(hook)
    open_upload(data, Limits())  # Pillow imports what it needs
    active = True
    open_upload(data, Limits())
    with pytest.raises(Refused):
        open_upload(encode(b"nothing"), Limits())
    active = False
    assert [entry[1:] for entry in opened if entry[0]] == []
