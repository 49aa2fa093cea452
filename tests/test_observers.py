"""Observers, and how they are chosen. What they are told: tests/train/test_observing.py."""

import json
import tomllib

import pytest

from hacore.cli.observing import chosen_observers
from hacore.errors import HacoreError, PluginError
from hacore.observers import choose_observers, observer_flags
from hacore.registry import registry
from hacore.runs import RunFolder

PLUGIN = """
import attrs
from hacore.plugin import Component, hookimpl, option

@attrs.frozen(kw_only=True)
class Config:
    word: str = option("", "a text")
    count: int = option(1, "how many", min=0)
    parts: tuple[float, ...] = option((), "numbers")
    loud: bool = option(False, "whether it is")

@hookimpl
def hacore_declare():
    return [Component(kind="observer", name="noting", target="{module}_part:Noting", config=Config,
                      summary="for a test")]
"""
PART = """
from hacore.observers import RunObserver

class Noting(RunObserver):
    def __init__(self, config, observed):
        super().__init__(config, observed)
        with open("told", "a") as file:
            print(observed.spec.name, config.word, file=file)
"""


@pytest.fixture
def noting(install):
    install("fake_noting", PLUGIN.format(module="fake_noting"), fake_noting_part=PART)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"word": 'two "words"\nand a\ttab, é'},
        {"word": "3", "count": 0, "parts": [0.5, 1e-9], "loud": True},
        {"word": "none", "parts": []},
    ],
)
def test_flags_say_the_same_again(noting, options):
    flags = observer_flags({"noting": options})
    names = [flags[i + 1] for i, word in enumerate(flags) if word == "--log"]
    given = [flags[i + 1] for i, word in enumerate(flags) if word == "--log-with"]
    again = chosen_observers(names, given, ())
    assert again == {"noting": options}
    assert [chosen.config for chosen in choose_observers(again)] == [
        chosen.config for chosen in choose_observers({"noting": options})
    ]


def test_names_may_come_alone_and_twice(noting):
    for log in ("noting", ["noting"], ("noting", "noting"), {"noting": {}}):
        assert [chosen.name for chosen in choose_observers(log)] == ["noting", "report"]
        assert [chosen.name for chosen in choose_observers(log, ["report"])] == ["noting"]
        assert observer_flags(log) == ["--log", "noting"]
    assert choose_observers((), ["report"]) == observer_flags(()) == []
    assert observer_flags("noting", ["report"]) == ["--log", "noting", "--without", "report"]


def test_what_is_on_by_default_can_be_left_out(install, noting):
    source = PLUGIN.format(module="fake_noting").replace('name="noting"', 'name="usual", default=True')
    install("fake_usual", source)
    assert [chosen.name for chosen in choose_observers(())] == ["report", "usual"]
    assert [chosen.name for chosen in choose_observers(["noting"], without=["usual", "report"])] == ["noting"]
    # What is on by default takes options too.
    (_, usual) = (
        choose_observers({"usual": {"word": "x"}}, ["report"]),
        choose_observers({"usual": {"word": "x"}})[0],
    )
    assert (usual.name, usual.config.word) == ("usual", "x")


def test_mistakes_are_told_with_the_way_out(noting, cli):
    words = ("run", "experiments/han_rn.toml", "--log", "noting", "--log-with")
    assert cli(*words, "noting.counts=1").error == (
        "noting.counts: unknown key; did you mean 'count'?; allowed here: word, count, parts, loud"
    )
    assert cli(*words, "noting.count=-1").error == ("noting.count: -1 is out of range; it must be at least 0")
    assert cli(*words, "count=1").error == (
        "--log-with count=1: must be NAME.KEY=VALUE, as in --log-with tensorboard.pictures=4"
    )
    assert cli(*words, "other.count=1").error == (
        "--log-with other.count=1: observer 'other' is not asked for; add --log other"
    )
    known = ", ".join(component.name for component in registry().of("observer"))
    assert cli("sweep", "small.toml", "--log", "notin").error == (
        f"unknown observer 'notin'; did you mean 'noting'?; installed: {known}"
    )


def test_an_observer_that_is_not_installed_names_its_package(uninstall):
    uninstall("hacore-tensorboard")
    message = "observer 'tensorboard' is not installed; install it from a checkout of hacore: "
    with pytest.raises(HacoreError) as error:
        choose_observers(["tensorboard"])
    assert str(error.value) == message + "pip install -e plugins/hacore-tensorboard"


def test_two_observers_of_one_name_are_an_error(install, noting):
    install("fake_other", PLUGIN.format(module="fake_other"))
    problem = "observer 'noting' is declared by fake-noting and fake-other; uninstall all but one of them"
    assert registry().problems() == [problem]
    with pytest.raises(PluginError) as error:
        registry().find("observer", "noting")
    assert str(error.value) == problem


def test_observers_are_listed_with_their_options(cli, noting):
    listed = json.loads(cli("plugins", "observer", "--json").out)["components"]
    assert [component["distribution"] for component in listed if component["name"] == "noting"] == [
        "fake-noting"
    ]
    assert {component["kind"] for component in listed} == {"observer"}
    options = json.loads(cli("plugins", "observer", "noting", "--json").out)["options"]
    assert [option["option"] for option in options] == ["word", "count", "parts", "loud"]
    assert "noting" in cli("plugins").out


def test_a_stopped_run_says_how_its_log_goes_on(noting, cli, monkeypatch, tmp_path):
    monkeypatch.setattr("hacore.workflow.run", lambda *_, **__: (RunFolder(tmp_path / "a run"), None))
    words = ("--log", "noting", "--log-with", "noting.word=my words")
    assert cli("run", "experiments/han_rn.toml", *words).error == (
        f"stopped before the end; resume with: hacore run --resume '{tmp_path}/a run' --log noting "
        """--log-with 'noting.word="my words"'"""
    )


def test_the_runs_of_a_sweep_are_logged(noting, cli, tiny, tmp_path, monkeypatch, request):
    spec = request.config.rootpath / "experiments" / "han_rn.toml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    sets = [word for override in (*tiny, "sweep.seeds=[0]") for word in ("--set", override)]
    ran = cli("sweep", spec, *sets, "--device", "cpu", "--log", "noting", "--log-with", "noting.word=x y")
    assert ran.status == 0, ran.err
    runs = json.loads((tmp_path / "sweeps" / "han_rn" / "sweep.json").read_text())["runs"]
    notes = sorted((tmp_path / "told").read_text().splitlines())
    assert notes == [f"{entry['name']} x y" for entry in runs]
    assert len(notes) == 1
    # They are no part of what a run is.
    (text, *_) = (path.read_text() for path in tmp_path.rglob("runs/*/*/spec.toml"))
    assert "noting" not in text
    assert "log" not in tomllib.loads(text)
