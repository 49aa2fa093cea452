"""What a spec may say, and what is said when it says something else."""

import unicodedata

import pytest

from hacore.errors import HacoreError, SpecError
from hacore.machine.names import file_name_part
from hacore.registry import Registry
from hacore.spec import load_spec, needs, resolve, structure_config

TOP = (
    "name, seed, data, image_encoder, question_encoder, fuser, selector, aggregator, "
    "features, head, train, eval"
)
OPTIONS = "k, share, sharp, label, way, depth, sizes, span, limit"


@pytest.fixture
def problems(write, kit):
    """problems(more, *overrides): the lines of the error of a good spec with more lines."""

    def run(more="", *overrides, **text):
        with pytest.raises(SpecError) as error:
            load_spec(write(more, **text), overrides)
        return str(error.value).splitlines()

    return run


def test_defaults_are_filled_in(write, kit):
    spec = load_spec(write())
    assert spec.name == "test"
    assert spec.selector.use == "it"
    assert spec.selector.options == structure_config(kit.find("selector", "it").declared.config, {})
    assert spec.train.batch_images == 16


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("kk = 3", ["selector.kk", "unknown", "'k'", OPTIONS]),
        ("zzzzzz = 3", ["selector.zzzzzz", "unknown", OPTIONS]),
        ('k = "3"', ["selector.k", '"3"', "integer"]),
        ("k = 1.9", ["selector.k", "1.9", "integer"]),
        ("k = 1.0", ["selector.k", "1.0", "integer"]),
        ("k = true", ["selector.k", "true", "integer"]),
        ("k = [3]", ["selector.k", "[3]", "integer"]),
        ("k = {a = 1}", ["selector.k", "table", "integer"]),
        ("k = 2020-01-01", ["selector.k", "2020-01-01", "integer"]),
        ("k = 0", ["selector.k", "0", "at least 1"]),
        ("k = 101", ["selector.k", "101", "at most 100"]),
        ("share = true", ["selector.share", "true", "number"]),
        ('share = "0.5"', ["selector.share", '"0.5"', "number"]),
        ("share = 0", ["selector.share", "0.0", "above 0"]),
        ("share = 1", ["selector.share", "1.0", "below 1"]),
        ("share = nan", ["selector.share", "nan", "finite"]),
        ("span = [0, inf]", ["selector.span", "inf", "finite"]),
        ("sharp = 1", ["selector.sharp", "1", "true or false"]),
        ('sharp = "false"', ["selector.sharp", '"false"', "true or false"]),
        ("label = 3", ["selector.label", "3", "string"]),
        ('way = "left"', ["selector.way", '"left"', "'near' or 'far'"]),
        ("depth = 18.0", ["selector.depth", "18.0", "18 or 34"]),
        ("depth = true", ["selector.depth", "true", "18 or 34"]),
        ("sizes = 3", ["selector.sizes", "3", "list of integers"]),
        ("sizes = [1, 2.5]", ["selector.sizes", "[1, 2.5]", "list of integers"]),
        ("sizes = [1, true]", ["selector.sizes", "[1, true]", "list of integers"]),
        ("sizes = [1, 0]", ["selector.sizes", "0", "at least 1"]),
        ("span = [1.0]", ["selector.span", "[1.0]", "list of 2 numbers"]),
        ('limit = "9"', ["selector.limit", '"9"', "integer"]),
        ("limit = 0", ["selector.limit", "0", "at least 1"]),
        ('k = "a\\nb\\"c"', ["selector.k", r'"a\nb\"c"', "integer"]),
        (f'k = "{"x" * 100}"', ["selector.k", f'"{"x" * 56}...', "integer"]),
        ('"z\\nz" = 3', [r"selector.z\nz", "unknown", OPTIONS]),
    ],
)
def test_a_wrong_option(problems, names, line, parts):
    at = 21 if line[0] != '"' else 19  # a quoted key is found by its table
    (problem,) = problems(line)
    names(problem, f"spec.toml:{at}: {parts[0]}", *parts[1:])


def test_1_is_a_number_and_stays_exact(write, kit):
    spec = load_spec(write("span = [1, 2.5]\nk = 1"))
    assert spec.selector.options.span == (1.0, 2.5)
    assert [type(number) for number in spec.selector.options.span] == [float, float]
    assert type(spec.selector.options.k) is int


@pytest.mark.parametrize("name", ["größe", "опыт-1", "实验_2", "क्या", "7.b"])
def test_names_are_of_any_script(write, kit, name):
    """And one name in both ways to write it, as some file systems do."""
    for form in ("NFC", "NFD"):
        spec = load_spec(write(), [f'name="{unicodedata.normalize(form, name)}"'])
        assert spec.name == unicodedata.normalize("NFC", name)
        assert file_name_part(spec.name) == spec.name


@pytest.mark.parametrize("name", ["_x", ".x", "-x", "a b", "a/b", "a:b", "😀", "a\\\\b", "x?", ""])
def test_names_that_are_no_file_names_are_refused(write, kit, names, name):
    with pytest.raises(SpecError) as caught:
        load_spec(write(), [f'name="{name}"'])
    names(str(caught.value), "name", "letters, digits", "begins with a letter or digit")


def test_options_that_contradict_each_other(problems, names):
    (problem,) = problems("limit = 3")
    names(problem, "spec.toml:19: selector", "limit = 3", "k = 8", "raise limit")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('name = "test"\n', "", ["spec.toml: name", "missing", 'name = "han_rn"']),
        ('"test"', '"../up"', ["spec.toml:1: name", '"../up"', "letters, digits, '.', '_' and '-'"]),
        ('"test"', "7", ["spec.toml:1: name", "7", "letters, digits, '.', '_' and '-'"]),
        ("seed = 0", "seed = -1", ["spec.toml:2: seed", "-1", "integer from 0 to 2^63 - 1"]),
        ("seed = 0", "seed = true", ["spec.toml:2: seed", "true", "integer from 0 to 2^63 - 1"]),
        ("seed = 0", f"seed = {2**63}", ["spec.toml:2: seed", str(2**63), "integer from 0 to 2^63 - 1"]),
        ("seed = 0", "sed = 0", ["spec.toml:2: sed", "unknown", "'seed'", TOP]),
        ('[fuser]\nuse = "it"\n', "", ["spec.toml: fuser", "missing", 'fuser = { use = "add" }']),
        ('[fuser]\nuse = "it"', "[fuser]", ["spec.toml:13: fuser", "'use'", 'fuser = { use = "add" }']),
        ('[fuser]\nuse = "it"', "[fuser]\nuse = 3", ["spec.toml:14: fuser.use", "3", "string"]),
        ("seed = 0", 'fuser = "it"', ["spec.toml:2: fuser", '"it"', "table", 'fuser = { use = "add" }']),
        ("seed = 0", "train = 3", ["spec.toml:2: train", "3", "table"]),
        (
            '[fuser]\nuse = "it"',
            '[fuser]\nuse = "ti"',
            ["spec.toml:14: fuser.use", "unknown fuser 'ti'", "'it'", "installed: it"],
        ),
        (
            '[fuser]\nuse = "it"',
            '[fuser]\nuse = "l2-topk"',
            ["spec.toml:14: fuser.use", "fuser 'l2-topk'", "'l2-topk' is a selector", "installed: it"],
        ),
        (
            '[selector]\nuse = "it"',
            '[selector]\nuse = "resnet"',
            ["spec.toml:20: selector.use", "'resnet'", "'resnet' is an image encoder", "installed: it"],
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "small-cnn"',
            ["spec.toml:8: image_encoder.use", "'small-cnn'", "pip install -e", "plugins/hacore-small-cnn"],
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "smal-cnn"',
            ["spec.toml:8: image_encoder.use", "'smal-cnn'", "'small-cnn'", "installed: it"],
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "it"\nk = 3',
            ["spec.toml:9: image_encoder.k", "unknown", "none"],
        ),
    ],
)
def test_a_wrong_section(problems, names, good, old, new, parts):
    assert old in good
    if new.startswith("fuser = "):
        good = good.replace('[fuser]\nuse = "it"\n', "")
    (problem,) = problems(text=good.replace(old, new))
    names(problem, *parts)


def test_every_problem_at_once_in_the_order_of_the_file(problems):
    text = """\
nme = "x"

[train]
lr = true
epochs = 0
betas = [0.9]

[data]
use = "it"
images = 3

[image_encoder]
use = "ti"
anything = 3
"""
    train = "epochs, steps, batch_images"
    listed = problems("", "train.stepz=3", "seed=x", text=text)
    assert [line.split(";")[0] for line in listed] == [
        "spec.toml:1: nme: unknown key",
        "spec.toml:4: train.lr: found true",
        "spec.toml:5: train.epochs: 0.0 is out of range",
        "spec.toml:10: data.images: unknown key",
        "spec.toml:13: image_encoder.use: unknown image encoder 'ti'",
        "spec.toml: name: missing",
        "spec.toml: question_encoder: missing",
        "spec.toml: fuser: missing",
        "spec.toml: selector: missing",
        "spec.toml: aggregator: missing",
        "--set train.stepz=3: unknown key",
        '--set seed=x: found "x"',
    ]
    assert train in listed[-2]
    assert problems("", text=text.replace("lr = true\nepochs = 0\n", ""))[1] == (
        "spec.toml:3: train: betas must hold two numbers, found 1"
    )


def test_places_in_inline_tables_dotted_keys_and_odd_line_ends(problems, names):
    start = 'name = "a\u2028b"\r\ndata.use = "it"\nselector = { use = "it", k = 0 }\ntrain.lr = 0\n'
    listed = problems(
        text=start + 'image_encoder = {use="it"}\nquestion_encoder.use = "it"\n[fuser]\nuse="it"\n'
    )
    name, k, lr, aggregator = listed
    names(name, "spec.toml:1: name", r'"a\u2028b"', "letters, digits, '.', '_' and '-'")
    names(k, "spec.toml:3: selector.k", "0", "at least 1")
    names(lr, "spec.toml:4: train.lr", "0.0", "above 0")
    names(aggregator, "spec.toml: aggregator", "missing", 'aggregator = { use = "mac" }')


def test_a_byte_order_mark_is_no_error(write, kit, tmp_path):
    path = tmp_path / write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_spec(path).name == "test"


def test_tables_without_a_file_have_dotted_places(kit):
    with pytest.raises(SpecError, match=r"^name: missing.*\ndata: missing"):
        resolve({})


def test_files_that_cannot_be_read(tmp_path, monkeypatch, names, write, kit):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    write()
    (tmp_path / "latin.toml").write_bytes(b'# ok\nname = "caf\xe9"\n')
    (tmp_path / "broken.toml").write_text('name = "x"\nseed = \n')
    for path, parts in {
        "spek.toml": ["no such spec file", "'spec.toml'"],
        "elsewhere/spec.toml": ["no such spec file"],
        "folder": ["folder", ".toml file"],
        "latin.toml": ["2", "0xe9", "UTF-8"],
        "broken.toml": ["TOML", "line 2, column 8"],
        "spec.toml/x": ["cannot be read", "Not a directory"],
    }.items():
        with pytest.raises(HacoreError) as error:
            load_spec(path)
        names(str(error.value), f"{path}:", *parts)


def test_needs_works_with_nothing_installed(write, names, monkeypatch):
    monkeypatch.setattr("hacore.spec._load.registry", lambda: Registry([]))
    parts = {"data": "sort-of-clevr", "image_encoder": "small-cnn", "question_encoder": "lstm"}
    parts |= {"fuser": "add", "selector": "l2-topk", "aggregator": "rn"}
    path = write(text='name = "x"\n' + "".join(f'[{key}]\nuse = "{use}"\n' for key, use in parts.items()))
    assert needs(path) == [
        ("hacore", True),
        *(
            (f"hacore-{name}", False)
            for name in ("sort-of-clevr", "small-cnn", "lstm", "fuse", "l2-topk", "rn")
        ),
        ("hacore-packing", True),
    ]
    with pytest.raises(SpecError) as error:
        needs(path, ["selector.use=l3-topk"])
    names(str(error.value), "--set selector.use=l3-topk", "'l3-topk'", "'l2-topk'", "installed: none")
