"""``--set key=value``: the rules of the file, and the override named where one is broken."""

import pytest

from hacore.errors import HacoreError, SpecError
from hacore.spec import load_spec


@pytest.fixture
def options(write, kit):
    def run(*overrides, more=""):
        return load_spec(write(more), overrides).selector.options

    return run


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("selector.k=3", "k", 3),
        (" selector.k = 3 ", "k", 3),
        ("selector.sizes=[3, 4]", "sizes", (3, 4)),
        ("selector.span=[1, 2]", "span", (1.0, 2.0)),
        ("selector.sharp=false", "sharp", False),
        ("selector.way=far", "way", "far"),
        ('selector.way="far"', "way", "far"),
        ("selector.label=two words = text", "label", "two words = text"),
        ('selector.label="none"', "label", "none"),
        ("selector.label=", "label", ""),
        ("selector.label=C:\\new", "label", "C:\\new"),
        ('selector={use="it", k=5}', "k", 5),
        ("selector.label=é\u4e16", "label", "é\u4e16"),
        ("selector.label=1\nk = 3", "label", "1\nk = 3"),
    ],
)
def test_values_are_toml_or_bare_words(options, override, key, value):
    assert getattr(options(override), key) == value


def test_the_last_override_counts_and_none_removes(options):
    assert options("selector.k=3", "selector.k=4").k == 4
    assert options("selector.k=none", more="k = 3").k == 8
    assert options("selector.limit=none", more="limit = 50").limit is None
    assert options("selector.limit=none").limit is None


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("selector.k=1.9", ["1.9", "integer"]),
        ('selector.k="3"', ['"3"', "integer"]),
        ("selector.k=three", ['"three"', "integer"]),
        ("selector.k=", ['""', "integer"]),
        ("selector.k=0", ["0", "at least 1"]),
        ("selektor.k=3", ["selektor", "unknown", "'selector'", "name, seed, data, image_encoder"]),
        ('selector={use="it", k=0}', ["selector.k", "0", "at least 1"]),
        ("selector.use=ti", ["unknown selector 'ti'", "'it'", "installed: it"]),
        ("selector=none", ["missing", 'selector = { use = "adahan" }']),
    ],
)
def test_an_override_is_held_to_the_rules_of_the_file(write, kit, names, override, parts):
    with pytest.raises(SpecError) as error:
        load_spec(write(), [override])
    names(str(error.value), f"--set {override}:", *parts)


def test_an_override_that_contradicts_the_file_is_named_at_the_table(write, kit, names):
    with pytest.raises(SpecError) as error:
        load_spec(write(), ["selector.limit=3"])
    names(str(error.value), "spec.toml:19: selector", "limit = 3", "k = 8", "raise limit")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("selector.k", ["--set selector.k:", "key=value", "--set selector.k=8"]),
        ("=3", ["--set =3:", "key=value", "--set selector.k=8"]),
        ("selector..k=3", ["--set selector..k=3:", "key=value", "--set selector.k=8"]),
        ("a\nb", [r"--set a\nb:", "key=value", "--set selector.k=8"]),
        ("name.k=3", ["--set name.k=3:", "'name'", "not a table"]),
        ("selector.label=\udcff", [r"--set 'selector.label=\udcff':", "UTF-8"]),
    ],
)
def test_what_is_no_override(write, kit, names, override, parts):
    with pytest.raises(HacoreError) as error:
        load_spec(write(), [override])
    names(str(error.value), *parts)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("selector.sizes=4,8", "sizes = [4, 8]"),
        ("selector.sizes=4 8", "sizes = [4, 8]"),
        ("selector.sizes=[4, 8", "sizes = [4, 8]"),
        ("selector.sizes=4", "sizes = [4]"),
        ("selector.span=0.5,2", "span = [0.5, 2]"),
    ],
)
def test_a_list_that_is_written_otherwise(options, names, words, hint):
    with pytest.raises(SpecError) as caught:
        options(words)
    names(str(caught.value), words.partition("=")[0], "must be", hint)


@pytest.mark.parametrize("words", ["selector.sizes=many", "selector.span=1", "selector.sizes=[1.5]"])
def test_no_list_is_suggested_that_would_be_wrong_too(options, words):
    with pytest.raises(SpecError) as caught:
        options(words)
    assert "as in" not in str(caught.value)
