"""From Python: specs and overrides in every form, observers of one's own, and progress."""

import io

import pytest
import rich.console

import hacore
from hacore.console import Console
from hacore.errors import HacoreError
from hacore.observers import RunObserver, choose_observers, observer_flags
from hacore.spec import override_words, spec_table

SPEC = "experiments/han_rn.toml"


@pytest.fixture
def path(request):
    return request.config.rootpath / SPEC


@pytest.mark.parametrize(
    "overrides",
    [
        ["selector.k=4", "train.epochs=2"],
        {"selector.k": 4, "train.epochs": 2},
        {"selector": {"k": 4}, "train": {"epochs": 2.0}},
    ],
)
def test_overrides_come_as_texts_or_as_a_table(path, overrides):
    spec = hacore.load_spec(path, overrides)
    assert (spec.selector.options.k, spec.train.epochs) == (4, 2.0)
    assert hacore.load_spec(hacore.load_spec(path), overrides) == spec
    assert hacore.load_spec(spec_table(hacore.load_spec(path)), overrides) == spec


def test_one_override_may_be_one_text(path):
    assert hacore.load_spec(path, "selector.k=4").selector.options.k == 4


def test_values_keep_their_types():
    words = override_words({"a": None, "b": "none", "c": True, "d": [1, 2], "e": {"use": "x", "f": "g h"}})
    assert words == ["a=none", 'b="none"', "c=true", "d=[1, 2]", 'e={use = "x", f = "g h"}']


def test_a_table_with_use_takes_the_place_of_the_component(path):
    spec = hacore.load_spec(path, {"selector": {"use": "adahan"}})
    assert spec.selector.use == "adahan"
    assert spec_table(spec) == spec_table(hacore.load_spec(path, ['selector={use="adahan"}']))


def test_a_spec_stays_as_it_is(path):
    spec = hacore.load_spec(path)
    assert hacore.load_spec(spec) is spec
    table = spec_table(spec)
    hacore.load_spec(table, "seed=7")
    assert table["seed"] == spec.seed


@pytest.mark.parametrize(
    ("spec", "overrides", "parts"),
    [
        (None, (), ["spec", "NoneType", "path"]),
        (SPEC, [3], ["overrides", "3", "selector.k=8"]),
        (SPEC, {"selector": {"kk": 1}}, ["selector.kk", "k"]),
        (SPEC, "selector", ["selector", "key=value"]),
    ],
)
def test_mistakes_are_named(spec, overrides, parts, names, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(HacoreError) as error:
        hacore.load_spec(spec, overrides)
    names(str(error.value), *parts)


class Accuracies(RunObserver):
    told = []  # noqa: RUF012

    def evaluation(self, step, values, look):
        self.told.append((step, values["accuracy"]))


def test_an_observer_may_be_a_class(path, tiny, tmp_path, capsys):
    folder, result = hacore.run(path, tiny, runs=tmp_path, device="cpu", log=[Accuracies], report=False)
    assert [step for step, _ in Accuracies.told] == [result.checkpoint["step"]]
    assert f"run folder: {folder.path}" in capsys.readouterr().err
    chosen = choose_observers([Accuracies], without=["report"])
    assert [(one.name, one.load(), one.config) for one in chosen] == [("Accuracies", Accuracies, None)]
    with pytest.raises(HacoreError, match="Accuracies"):
        observer_flags([Accuracies])
    hacore.run(resume=str(folder.path), quiet=True, report=False)
    assert capsys.readouterr().err == ""


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook shows: each output of the cell as it is now."""
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, data, raw):
            assert raw
            shown[-1] = data["text/plain"]

    def show(data, raw, display_id):
        assert raw
        assert display_id
        shown.append(data["text/plain"])
        return Handle()

    monkeypatch.setattr(display, "display", show)
    return shown


def test_a_notebook_shows_progress_in_one_place(outputs):
    screen = rich.console.Console(file=io.StringIO(), force_jupyter=True)
    console = Console(screen=screen)
    for step in range(101):
        console.progress("steps", step, 100, "loss 0.5")
        if step % 10 == 0:
            console.message(f"epoch {step // 10}")
    console.close()
    (text,) = outputs
    lines = text.splitlines()
    assert lines[-1].startswith("█" * 12)
    assert lines[-1].endswith("steps: 100 of 100  loss 0.5")
    assert lines[:-1] == [f"epoch {number}" for number in range(11)]
    console.remove("steps")
    console.message("end")
    assert outputs[0].splitlines()[-1] == "end"


def test_without_the_package_a_notebook_gets_lines(outputs, monkeypatch):
    monkeypatch.setattr("hacore.notebooks.importlib.util.find_spec", lambda name: None)
    printed = []
    monkeypatch.setattr("rich.console.Console.print", lambda screen, text, **_: printed.append(text))
    Console(screen=rich.console.Console(force_jupyter=True)).progress("steps", 3, 3)
    assert (printed, outputs) == (["steps: 3 of 3"], [])
