"""``hacore ask`` as a user meets it."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hacore_ask import ask_command as command

import hacore
from hacore.spec import load_spec

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def run(tmp_path, request, tiny, monkeypatch):
    """A run folder of a second, in the folder where commands run, with an image beside it."""
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", tiny)
    folder, _ = hacore.run(spec, runs=tmp_path / "runs", device="cpu", report=False)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save("scene.png")
    return folder.path.relative_to(tmp_path)


def test_answers_unknown_words_and_a_picture(cli, run, tmp_path):
    ran = cli("ask", run, "scene.png", "is the RED zebra on the left?", "how many objects", "--top", 3)
    assert (ran.status, ran.err) == (0, "")
    first, second = ran.out.split("\n\n")
    lines = first.splitlines()
    assert lines[0] == "is the RED zebra on the left?"
    assert lines[1] == "words that the model never saw: zebra"
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[2:5]]
    assert shares == sorted(shares, reverse=True)
    kept, picture = lines[5].split("; picture: ")
    assert kept == "10 of 25 cells kept"
    assert re.fullmatch("scene-is-the-red-zebra-on-the-left-[0-9a-f]{8}.png", picture)
    assert "never saw" not in second
    with Image.open(picture) as drawn:
        pixels = np.asarray(drawn.convert("RGB"))[10:370, 10:490]
    assert set(np.unique(pixels)) == {60, 200}  # kept cells as bright as they were, others at 0.3 of it
    # Of 5x5 cells the inner ones are a 16th of the picture each, the outer ones half of that or less.
    assert 0.1 < (pixels == 200).mean() <= 10 / 16 + 0.02
    other = second.rstrip().partition("picture: ")[2]
    assert other.startswith("scene-how-many-objects-")
    assert {path.name for path in tmp_path.glob("*.png")} == {"scene.png", picture, other}


LONG = (
    "there is a large metal thing that is left of the small brown cube and behind the red ball; what is its"
)
QUESTIONS = (
    f"{LONG} shape?",
    f"{LONG} colour?",
    "red?",
    "red!",
    "RED?",
    "红色?",
    "蓝色?",
    "o" * 300 + " red",
)


def test_no_picture_takes_the_place_of_another(cli, run, tmp_path):
    """Of another question, image, option or run, in one command or in several."""
    for image in ("a/scene.png", "b/scene.png", "b/scene.jpg", "b/" + "ü" * 100 + ".png"):
        (tmp_path / image).parent.mkdir(exist_ok=True)
        Image.open("scene.png").save(image)
    copy = shutil.copytree(run, tmp_path / "copy")
    commands = [
        (run, "a/scene.png", *QUESTIONS),
        *((run, image, "red?") for image in ("b/scene.png", "b/scene.jpg", "b/" + "ü" * 100 + ".png")),
        (run, "a/scene.png", "red?", "--set", "selector.k=4"),
        (run, "a/scene.png", "red?", "--set", "selector.use=all-cells"),
        (copy, "a/scene.png", "red?"),
    ]
    written = []
    for words in commands:
        ran = cli("ask", *words, "--output", "out", "--json")
        written += [reply["picture"] for reply in json.loads(ran.out)["replies"]]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert len({Path(name).name.casefold() for name in written}) == len(written) == len(files)
    assert max(len(name.encode()) for name in files) < 200
    assert any("红色" in name for name in files)
    again = cli("ask", *commands[0], "--output", "out", "--json")
    assert [reply["picture"] for reply in json.loads(again.out)["replies"]] == written[: len(QUESTIONS)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == files


def test_json_of_questions_from_standard_input(cli, run, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO("is it red?\r\n\n  \nhow many objects\n"))
    ran = cli("ask", run, "scene.png", "--json", "--output", "pictures", "--top", 2)
    assert (ran.status, ran.err) == (0, "")
    output = json.loads(ran.out)
    assert (output["run"], output["image"]) == (str(run), "scene.png")
    assert [reply["question"] for reply in output["replies"]] == ["is it red?", "how many objects"]
    reply = output["replies"][0]
    assert reply["unknown_words"] == ["it"]
    assert len(reply["answers"]) == 2
    assert len(reply["kept"]) == 10
    assert set(reply["kept"][0]) == {"index", "row", "column", "x", "y", "presence", "weight"}
    assert (tmp_path / reply["picture"]).is_file()


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("terminal", ["utf-8", "latin-1", "ascii"])
def test_standard_input_is_utf8_with_or_without_a_mark(cli, run, monkeypatch, codec, terminal):
    data = "is it r\u00e9d?\rhow many\r\n".encode(codec)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding=terminal))
    ran = cli("ask", run, "scene.png", "--json", "--no-picture")
    assert (ran.status, ran.err) == (0, "")
    first, second = json.loads(ran.out)["replies"]
    assert (first["question"], first["unknown_words"]) == ("is it r\u00e9d?", ["it", "r\u00e9d"])
    assert (second["question"], second["unknown_words"]) == ("how many", [])


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("is it red?\r\n".encode("utf-16"), ["UTF-16"]),
        ("is it red?\r\n".encode("utf-16-le"), ["UTF-16"]),
        ("is it red?\nis it r\u00e9d?\n".encode("latin-1"), [":2:", "byte 0xe9", "not UTF-8"]),
    ],
)
def test_standard_input_in_another_encoding(cli, run, monkeypatch, names, data, parts):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    names(cli("ask", run, "scene.png").error, "standard input", *parts, "save it as UTF-8")


def test_accents_in_either_form_are_the_same_question(cli, run):
    ran = cli("ask", run, "scene.png", "is the cafe\u0301", "is the caf\u00e9", "--json", "--no-picture")
    apart, composed = json.loads(ran.out)["replies"]
    assert apart["unknown_words"] == composed["unknown_words"] == ["caf\u00e9"]
    assert apart["answers"] == composed["answers"]


def test_a_conversation_goes_on_after_a_mistake(cli, run, monkeypatch):
    inputs = iter(["is it red?", "...", "how many objects", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(inputs))
    monkeypatch.setattr(command.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    ran = cli("ask", run, "scene.png", "--no-picture")
    assert ran.status == 0
    assert ran.out.count("10 of 25 cells kept\n") == 2
    assert ran.err == "hacore: the question '...' has no words\n"


def test_what_goes_wrong_is_one_line(cli, names, run, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    (tmp_path / "notes.png").write_text("no picture")
    for arguments, parts in {
        (run, "notes.png", "is it red?"): ["notes.png:", "not an image", "Pillow"],
        (run, "none.png", "is it red?"): ["none.png:", "no such image file"],
        (run, "scene.png", ""): ["question", "empty"],
        (run, "scene.png", "word " * 10_000): ["question", "10,000 words", "at most 1,000"],
        (run, "scene.png"): ["no question", "after the image"],
        ("none", "scene.png", "is it red?"): ["none:", "no such run folder"],
        (run, "scene.png", "why?", "--output", "notes.png"): [
            "notes.png/scene-why-",
            "cannot be written",
        ],
    }.items():
        names(cli("ask", *arguments).error, *parts)
    for checkpoint in (tmp_path / run / "checkpoints").iterdir():
        checkpoint.unlink()
    message = cli("ask", run, "scene.png", "is it red?").error
    names(message, f"{run}:", "no checkpoint", f"hacore run --resume {run}")
