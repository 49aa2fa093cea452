"""``hacore check``, ``hacore plugins`` and ``hacore needs``: the numbers, and the same in JSON."""

import json

import pytest

from hacore.plugin import KINDS

SMALL = """
name = "small"
data = { use = "sort-of-clevr", images = 40, held_out = 5, validation = 5 }
image_encoder = { use = "small-cnn", channels = [4, 8], strides = [4], norm = "off" }
question_encoder = { use = "lstm", embedding = 4, hidden = 8 }
fuser = { use = "add", width = 16 }
selector = { use = "all-cells" }
aggregator = { use = "sum-pool" }
head = { hidden = [6] }
train = { batch_images = 7, epochs = 2 }
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def of(data):
    """The spec with other data."""
    return SMALL.replace('use = "sort-of-clevr", images = 40, held_out = 5, validation = 5', data)


def cells(line):
    return [word for word in line.replace(",", "").split("  ") if word.strip()]


def test_check_counts_what_a_person_counts(cli, small):
    report = json.loads(cli("check", small, "--json").out)
    words, answers, length = 25, 10, report["words"]
    stages = {stage["stage"]: stage for stage in report["stages"]}
    vocabulary = stages["question_encoder"]["parameters"] - 4 * 8 * (4 + 8 + 2)
    assert vocabulary % 4 == 0
    words = vocabulary // 4
    assert words > 2
    answers = (stages["head"]["parameters"] - 16 * 6 - 6) // 7
    # 75 pixels, stride 4, kernel 3 padded by 1: 19 rows, then 5.
    expected = {
        "image_encoder": (
            "25x8",
            (3 * 9 + 1) * 4 + (4 * 9 + 1) * 8,
            19 * 19 * 4 * 3 * 9 + 5 * 5 * 8 * 4 * 9,
        ),
        # Four gates, each with two biases.
        "question_encoder": ("8", words * 4 + 4 * 8 * (4 + 8 + 2), length * 4 * 8 * (4 + 8)),
        # The cell with its x and y, the question once, then one layer of 16 on every cell.
        "fuser": ("25x16", (8 + 2 + 1) * 16 + 8 * 16 + (16 + 1) * 16, 25 * 10 * 16 + 8 * 16 + 25 * 16 * 16),
        "selector": ("25x16", 0, 0),
        "aggregator": ("16", 0, 0),
        "head": (str(answers), (16 + 1) * 6 + (6 + 1) * answers, 16 * 6 + 6 * answers),
    }
    for name, (output, parameters, multiply_adds) in expected.items():
        stage = stages[name]
        assert (stage["output"], stage["parameters"], stage["multiply_adds"]) == (
            output,
            parameters,
            multiply_adds,
        ), name
        assert stage["trainable"] == parameters
    assert report["total"]["parameters"] == sum(row[1] for row in expected.values())
    assert report["total"]["multiply_adds"] == sum(row[2] for row in expected.values())
    assert report["questions"] == {"train": 600, "val": 100, "test": 100}
    # 30 training images, 7 a step, twice.
    assert (report["steps_per_epoch"], report["steps"]) == (5, 10)
    assert report["valid"] is True


def test_check_says_the_same_in_its_table(cli, small):
    report = json.loads(cli("check", small, "--json").out)
    ran = cli("check", small)
    assert ran.status == 0
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0] == f"{small} is valid"
    rows = [line.replace(",", "").split() for line in lines[2:9]]
    assert rows[:-1] == [
        [
            stage["stage"],
            stage["use"],
            stage["output"],
            *(str(stage[key]) for key in ("parameters", "trainable", "multiply_adds")),
        ]
        for stage in report["stages"]
    ]
    assert rows[-1] == ["all", *map(str, report["total"].values())]
    assert lines[10:] == [
        "questions: train 600, val 100, test 100",
        "training: 10 steps, 5 an epoch",
        f"precision: {report['precision']} on this machine",
        f"multiply-adds: one question of {report['words']} words about one image",
    ]


def test_keeping_fewer_cells_costs_less(cli, small):
    def cost(k):
        words = ("aggregator.use=rn", "selector.use=l2-topk", f"selector.k={k}")
        flags = [word for override in words for word in ("--set", override)]
        report = json.loads(cli("check", small, "--json", *flags).out)
        return {stage["stage"]: stage["multiply_adds"] for stage in report["stages"]}

    few, many = cost(4), cost(8)
    assert few["fuser"] == many["fuser"]
    # Pairs are k squared; only the first layer, which is computed per cell, grows with k.
    assert 3 * few["aggregator"] < many["aggregator"] < 4 * few["aggregator"]


def test_check_counts_every_combination_of_a_sweep(cli, names, small):
    one = json.loads(cli("check", small, "--set", "selector={use='l2-topk', k=4}", "--json").out)
    sweep = "\n[sweep]\nseeds = [0, 1]\nselector = [{ use = 'all-cells' }, { use = 'l2-topk', k = 4 }]\n"
    small.write_text(SMALL + sweep)
    report = json.loads(cli("check", small, "--json").out)
    assert report["combinations"][1] == {
        "combination": "selector = l2-topk (k = 4)",
        "seeds": 2,
        "parameters": one["total"]["parameters"],
        "multiply_adds": one["total"]["multiply_adds"],
        "steps": 10,
    }
    assert cli("check", small).out.splitlines()[0] == f"{small} is valid: 4 runs"
    small.write_text(SMALL + sweep.replace("k = 4", "k = 26"))
    names(cli("check", small).error, "selector = l2-topk (k = 26)", "25 cells")
    small.write_text(SMALL + sweep.replace("k = 4", "k = 0"))
    names(cli("check", small).error, f"{small}:14: sweep.selector.k", "0", "at least 1")


def test_plugins_lists_what_is_installed(cli):
    ran = cli("plugins")
    listing = json.loads(cli("plugins", "--json").out)
    assert listing["problems"] == []
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0].split() == ["kind", "name", "distribution", "version", "summary"]
    assert [line.split()[:4] for line in lines[1:]] == [
        [component["kind"], component["name"], component["distribution"], component["version"]]
        for component in listing["components"]
    ]
    for line, component in zip(lines[1:], listing["components"], strict=True):
        assert line.rstrip().endswith(component["summary"])
    assert {"kind": "selector", "name": "l2-topk", "distribution": "hacore-l2-topk"}.items() <= next(
        component for component in listing["components"] if component["name"] == "l2-topk"
    ).items()


def test_plugins_of_a_kind(cli):
    for kind in ("image-encoder", "image_encoder"):
        names = {
            component["name"] for component in json.loads(cli("plugins", kind, "--json").out)["components"]
        }
        assert {"small-cnn", "resnet"} <= names
        assert "lstm" not in names


def test_plugins_shows_the_options_of_one(cli):
    listing = json.loads(cli("plugins", "image_encoder", "small-cnn", "--json").out)
    assert (listing["kind"], listing["name"], listing["distribution"]) == (
        "image_encoder",
        "small-cnn",
        "hacore-small-cnn",
    )
    options = {option["option"]: option for option in listing["options"]}
    assert options["kernel"] == {
        "option": "kernel",
        "type": "an integer",
        "default": 3,
        "live": False,
        "help": "side of every kernel; each layer pads by half of it",
    }
    assert options["channels"]["default"] == [32, 64, 64, 64]
    assert options["channels"]["type"] == "a list of integers"
    assert options["norm"]["type"] == "'batch' or 'group' or 'off'"
    assert options["groups"]["default"] is None
    out = cli("plugins", "image_encoder", "small-cnn").out
    assert out.startswith("image_encoder 'small-cnn' (hacore-small-cnn ")
    for option in listing["options"]:
        assert any(
            line.startswith(option["option"] + " ") and line.rstrip().endswith(option["help"])
            for line in out.splitlines()
        ), option
    assert '"batch"' in out
    assert "none" in next(line for line in out.splitlines() if line.startswith("groups"))


def test_plugins_of_a_component_without_options(cli):
    out = cli("plugins", "selector", "all-cells").out
    assert out.endswith("\nno options\n")
    assert json.loads(cli("plugins", "selector", "all-cells", "--json").out)["options"] == []


def test_plugins_tells_of_broken_ones_and_shows_the_others(cli, names, install):
    install("fake_broken", "raise RuntimeError('no luck')")
    ran = cli("plugins", "selector")
    assert ran.status == 0
    (line,) = ran.err.splitlines()
    names(line, "hacore:", "plugin 'fake-broken'", "does not load", "RuntimeError: no luck")
    assert "l2-topk" in ran.out
    ran = cli("plugins", "--json")
    assert json.loads(ran.out)["problems"] == [line.removeprefix("hacore: ")]


def test_plugins_that_are_not_there(cli, names):
    names(cli("plugins", "selector", "l3-topk").error, "selector 'l3-topk'", "'l2-topk'", "installed:")
    ran = cli("plugins", "selectr")
    assert (ran.status, ran.out) == (2, "")
    names(ran.err.splitlines()[-1], "'selectr'", "'selector'", ", ".join(KINDS))


def test_needs_lists_packages(cli, names, small, uninstall, monkeypatch):
    uninstall("hacore-lstm")
    expected = [
        ("hacore", True),
        ("hacore-sort-of-clevr", True),
        ("hacore-small-cnn", True),
        ("hacore-lstm", False),
        ("hacore-fuse", True),
        ("hacore-all-cells", True),
        ("hacore-sum-pool", True),
        ("hacore-packing", True),
    ]
    assert cli("needs", small).out.splitlines() == [package for package, _ in expected]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert [tuple(line.split("\t")) for line in cli("needs", small).out.splitlines()] == [
        (package, "installed" if installed else "not installed") for package, installed in expected
    ]
    assert json.loads(cli("needs", small, "--json").out) == [
        {"package": package, "installed": installed} for package, installed in expected
    ]
    message = cli("check", small).error
    names(message, f"{small}:5: question_encoder.use", "'lstm'", "pip install -e plugins/hacore-lstm")


def folders_of(root, *packages):
    for package in packages:
        (root / package).mkdir(parents=True)
        (root / package / "pyproject.toml").touch()


NEEDED = [
    "hacore",
    *(f"hacore-{name}" for name in ["sort-of-clevr", "small-cnn", "lstm", "fuse", "all-cells"]),
]
NEEDED += ["hacore-sum-pool", "hacore-packing"]


def test_needs_from_a_checkout_prints_what_pip_takes(cli, names, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders_of(tmp_path / "plugins", *NEEDED[1:-1], "hacore-rn")
    (tmp_path / "pyproject.toml").touch()
    names(cli("needs", small, "--from", "plugins").error, "plugins:", "hacore-packing", "make wheels")
    folders_of(tmp_path / "plugins", "hacore-packing")
    folders = [".", *(f"plugins/{package}" for package in NEEDED[1:])]
    words = cli("needs", small, "--from", "plugins").out.split()
    assert words == [word for folder in folders for word in ("-e", folder)]
    assert json.loads(cli("needs", small, "--from", "plugins", "--json").out) == words
    monkeypatch.chdir(tmp_path / "plugins")
    assert cli("needs", small, "--from", ".").out.split()[:4] == ["-e", "..", "-e", NEEDED[1]]


def test_needs_from_wheels_names_their_files(cli, names, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    wheels = [f"dist/{package.replace('-', '_')}-0.1.0-py3-none-any.whl" for package in NEEDED]
    for wheel in wheels[1:]:
        (tmp_path / wheel).touch()
    names(cli("needs", small, "--from", "dist").error, "dist:", "wheel of hacore;")
    (tmp_path / wheels[0]).touch()
    assert cli("needs", small, "--from", "dist").out.split() == wheels


def test_needs_from_leaves_packages_of_others_to_their_owner(cli, small, install, tmp_path, monkeypatch):
    source = (
        "import attrs\nfrom hacore.plugin import Component, hookimpl\n"
        "@attrs.frozen(kw_only=True)\nclass Config:\n    'None.'\n"
        "@hookimpl\ndef hacore_declare():\n"
        "    return [Component(kind='selector', name='mine', target='x:y', config=Config, summary='a')]\n"
    )
    install("my_own", source)
    folders_of(tmp_path / "plugins", *(package for package in NEEDED[1:] if package != "hacore-all-cells"))
    (tmp_path / "pyproject.toml").touch()
    ran = cli("needs", small, "selector.use=mine", "--from", tmp_path / "plugins")
    assert ran.status == 0
    assert "my-own" not in ran.out
    assert "my-own" in ran.err


def test_new_writes_a_plugin(cli, tmp_path):
    ran = cli("new", "selector", "brand-new", "--output", tmp_path)
    assert ran.status == 0
    folder = tmp_path / "hacore-brand-new"
    assert ran.out.splitlines() == [f"wrote {folder}", f"next:  pip install -e {folder}  &&  pytest {folder}"]
    assert (folder / "pyproject.toml").is_file()
    assert "already" in cli("new", "selector", "brand-new", "--output", tmp_path).error
    assert cli("new", "selektor", "x").status == 2


def test_check_tells_costs_before_the_data_are_there(cli, names, small, tmp_path):
    missing = tmp_path / "nowhere"
    small.write_text(of(f"use = \"clevr\", root = '{missing}', size = [64, 96]"))
    report = json.loads(cli("check", small, "--json").out)
    stages = {stage["stage"]: stage for stage in report["stages"]}
    # Stride 4 twice: a grid of 4 x 6.
    assert stages["image_encoder"]["output"] == "24x8"
    assert stages["image_encoder"]["multiply_adds"] == 16 * 24 * 4 * 3 * 9 + 4 * 6 * 8 * 4 * 9
    assert stages["head"]["output"] == "28"
    assert (report["valid"], report["steps"], report["questions"]) == (True, None, {})
    assert str(missing) in report["missing"]
    ran = cli("check", small)
    assert ran.status == 0
    (line,) = [text for text in ran.out.splitlines() if "without the data" in text]
    names(line, "clevr", str(missing), "hacore data download clevr")

    missing.mkdir()
    ran = cli("check", small)
    assert ran.status == 1
    names(ran.err.strip(), str(missing))


def test_check_needs_data_of_which_nothing_is_known(cli, names, small, tmp_path):
    missing = tmp_path / "nowhere"
    small.write_text(of(f"use = \"vqa-v2\", root = '{missing}'"))
    ran = cli("check", small)
    assert ran.status == 1
    names(ran.err.strip(), str(missing))
