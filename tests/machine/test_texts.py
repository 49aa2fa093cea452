"""Texts of other programs: what is UTF-8 is read with or without its mark, all else is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hacore.machine.texts import HEAD, TextError, composed, decode_text, open_text

OTHERS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@given(text=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\ufeff")))
def test_utf8_is_read_with_and_without_a_mark(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "file"
    for codec in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.encode(codec))
        assert decode_text(path.read_bytes()) == text
        with open_text(path) as file:
            assert file.read() == text


@pytest.mark.parametrize("codec", OTHERS)
@pytest.mark.parametrize(
    "text", ["[", '{"a": 1}', '[{"answer": "é"}]', "is it red?\r\n" * 40, "你好，世界\n"]
)
def test_other_encodings_are_named(tmp_path, names, text, codec):
    path = tmp_path / "file.json"
    path.write_bytes(text.encode(codec))
    with pytest.raises(TextError) as caught:
        decode_text(path.read_bytes())
    names(caught.value.at(path), "file.json", codec[:6].upper(), "save it as UTF-8")
    with pytest.raises(TextError, match=codec[:6].upper()), open_text(path) as file:
        file.read()


def test_a_character_cut_by_the_head_does_not_matter():
    for before in range(HEAD):
        text = "x" * before + "\U0001f600" * HEAD
        assert decode_text(text.encode("utf-8-sig")) == text
        with pytest.raises(TextError, match="UTF-16"):
            decode_text(("[" + text).encode("utf-16-le"))


def test_bytes_of_no_unicode_have_their_line(tmp_path, names):
    path = tmp_path / "file"
    path.write_bytes("[\n'é'\n]".encode("latin-1"))
    with pytest.raises(TextError) as caught:
        decode_text(path.read_bytes())
    names(caught.value.at(path), "file:2", "byte 0xe9", "not UTF-8", "save it as UTF-8")
    with pytest.raises(TextError, match="byte 0xe9"), open_text(path) as file:
        file.read()


@pytest.mark.parametrize("data", [b"\0" * 10, b"PK\x03\x04\0\0\0\1\2"])
def test_zero_bytes_are_no_encoding(names, data):
    with pytest.raises(TextError) as caught:
        decode_text(data)
    names(str(caught.value), "zero bytes")


def test_accents_are_composed():
    assert composed("cafe\u0301") == "caf\u00e9"
    assert composed("caf\u00e9 \u2019s 10.5") == "caf\u00e9 \u2019s 10.5"
