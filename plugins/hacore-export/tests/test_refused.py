"""What cannot be exported is refused in one line that names the component, and leaves nothing behind."""

import attrs
import pytest
import torch
from hacore_export import ExportError
from hacore_export._description import description_of

import hacore
from hacore.cli import main
from hacore.data import Dataset
from hacore.errors import RunError
from hacore.interfaces import Aggregator, Question, QuestionEncoder, Selector


class MeanWord(QuestionEncoder):
    """Quick to trace."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.embedding = torch.nn.Embedding(sizes.words, 12)
        self.out_channels = 12

    def forward(self, words_QT, lengths_Q):
        inside_QT1 = (torch.arange(words_QT.shape[1]) < lengths_Q[:, None])[:, :, None]
        mean_QC = (self.embedding(words_QT) * inside_QT1).sum(1) / lengths_Q[:, None]
        return Question(mean_QC, lengths_Q=lengths_Q)


class Wrapped(Selector):
    """Does something to the selection of another selector first."""

    def __init__(self, inner, spoil):
        super().__init__(inner.config, inner.sizes)
        self.inner, self.spoil = inner, spoil

    def forward(self, cells, question):
        self.spoil(cells)
        return self.inner(cells, question)


class Spoiled(Aggregator):
    """The sum of the kept cells, changed."""

    def __init__(self, change):
        super().__init__(None, None)
        self.change = change

    def forward(self, selection, question):
        return self.change(selection.features_QKC.sum(1)[:, :9])


@pytest.fixture
def trained(make):
    trained = make()
    trained.model.question_encoder = MeanWord(None, trained.summary.sizes())
    return trained


def refusal(trained, **options):
    """The one line of a refused export; there is no file."""
    with pytest.raises(ExportError) as caught:
        hacore.export(trained, **options)
    assert "\n" not in str(caught.value)
    assert not (trained.folder.path / "export").exists()
    return str(caught.value)


def test_a_component_that_looks_at_the_data_is_named(trained, names, capfd):
    def spoil(cells):
        if cells.features.max() > 0:
            cells.features = cells.features * 2

    trained.model.selector = Wrapped(trained.model.selector, spoil)
    message = refusal(trained, format="torch")
    names(message, "selector 'l2-topk'", "exported", "Could not guard on data")
    names(message, "depends on the data", "torch.compiler.is_exporting()")
    assert capfd.readouterr() == ("", "")


def test_a_component_that_fixes_a_size_is_refused(trained, names):
    encoder = trained.model.question_encoder
    forward = encoder.forward

    def fixed(words, lengths):
        question = forward(words, lengths)
        return attrs.evolve(question, vector_QC=question.vector_QC * int(words.shape[1]))

    encoder.forward = fixed
    message = refusal(trained, format="torch")
    names(message, "cannot be exported", "specialized")


def test_a_component_that_fails_is_named(trained, names):
    def fail(features):
        if torch.compiler.is_exporting():
            raise KeyError("no such thing")
        return features

    trained.model.aggregator = Spoiled(fail)
    names(refusal(trained, format="torch"), "aggregator 'rn'", "exported", "'no such thing'")


def test_an_operation_without_onnx_is_named_and_torch_takes_it(trained, names):
    trained.model.aggregator = Spoiled(torch.special.bessel_j0)
    message = refusal(trained)
    names(message, "aggregator 'rn'", "ONNX", "prims.bessel_j0")
    assert hacore.export(trained, format="torch").file.is_file()


def test_a_program_that_disagrees_is_refused_and_the_old_file_stays(trained, tmp_path):
    def other(features):
        return features + 0.01 if torch.compiler.is_exporting() else features

    file = tmp_path / "model.pt2"
    hacore.export(trained, file, format="torch")
    before = file.read_bytes()
    trained.model.aggregator = Spoiled(other)
    with pytest.raises(ExportError, match=r"disagrees with the model.*logits"):
        hacore.export(trained, file, format="torch")
    assert file.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"model.pt2", "model.pt2.json"}


def test_a_program_that_keeps_other_cells_is_refused(trained, names):
    class Other(Selector):
        def __init__(self, inner):
            super().__init__(inner.config, inner.sizes)
            self.inner = inner

        def forward(self, cells, question):
            selection = self.inner(cells, question)
            if torch.compiler.is_exporting():
                selection.index_QK = (selection.index_QK + 1) % 25
            return selection

    trained.model.selector = Other(trained.model.selector)
    message = refusal(trained, format="torch")
    names(message, "other cells", "112 of 112", "at most 2%")


def test_wrong_arguments_are_named_before_any_work(trained, names, tmp_path):
    names(refusal(trained, format="tflite"), "'tflite'", "onnx, torch")
    names(refusal(trained, format="torch", opset=18), "opset = 18", "ONNX")
    message = refusal(trained, output=tmp_path / "model.onnx", format="torch")
    names(message, "model.onnx:", "'torch'", ".pt2")
    with pytest.raises(RunError, match="no such run folder"):
        hacore.export(tmp_path / "none", format="torch")


def test_the_command_line_refuses_an_opset_of_torch(capsys):
    with pytest.raises(SystemExit) as left:
        main(["export", "run", "--format", "torch", "--opset", "18"])
    assert left.value.code == 2
    assert "--opset is for --format onnx" in capsys.readouterr().err


def test_a_rule_for_words_is_told_only_where_it_holds(trained, monkeypatch):
    def rule():
        return description_of(trained, "torch", {})["word_rule"]

    cls = trained.dataset_class
    assert rule() == Dataset.word_rule
    monkeypatch.setattr(cls, "split_words", staticmethod(str.split), raising=False)
    assert rule() is None
    monkeypatch.setattr(cls, "word_rule", {"replace": {}, "pattern": r"\S+", "empty": []}, raising=False)
    assert (rule()["pattern"], rule()["normalize"]) == (r"\S+", "NFC")
    monkeypatch.setattr(cls, "tokenize", lambda self, question: [1], raising=False)
    assert rule() is None
