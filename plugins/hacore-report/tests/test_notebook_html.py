"""What specs, runs, results, replies and tables show in a notebook."""

from html.parser import HTMLParser

import attrs
import pytest

import hacore
from hacore.runs import RunFolder
from hacore.runs.metrics import TrainLine
from hacore.runs.result import Evaluated

EARLIER = "tests/earlier/han"
EVIL = "<script>alert(1)</script>"


class _Reader(HTMLParser):
    """Texts and tags; every tag that is opened must be closed."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.tags, self._open = [], [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    @property
    def text(self):
        return " ".join(" ".join(filter(None, self.texts)).split())


def read(value):
    return _Reader(value._repr_html_())


@pytest.fixture
def folder(request):
    return RunFolder(request.config.rootpath / EARLIER)


def test_a_spec_shows_its_components_and_its_text(folder):
    spec = folder.spec()
    page = read(spec)
    assert spec.name in page.text
    for section in ("data", "selector", "aggregator"):
        assert spec.section(section).use in page.texts
    assert f"k = {spec.selector.options.k}" in page.text
    assert "[train]" in page.text


def test_a_result_shows_accuracy_beside_baselines(folder):
    result = folder.result()
    page = read(result)
    assert f"{100 * result.accuracy:.1f}%" in page.text
    assert {"majority answer", *result.by_type} <= {*page.texts}
    without = attrs.evolve(result, accuracy=None, by_type={}, by_group={}, baselines={})
    assert "not public" in read(without).text
    assert not [tag for tag, _ in read(without).tags if tag == "table"]


def test_a_folder_shows_its_result_or_its_state(folder, tmp_path, request):
    assert f"{100 * folder.result().accuracy:.1f}%" in read(folder).text
    unfinished = RunFolder(request.config.rootpath / "tests" / "earlier" / "unfinished")
    assert "not finished" in read(unfinished).text
    assert "no such spec file" in read(RunFolder(tmp_path / "none")).text


def test_what_others_wrote_is_escaped(folder, tmp_path):
    result = attrs.evolve(folder.result(), name=EVIL, split=EVIL)
    for page in (read(result), read(RunFolder(tmp_path / EVIL))):
        assert EVIL in page.text
        assert not [tag for tag, _ in page.tags if tag == "script"]


def test_a_table_marks_what_is_marked(folder):
    runs = hacore.read_runs([folder.path])
    table = hacore.tabulate(runs, rows=["selector.use"], values=["accuracy"])
    (row,) = table.rows
    marked = attrs.evolve(table, marks={(row, (), "accuracy"): "best"}, legend="the best <one>")
    page = read(marked)
    value = f"{100 * folder.result().accuracy:.1f}"
    assert value in page.text
    assert "the best <one>" in page.text
    assert "b" in [tag for tag, _ in page.tags]
    assert "b" not in [tag for tag, _ in read(table).tags]


def test_a_reply_shows_picture_answers_and_words(tiny, tmp_path, request):
    path = request.config.rootpath / "experiments" / "han_rn.toml"
    folder, _ = hacore.run(path, tiny, runs=tmp_path, device="cpu", quiet=True, report=False)
    trained = hacore.load(folder, device="cpu")
    reply = trained.ask(trained.dataset.images("test")[0], f"what is the zebra {EVIL}")
    page = read(reply)
    assert reply.question in page.text
    assert f"{len(reply.kept)} of {reply.seen.presence.size} cells kept" in page.text
    assert [answer.answer for answer in reply.answers] == [
        text for text in page.texts if text in {answer.answer for answer in reply.answers}
    ]
    assert "zebra" in page.text.partition("never saw")[2]
    assert (
        len([1 for tag, values in page.tags if tag == "img" and values["src"].startswith("data:image/")]) == 2
    )
    check = hacore.check(folder.spec())
    assert {stage.use for stage in check.stages} <= {*read(check).texts, ""}
    assert f"{check.steps:,} steps" in read(check).text
    measured = hacore.eval(folder.path, "selector.k=3")
    assert isinstance(measured, Evaluated)
    assert f"{100 * measured.kept:.1f}%" in read(measured).text


def test_a_trained_model_shows_what_it_is_and_where_it_is_from():
    trained = hacore.load(EARLIER, device="cpu").with_selector("all-cells")
    for shown in (repr(trained), read(trained).text):
        assert EARLIER in shown
        assert "all-cells" in shown
        assert f"step {trained.step:,}" in shown
        assert "float32 on cpu" in shown
    assert len(repr(trained)) < 200
    assert trained.spec.aggregator.use in read(trained).text


def test_runs_show_a_line_each(write_run):
    paths = [write_run("selector.k=4", seed=seed, accuracy=0.25 + seed / 8) for seed in (0, 1)]
    runs = hacore.read_runs(paths)
    name = runs.runs[0].name
    assert repr(runs) == f"<Runs: 2 of {name} (2)>"
    page = read(runs)
    assert {"25.0", "37.5", name, *(run.place for run in runs.runs)} <= {*page.texts}
    assert "2 finished runs" in page.text
    noted = attrs.evolve(runs, runs=runs.runs[:1], notes=("one is left out",))
    assert repr(noted) == f"<Runs: 1 of {name}; 1 note>"
    assert "one is left out" in read(noted).text
    assert "1 finished run " in f"{read(noted).text} "


def test_a_check_without_data_says_what_is_missing(small_table, tmp_path):
    table = small_table("clevr", data={"use": "clevr", "root": str(tmp_path / "nowhere")})
    page = read(hacore.check(table))
    assert str(tmp_path / "nowhere") in page.text
    assert "steps" not in page.text


def test_other_records_and_missing_packages_show_text(folder, monkeypatch):
    line = TrainLine(step=1, epoch=1.0, loss=1.0, accuracy=0.5, kept=0.5, lr=0.1, seconds=1.0)
    assert line._repr_html_() is None
    monkeypatch.setattr("hacore.notebooks.importlib.util.find_spec", lambda name: None)
    assert folder._repr_html_() is None
