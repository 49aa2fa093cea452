import subprocess
import sys
from functools import partial

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hacore_lstm import Config
from hacore_lstm.encoder import LSTM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hacore.interfaces import Sizes, build
from hacore.testing import contract

TestContract = contract("question_encoder", "lstm", embedding=6, hidden=8)
TestContractDeep = contract(
    "question_encoder", "lstm", embedding=6, hidden=4, layers=2, bidirectional=True, reverse=True
)
TestContractStart = contract("question_encoder", "lstm", embedding=6, hidden=8, start=True, reverse=True)
TestContractAll = contract("question_encoder", "lstm", embedding=6, hidden=8, unique=False)

WORDS = 7


def encoder(dtype=torch.float64, **options):
    torch.manual_seed(0)
    sizes = Sizes(image=(3, 8, 8), words=WORDS, answers=2)
    return build(LSTM, Config(**{"embedding": 3, "hidden": 4, **options}), sizes).to(dtype)


def questions(count=6, longest=5, *, seed=0, words=WORDS):
    """Random questions, some of them equal; the padding holds words too."""
    draw = torch.Generator().manual_seed(seed)
    words_QT = torch.randint(1, words, (count, longest), generator=draw)
    lengths_Q = torch.randint(1, longest + 1, (count,), generator=draw)
    same = torch.randint(0, count, (count // 2,), generator=draw)
    words_QT[: count // 2], lengths_Q[: count // 2] = words_QT[same], lengths_Q[same]
    return words_QT, lengths_Q


def plain(model, words_QT, lengths_Q):
    """Hochreiter and Schmidhuber's cell, word by word and question by question."""
    config, vectors = model.config, []
    directions = ["", "_reverse"] if config.bidirectional else [""]
    for words_T, length in zip(words_QT.tolist(), lengths_Q.tolist(), strict=True):
        sentence = words_T[:length]
        if config.reverse:
            sentence = sentence[::-1]
        inputs = [model.embedding.weight[word] * (word != 0) for word in sentence]
        if config.start:
            inputs = [model.start, *inputs]
        for layer in range(config.layers):
            outputs, last = [], []
            for direction in directions:
                w_i, w_h, b_i, b_h = (
                    getattr(model.lstm, f"{name}_l{layer}{direction}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                h = c = torch.zeros(config.hidden, dtype=w_i.dtype)
                states = []
                for x in reversed(inputs) if direction else inputs:
                    i, f, g, o = (w_i @ x + b_i + w_h @ h + b_h).chunk(4)
                    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                    h = o.sigmoid() * c.tanh()
                    states.append(h)
                last.append(h)
                outputs.append(states[::-1] if direction else states)
            inputs = [torch.cat(parts) for parts in zip(*outputs, strict=True)]
        vectors.append(torch.cat(last))
    return torch.stack(vectors)


def alone(model, words_QT, lengths_Q, width):
    """(Q, width, C): the state at each word, from torch's LSTM over one unpadded question at a time."""
    rows = []
    for words_T, length in zip(words_QT, lengths_Q.tolist(), strict=True):
        inputs_TC = model.embedding.weight[words_T[:length]]
        if model.config.reverse:
            inputs_TC = inputs_TC.flip(0)
        if model.config.start:
            inputs_TC = torch.cat([model.start[None], inputs_TC])
        states_TC, _ = model.lstm(inputs_TC)
        states_TC = states_TC[int(model.config.start) :]
        if model.config.reverse:
            states_TC = states_TC.flip(0)
        rows.append(F.pad(states_TC, (0, 0, 0, width - length)))
    return torch.stack(rows)


def after_the_last_word(words_QTC, lengths_Q):
    return torch.arange(words_QTC.shape[1]) >= lengths_Q[:, None]


def assert_same_gradients(model, ours, reference):
    seeds = torch.randn_like(ours)
    parameters = list(model.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(ours, parameters, seeds),
        torch.autograd.grad(reference, parameters, seeds),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_declaring_imports_no_torch():
    code = "import sys, hacore_lstm as p; p.hacore_declare(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 7),
    longest=st.integers(1, 5),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    reverse=st.booleans(),
    start=st.booleans(),
    unique=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_formula(count, longest, layers, bidirectional, reverse, start, unique, seed):
    model = encoder(layers=layers, bidirectional=bidirectional, reverse=reverse, start=start, unique=unique)
    words_QT, lengths_Q = questions(count, longest, seed=seed)
    ours, reference = model(words_QT, lengths_Q).vector_QC, plain(model, words_QT, lengths_Q)
    assert ours.shape == (count, model.out_channels)
    torch.testing.assert_close(ours, reference)
    assert_same_gradients(model, ours, reference)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 7),
    longest=st.integers(1, 6),
    wider=st.integers(0, 3),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    reverse=st.booleans(),
    start=st.booleans(),
    unique=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_states_at_the_words_are_those_of_each_question_alone(
    count, longest, wider, layers, bidirectional, reverse, start, unique, seed
):
    model = encoder(layers=layers, bidirectional=bidirectional, reverse=reverse, start=start, unique=unique)
    words_QT, lengths_Q = questions(count, longest, seed=seed)
    words_QT = F.pad(words_QT, (0, wider), value=1)  # whatever the padding holds
    question = model(words_QT, lengths_Q)
    ours = question.words_QTC
    assert torch.equal(question.lengths_Q, lengths_Q)
    assert ours.shape[1] >= lengths_Q.max()
    assert ours.shape[2] == model.word_channels == 4 * (2 if bidirectional else 1)
    assert not ours[after_the_last_word(ours, lengths_Q)].any()
    reference = alone(model, words_QT, lengths_Q, ours.shape[1])
    torch.testing.assert_close(ours, reference)
    assert_same_gradients(model, ours, reference)


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_neither_padding_nor_the_batch_matter(unique, bidirectional, reverse):
    model = encoder(layers=2, unique=unique, bidirectional=bidirectional, reverse=reverse)
    words_QT, lengths_Q = questions()
    expected = model(words_QT, lengths_Q).vector_QC
    blank = words_QT.masked_fill(torch.arange(words_QT.shape[1]) >= lengths_Q[:, None], 0)
    wider = torch.cat([blank, torch.zeros(len(blank), 3, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(model(wider, lengths_Q).vector_QC, expected)
    for question, (words_T, length) in enumerate(zip(words_QT, lengths_Q, strict=True)):
        single = model(words_T[None, :length], length[None]).vector_QC[0]
        torch.testing.assert_close(single, expected[question])


def test_equal_questions_are_encoded_once():
    rows = []
    model = encoder()
    model.embedding.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    words_QT = torch.tensor([[1, 2, 0], [1, 2, 5], [1, 2, 3], [1, 2, 3], [1, 0, 0]])
    lengths_Q = torch.tensor([2, 2, 3, 3, 2])
    question = model(words_QT, lengths_Q)
    vectors, states = question.vector_QC, question.words_QTC
    assert rows == [3]
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(states[0], states[1])
    # The last word may be the padding index: length tells "1 0" from "1".
    model(torch.tensor([[1, 0], [1, 0]]), torch.tensor([1, 2]))
    assert rows == [3, 2]
    everything = encoder(unique=False)(words_QT, lengths_Q)
    torch.testing.assert_close(everything.vector_QC, vectors)
    torch.testing.assert_close(everything.words_QTC, states)


def test_equal_questions_do_not_share_dropout():
    model = encoder(layers=2, dropout=0.5, hidden=16).train()
    vectors = model(torch.tensor([[1, 2], [1, 2]]), torch.tensor([2, 2])).vector_QC
    assert not torch.equal(vectors[0], vectors[1])
    vectors = model.eval()(torch.tensor([[1, 2], [1, 2]]), torch.tensor([2, 2])).vector_QC
    assert torch.equal(vectors[0], vectors[1])


def test_padding_word_is_zero_and_stays_so():
    model = encoder()
    assert not model.embedding.weight[0].any()
    model(torch.tensor([[0, 3], [2, 0]]), torch.tensor([2, 1])).vector_QC.sum().backward()
    assert not model.embedding.weight.grad[0].any()
    assert model.embedding.weight.grad[3].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.half])
def test_result_has_the_dtype_of_the_parameters(dtype):
    words_QT, lengths_Q = questions()
    model, exact = encoder(dtype, layers=2, bidirectional=True), encoder(layers=2, bidirectional=True)
    ours, reference = model(words_QT, lengths_Q), exact(words_QT, lengths_Q)
    tolerance = {torch.bfloat16: 0.05, torch.half: 0.01}.get(dtype, 1e-5)
    for mine, theirs in (
        (ours.vector_QC, reference.vector_QC),
        (ours.words_QTC, reference.words_QTC),
    ):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), theirs, atol=tolerance, rtol=tolerance)


def test_autocast_on_cpu():
    words_QT, lengths_Q = questions()
    model = encoder(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        question = model(words_QT, lengths_Q)
    vectors, exact = question.vector_QC, model(words_QT, lengths_Q)
    torch.testing.assert_close(vectors.float(), exact.vector_QC, atol=0.05, rtol=0.05)
    torch.testing.assert_close(question.words_QTC.float(), exact.words_QTC, atol=0.05, rtol=0.05)
    vectors.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 40),
    longest=st.integers(1, 9),
    hidden=st.sampled_from([4, 16, 40]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    precision=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 1000),
)
def test_fast_path_equals_the_packed_sequence_within_its_precision(
    count, longest, hidden, layers, bidirectional, precision, seed
):
    model = encoder(torch.float32, hidden=hidden, layers=layers, bidirectional=bidirectional, unique=False)
    words_QT, lengths_Q = questions(count, longest, seed=seed)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        question = model(words_QT, lengths_Q)
    exact = encoder(hidden=hidden, layers=layers, bidirectional=bidirectional)
    exact.load_state_dict(model.state_dict())
    packed = pack_padded_sequence(
        exact.embedding(words_QT), lengths_Q, batch_first=True, enforce_sorted=False
    )
    output, (state, _) = exact.lstm(packed)
    states_QTC, _ = pad_packed_sequence(output, batch_first=True, total_length=question.words_QTC.shape[1])
    vector_QC = torch.cat(list(state[-2:] if bidirectional else state[-1:]), dim=1)
    assert question.vector_QC.dtype == question.words_QTC.dtype == precision
    tolerance = 1e-5 if precision == torch.float32 else 0.05
    close = partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    close(question.vector_QC.double(), vector_QC)
    close(question.words_QTC.double(), states_QTC)
    seeds = torch.randn_like(vector_QC), torch.randn_like(states_QTC)
    mine = torch.autograd.grad(
        (question.vector_QC, question.words_QTC), list(model.parameters()), [x.to(precision) for x in seeds]
    )
    theirs = torch.autograd.grad((vector_QC, states_QTC), list(exact.parameters()), seeds)
    for gradient, expected in zip(mine, theirs, strict=True):
        scale = float(expected.abs().max()) + 1e-12
        close(gradient.double() / scale, expected / scale)


@pytest.mark.parametrize(("lengths", "words"), [([2, 0], "from 0 to 2"), ([2, 4], "from 2 to 4")])
def test_lengths_out_of_range(lengths, words):
    with pytest.raises(ValueError, match=rf"lengths {words}.*must be from 1 to 3"):
        encoder()(torch.ones(2, 3, dtype=torch.int64), torch.tensor(lengths))


def test_dropout_needs_two_layers():
    with pytest.raises(ValueError, match="acts between layers and there is one"):
        Config(dropout=0.5)
    with pytest.raises(ValueError, match="below 1"):
        Config(dropout=1.0, layers=2)


def test_word_vectors_of_the_data_start_the_embedding():
    given = np.random.default_rng(0).normal(0, 0.2, (WORDS, 3)).astype(np.float32)
    given[[0, 1, 4]] = 0  # padding, <unk> and a word without a vector
    sizes = Sizes(image=(3, 8, 8), words=WORDS, answers=2, word_vectors=given)
    torch.manual_seed(0)
    weight = build(LSTM, Config(embedding=3, hidden=4), sizes).embedding.weight
    known = given.any(1)
    assert torch.equal(weight.detach()[known], torch.from_numpy(given[known]))
    assert not weight[0].any()
    own = encoder(torch.float32).embedding.weight[[1, 4]].detach()
    torch.testing.assert_close(weight.detach()[[1, 4]], own * float(given[known].std()))
    assert weight.requires_grad
    with pytest.raises(ValueError, match=r"have 3 channels, embedding = 32; set embedding = 3"):
        build(LSTM, Config(), sizes)


def test_every_option_has_help():
    assert all(field.metadata["help"] for field in attrs.fields(Config))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_lengths_may_stay_on_the_cpu(where):
    words_QT, lengths_Q = questions()
    model = encoder(torch.float32, bidirectional=True, reverse=True)
    expected = model(words_QT, lengths_Q)
    question = model.cuda()(words_QT.cuda(), lengths_Q.to(where))
    torch.testing.assert_close(question.vector_QC.cpu(), expected.vector_QC, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(question.words_QTC.cpu(), expected.words_QTC, atol=1e-4, rtol=1e-4)


class Traced(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)

    def forward(self, words, lengths):
        question = self.encoder(words, lengths)
        return question.vector_QC, question.words_QTC


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reverse": True},
        {"reverse": True, "start": True},
        {"layers": 2, "bidirectional": True, "reverse": True, "start": True},
    ],
    ids=["plain", "reverse", "start", "all"],
)
def test_exported_it_takes_any_number_of_words(options):
    model = encoder(**options)
    questions_, words = torch.export.Dim("questions"), torch.export.Dim("words")
    with torch.no_grad():
        program = torch.export.export(
            Traced(model), questions(), dynamic_shapes=({0: questions_, 1: words}, {0: questions_})
        ).module()
    for count, longest in ((1, 1), (5, 9), (12, 2)):
        words_QT, lengths_Q = questions(count, longest, seed=count)
        words_QT = F.pad(words_QT, (0, 3), value=1)  # whatever the padding holds
        vector_QC, words_QTC = program(words_QT, lengths_Q)
        torch.testing.assert_close(vector_QC, model(words_QT, lengths_Q).vector_QC, rtol=1e-6, atol=1e-9)
        assert not words_QTC[after_the_last_word(words_QTC, lengths_Q)].any()
        expected = alone(model, words_QT, lengths_Q, words_QTC.shape[1])
        torch.testing.assert_close(words_QTC, expected, rtol=1e-6, atol=1e-9)
