"""One long list of a JSON file, item by item: the same as json reads, and everything that can be wrong."""

import json
import tracemalloc

import pytest
from hacore_packing import stream
from hacore_packing.stream import JsonError, read_list
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["cut off", "0 characters"]),
        ("[]", ["JSON", "character 0", "'{'"]),
        ('{"info": {}}', ["list 'questions'"]),
        ('{"questions": {}}', ["list 'questions'"]),
        ('{"questions": [1 2]}', ["JSON", "character 17", "','"]),
        ('{"questions": []} x', ["JSON", "character 18", "after the end"]),
        ('{"questions": [{"a" 1}]}', ["JSON", "character 20", "':'"]),
        ('{"questions": [{"a": "b', ["cut off", "23 characters"]),
        ('{"questions": ' + "[" * 100_000, ["nested too deeply"]),
    ],
)
def test_broken_files_are_named(tmp_path, names, text, parts):
    path = tmp_path / "questions.json"
    path.write_text(text)
    with pytest.raises(JsonError) as caught:
        list(read_list(path, "questions"))
    names(str(caught.value), *parts)


def test_file_that_is_no_text(tmp_path):
    path = tmp_path / "questions.json"
    path.write_bytes(b'{"questions": ["\xff\xfe"]}')
    with pytest.raises(JsonError, match="not UTF-8"):
        list(read_list(path, "questions"))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_texts_of_other_programs(tmp_path, names, codec):
    path = tmp_path / "questions.json"
    path.write_bytes((" " * 100 + '{"questions": ["é"]}').encode(codec))
    if codec == "utf-8-sig":
        assert list(read_list(path, "questions")) == ["é"]
    else:
        with pytest.raises(JsonError) as caught:
            list(read_list(path, "questions"))
        names(str(caught.value), "UTF-16", "UTF-8")


def test_a_number_that_python_does_not_read(tmp_path, names):
    path = tmp_path / "questions.json"
    path.write_text('{"questions": [' + "1" * 5000 + "]}")
    with pytest.raises(JsonError) as caught:
        list(read_list(path, "questions"))
    names(str(caught.value), "character 15", "digits")


@given(
    before=JSON, items=st.lists(JSON, max_size=6), piece=st.integers(1, 40), indent=st.sampled_from([None, 1])
)
def test_any_list_reads_as_json_does(tmp_path_factory, before, items, piece, indent):
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps({"info": before, "list": items, "after": before}, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PIECE", piece)
        assert list(read_list(path, "list")) == items


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PIECE", 10_000)
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"questions": [{"text": "x" * 900, "number": n} for n in range(5000)]}))
    tracemalloc.start()
    count = sum(1 for _ in read_list(path, "questions"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000
    assert peak < path.stat().st_size / 20
