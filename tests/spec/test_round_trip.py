"""A resolved spec is written and read again without the least difference."""

import math
import tomllib
import typing

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, given, settings

from hacore.errors import SpecError
from hacore.registry import registry
from hacore.spec import (
    SECTIONS,
    EvalConfig,
    FeaturesConfig,
    HeadConfig,
    Spec,
    TrainConfig,
    Use,
    dump_spec,
    load_spec,
    resolve,
)
from hacore.spec import structure_config as structure

CONFIGS = [
    *(
        (component.kind, component.name, component.declared.config)
        for component in registry().of(*SECTIONS.values())
    ),
    ("core", "features", FeaturesConfig),
    ("core", "head", HeadConfig),
    ("core", "train", TrainConfig),
    ("core", "eval", EvalConfig),
]
# TOML has no way to write half of a surrogate pair, and no file in UTF-8 holds one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ODD_FLOATS = st.sampled_from(
    [1e-300, 5e-324, 1e22, 1e16, 123456789.0, 0.1, 1.0, 1e-5, 1.7976931348623157e308]
)


def values(wanted):
    """Values of a type, with no thought of ranges."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if arguments:
        return st.one_of(*map(values, arguments))
    return {
        int: st.integers(-5, 200) | st.sampled_from([2**31, 2**53 + 1, 2**63 - 1]),
        float: st.floats(0, 1) | st.floats(allow_nan=False, allow_infinity=False) | ODD_FLOATS,
        bool: st.booleans(),
        str: TEXT,
        type(None): st.none(),
    }[wanted]


@st.composite
def configs(draw, cls):
    """Configs of a class: some of its options at random, where the class accepts them."""
    chosen = {}
    for field in attrs.fields(attrs.resolve_types(cls)):
        if draw(st.booleans()):
            value = draw(values(field.type))
            try:
                field.validator(None, field, value)
            except ValueError:
                continue  # out of the option's range: keep the default
            chosen[field.name] = value
    try:
        return cls(**chosen)
    except ValueError:  # options that contradict each other
        assume(False)


@st.composite
def specs(draw):
    """Specs of installed components with random options."""
    uses = {}
    for section, kind in SECTIONS.items():
        component = draw(st.sampled_from(registry().of(kind)))
        uses[section] = Use(use=component.name, options=draw(configs(component.declared.config)))
    features, train = draw(configs(FeaturesConfig)), draw(configs(TrainConfig))
    assume(features.root is None or not (train.shift or train.rotation))
    return Spec(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        seed=draw(st.integers(0, 2**63 - 1)),
        head=draw(configs(HeadConfig)),
        features=features,
        train=train,
        eval=draw(configs(EvalConfig)),
        **uses,
    )


def test_every_kind_has_a_component_to_draw_from():
    assert {kind for kind, _, _ in CONFIGS} == {*SECTIONS.values(), "core"}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_a_written_spec_reads_back_equal(spec, tmp_path_factory):
    text = dump_spec(spec)
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_bytes(text.encode())
    read = load_spec(path)
    assert read == spec
    # 1 == 1.0 and True == 1, so the text is compared too.
    assert dump_spec(read) == text


@pytest.mark.parametrize(
    ("kind", "name", "cls"), CONFIGS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_every_option_survives(kind, name, cls):
    """Each config alone, so that the options of every component are drawn."""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(configs(cls))
    def survives(config):
        base = tomllib.loads(dump_spec(DEFAULTS))
        section = name if kind == "core" else next(key for key, its in SECTIONS.items() if its == kind)
        chosen = config if kind == "core" else Use(use=name, options=config)
        spec = attrs.evolve(DEFAULTS, **{section: chosen})
        assert resolve(tomllib.loads(dump_spec(spec))) == spec
        assert resolve({**base, section: tomllib.loads(dump_spec(spec)).get(section, {})}) == spec

    survives()


def _defaults():
    first = {kind: registry().of(kind)[0].name for kind in SECTIONS.values()}
    return resolve({"name": "x", **{section: {"use": first[kind]} for section, kind in SECTIONS.items()}})


DEFAULTS = _defaults()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXT, number=st.floats(allow_nan=False, allow_infinity=False) | ODD_FLOATS)
def test_any_text_and_any_number(kit, text, number):
    spec = resolve({**tables(kit), "selector": {"use": "it", "label": text, "span": [number, 1]}})
    written = dump_spec(spec)
    read = resolve(tomllib.loads(written))
    assert read == spec
    assert read.selector.options.label == text
    assert math.copysign(1, read.selector.options.span[0]) == math.copysign(1, number)


@pytest.mark.parametrize(
    "text",
    [
        "\\", "\\\\x", "C:\\new\\u0041", '"', '"""', "'", "'''", "\0\x01\x1f\x7f\x80\x85", "\t\r\n\b\f\x1b",
        "[section]", "# no comment", "k = 3", "\u2028\ufeff\uffff\U0001f600", " padded ", "true", "3",
    ],
)  # fmt: skip
def test_odd_texts(kit, text, tmp_path):
    spec = resolve({**tables(kit), "selector": {"use": "it", "label": text}})
    (tmp_path / "spec.toml").write_bytes(dump_spec(spec).encode())
    read = load_spec(tmp_path / "spec.toml")
    assert read.selector.options.label == text
    assert dump_spec(read) == dump_spec(spec)


def tables(kit):
    return {"name": "x", **{section: {"use": "it"} for section in SECTIONS}}


def test_what_is_none_is_left_out_and_stays_none(kit):
    spec = resolve(tables(kit))
    table = tomllib.loads(dump_spec(spec))
    assert "limit" not in table["selector"]
    assert table["selector"]["sizes"] == [1, 2]
    assert list(table) == ["name", "seed", *SECTIONS, "head", "train", "eval"]


def test_a_config_from_a_table_of_its_own(kit):
    cls = kit.find("selector", "it").declared.config
    assert structure(cls, {"sizes": [4]}).sizes == (4,)
    with pytest.raises(SpecError, match=r"^k: found \"3\"; must be an integer\nspam: unknown key|^spam"):
        structure(cls, {"k": "3", "spam": 1})
