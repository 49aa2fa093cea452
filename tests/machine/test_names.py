"""What users write, as parts of file names."""

import subprocess
import sys
import unicodedata

import pytest

from hacore.machine.names import distinct, file_name_part, short_digest


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("is it red?", "is-it-red"),
        ("../a\\b:c*d|e<f>g\n", "a-b-c-d-e-f-g"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("v1.2_x", "v1.2_x"),
        ("这是 什么?", "这是-什么"),
        ("क्या लाल है", "क्या-लाल-है"),
        (unicodedata.normalize("NFD", "Größe"), "Größe"),
        ("\udcff x", "x"),
        ("?!", ""),
    ],
)
def test_letters_and_digits_of_any_script_stay(text, part):
    assert file_name_part(text) == part


def test_the_length_is_in_bytes_and_no_letter_is_cut():
    assert file_name_part("a" * 300) == "a" * 60
    assert file_name_part("语" * 300) == "语" * 20
    assert file_name_part("a" + "语" * 300, 5) == "a语"


def test_letters_that_the_file_system_cannot_write_are_left_out():
    """As where the locale is Latin-1."""
    code = (
        "import os; os.fsencode = lambda text: text.encode('latin-1');"
        "from hacore.machine.names import file_name_part; print(ascii(file_name_part('是 größe')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ascii("größe")


def test_a_digest_depends_on_the_value_alone():
    assert short_digest({"a": 1, "b": [2]}) == short_digest({"b": [2], "a": 1})
    values = [{"a": 1}, {"a": "1"}, {"a": 1.5}, ["a", 1], [["a"], 1], "a1", None]
    digests = {short_digest(value) for value in values}
    assert len(digests) == len(values)
    assert all(len(digest) == 8 for digest in digests)


def test_names_with_the_same_part_get_a_digest():
    parts = distinct(["yes/no", "yes:no", "count", "Count", "size"], file_name_part)
    assert parts["size"] == "size"
    assert parts["yes/no"].startswith("yes-no-")
    assert len({part.casefold() for part in parts.values()}) == 5
