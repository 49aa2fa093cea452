"""What a spec may say, and what is said when it says something else."""

import pytest

from hacore.errors import HacoreError, SpecError
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
    ("line", "problem"),
    [
        ("kk = 3", f"selector.kk: unknown key; did you mean 'k'?; allowed here: {OPTIONS}"),
        ("zzzzzz = 3", f"selector.zzzzzz: unknown key; allowed here: {OPTIONS}"),
        ('k = "3"', 'selector.k: found "3"; must be an integer'),
        ("k = 1.9", "selector.k: found 1.9; must be an integer"),
        ("k = 1.0", "selector.k: found 1.0; must be an integer"),
        ("k = true", "selector.k: found true; must be an integer"),
        ("k = [3]", "selector.k: found [3]; must be an integer"),
        ("k = {a = 1}", "selector.k: found a table; must be an integer"),
        ("k = 2020-01-01", "selector.k: found 2020-01-01; must be an integer"),
        ("k = 0", "selector.k: 0 is out of range; it must be at least 1"),
        ("k = 101", "selector.k: 101 is out of range; it must be at most 100"),
        ("share = true", "selector.share: found true; must be a number"),
        ('share = "0.5"', 'selector.share: found "0.5"; must be a number'),
        ("share = 0", "selector.share: 0.0 is out of range; it must be above 0"),
        ("share = 1", "selector.share: 1.0 is out of range; it must be below 1"),
        ("share = nan", "selector.share: nan is out of range; it must be finite"),
        ("span = [0, inf]", "selector.span: inf is out of range; it must be finite"),
        ("sharp = 1", "selector.sharp: found 1; must be true or false"),
        ('sharp = "false"', 'selector.sharp: found "false"; must be true or false'),
        ("label = 3", "selector.label: found 3; must be a string"),
        ('way = "left"', "selector.way: found \"left\"; must be 'near' or 'far'"),
        ("depth = 18.0", "selector.depth: found 18.0; must be 18 or 34"),
        ("depth = true", "selector.depth: found true; must be 18 or 34"),
        ("sizes = 3", "selector.sizes: found 3; must be a list of integers"),
        ("sizes = [1, 2.5]", "selector.sizes: found [1, 2.5]; must be a list of integers"),
        ("sizes = [1, true]", "selector.sizes: found [1, true]; must be a list of integers"),
        ("sizes = [1, 0]", "selector.sizes: 0 is out of range; it must be at least 1"),
        ("span = [1.0]", "selector.span: found [1.0]; must be a list of 2 numbers"),
        ('limit = "9"', 'selector.limit: found "9"; must be an integer'),
        ("limit = 0", "selector.limit: 0 is out of range; it must be at least 1"),
        ('k = "a\\nb\\"c"', 'selector.k: found "a\\nb\\"c"; must be an integer'),
        (f'k = "{"x" * 100}"', f'selector.k: found "{"x" * 56}...; must be an integer'),
        ('"z\\nz" = 3', f"selector.z\\nz: unknown key; allowed here: {OPTIONS}"),
    ],
)
def test_a_wrong_option(problems, line, problem):
    at = 21 if line[0] != '"' else 19  # a quoted key is found by its table
    assert problems(line) == [f"spec.toml:{at}: {problem}"]


def test_1_is_a_number_and_stays_exact(write, kit):
    spec = load_spec(write("span = [1, 2.5]\nk = 1"))
    assert spec.selector.options.span == (1.0, 2.5)
    assert [type(number) for number in spec.selector.options.span] == [float, float]
    assert type(spec.selector.options.k) is int


def test_options_that_contradict_each_other(problems):
    assert problems("limit = 3") == ["spec.toml:19: selector: limit = 3 is less than k = 8; raise limit"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'name = "test"\n',
            "",
            'spec.toml: name: missing; give the experiment a name, as in name = "han_rn"',
        ),
        (
            '"test"',
            '"../up"',
            "spec.toml:1: name: found \"../up\"; must be a string of letters, digits, '.', '_' and '-'",
        ),
        (
            '"test"',
            "7",
            "spec.toml:1: name: found 7; must be a string of letters, digits, '.', '_' and '-'",
        ),
        ("seed = 0", "seed = -1", "spec.toml:2: seed: found -1; must be an integer from 0 to 2^63 - 1"),
        ("seed = 0", "seed = true", "spec.toml:2: seed: found true; must be an integer from 0 to 2^63 - 1"),
        (
            "seed = 0",
            f"seed = {2**63}",
            f"spec.toml:2: seed: found {2**63}; must be an integer from 0 to 2^63 - 1",
        ),
        (
            "seed = 0",
            "sed = 0",
            f"spec.toml:2: sed: unknown key; did you mean 'seed'?; allowed here: {TOP}",
        ),
        (
            '[fuser]\nuse = "it"\n',
            "",
            'spec.toml: fuser: missing; choose a component, as in fuser = { use = "add" }',
        ),
        (
            '[fuser]\nuse = "it"',
            "[fuser]",
            "spec.toml:13: fuser: has no 'use'; choose a component, as in fuser = { use = \"add\" }",
        ),
        ('[fuser]\nuse = "it"', "[fuser]\nuse = 3", "spec.toml:14: fuser.use: found 3; must be a string"),
        (
            "seed = 0",
            'fuser = "it"',
            'spec.toml:2: fuser: found "it"; must be a table, as in fuser = { use = "add" }',
        ),
        ("seed = 0", "train = 3", "spec.toml:2: train: found 3; must be a table"),
        (
            '[fuser]\nuse = "it"',
            '[fuser]\nuse = "ti"',
            "spec.toml:14: fuser.use: unknown fuser 'ti'; did you mean 'it'?; installed: it",
        ),
        (
            '[fuser]\nuse = "it"',
            '[fuser]\nuse = "l2-topk"',
            "spec.toml:14: fuser.use: unknown fuser 'l2-topk'; 'l2-topk' is a selector; installed: it",
        ),
        (
            '[selector]\nuse = "it"',
            '[selector]\nuse = "resnet"',
            "spec.toml:20: selector.use: unknown selector 'resnet'; 'resnet' is an image encoder; "
            "installed: it",
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "small-cnn"',
            "spec.toml:8: image_encoder.use: image encoder 'small-cnn' is not installed; "
            "run 'pip install hacore-small-cnn'",
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "smal-cnn"',
            "spec.toml:8: image_encoder.use: unknown image encoder 'smal-cnn'; did you mean 'small-cnn'?; "
            "installed: it",
        ),
        (
            '[image_encoder]\nuse = "it"',
            '[image_encoder]\nuse = "it"\nk = 3',
            "spec.toml:9: image_encoder.k: unknown key; allowed here: none",
        ),
    ],
)
def test_a_wrong_section(problems, good, old, new, problem):
    assert old in good
    if new.startswith("fuser = "):
        good = good.replace('[fuser]\nuse = "it"\n', "")
    assert problems(text=good.replace(old, new)) == [problem]


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


def test_places_in_inline_tables_dotted_keys_and_odd_line_ends(problems):
    start = 'name = "a\u2028b"\r\ndata.use = "it"\nselector = { use = "it", k = 0 }\ntrain.lr = 0\n'
    listed = problems(
        text=start + 'image_encoder = {use="it"}\nquestion_encoder.use = "it"\n[fuser]\nuse="it"\n'
    )
    assert listed == [
        "spec.toml:1: name: found \"a\\u2028b\"; must be a string of letters, digits, '.', '_' and '-'",
        "spec.toml:3: selector.k: 0 is out of range; it must be at least 1",
        "spec.toml:4: train.lr: 0.0 is out of range; it must be above 0",
        'spec.toml: aggregator: missing; choose a component, as in aggregator = { use = "non-local" }',
    ]


def test_a_byte_order_mark_is_no_error(write, kit, tmp_path):
    path = tmp_path / write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_spec(path).name == "test"


def test_tables_without_a_file_have_dotted_places(kit):
    with pytest.raises(SpecError, match=r"^name: missing.*\ndata: missing"):
        resolve({})


def test_files_that_cannot_be_read(tmp_path, monkeypatch, write, kit):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    write()
    (tmp_path / "latin.toml").write_bytes(b'# ok\nname = "caf\xe9"\n')
    (tmp_path / "broken.toml").write_text('name = "x"\nseed = \n')
    for name, message in {
        "spek.toml": "spek.toml: no such spec file; did you mean 'spec.toml'?",
        "elsewhere/spec.toml": "elsewhere/spec.toml: no such spec file",
        "folder": "folder: is a folder; name a .toml file in it",
        "latin.toml": "latin.toml:2: found the byte 0xe9, which is not UTF-8; save the file as UTF-8",
        "broken.toml": "broken.toml: is not valid TOML: Invalid value (at line 2, column 8)",
        "spec.toml/x": "spec.toml/x: cannot be read: Not a directory",
    }.items():
        with pytest.raises(HacoreError) as error:
            load_spec(name)
        assert str(error.value) == message


def test_needs_works_with_nothing_installed(write, monkeypatch):
    monkeypatch.setattr("hacore.spec._load.registry", lambda: Registry([]))
    names = {"data": "sort-of-clevr", "image_encoder": "small-cnn", "question_encoder": "lstm"}
    names |= {"fuser": "add", "selector": "l2-topk", "aggregator": "rn"}
    path = write(text='name = "x"\n' + "".join(f'[{key}]\nuse = "{use}"\n' for key, use in names.items()))
    assert needs(path) == [
        ("hacore", True),
        *(
            (f"hacore-{name}", False)
            for name in ("sort-of-clevr", "small-cnn", "lstm", "fuse", "l2-topk", "rn")
        ),
    ]
    with pytest.raises(SpecError) as error:
        needs(path, ["selector.use=l3-topk"])
    assert str(error.value) == (
        "--set selector.use=l3-topk: unknown selector 'l3-topk'; did you mean 'l2-topk'?; installed: none"
    )
