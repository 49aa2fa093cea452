"""MAC against the equations of its paper, one question, one step, one word and one cell at a time."""

import pytest
import torch
import torch.nn.functional as F
from hacore_mac import Config
from hacore_mac.mac import MAC
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hacore.interfaces import Question, Selection, Sizes, build, grid_positions

GRID = (4, 5)
WIDTH = 6


def make(dtype=torch.float64, word_channels=4, **options):
    sizes = Sizes(
        image=(3, 8, 8),
        words=9,
        answers=3,
        grid=GRID,
        cell_channels=5,
        question_channels=3,
        word_channels=word_channels,
    )
    return build(MAC, Config(**{"width": WIDTH, "steps": 3, **options}), sizes).to(dtype)


def inputs(questions, kept, words, *, ragged=False, weighted=False, dtype=torch.float64):
    """A selection and questions whose floats require gradients; what is absent holds large numbers."""
    cells = GRID[0] * GRID[1]
    valid_QK = torch.rand(questions, kept) < 0.6 if ragged else torch.ones(questions, kept, dtype=torch.bool)
    features = torch.randn(questions, kept, 5, dtype=dtype).masked_fill(~valid_QK[..., None], 1e3)
    lengths_Q = torch.randint(1, words + 1, (questions,))
    after_QT1 = (torch.arange(words) >= lengths_Q[:, None])[..., None]
    selection = Selection(
        features_QKC=features.requires_grad_(),
        index_QK=torch.stack([torch.randperm(cells)[:kept] for _ in range(questions)]),
        presence_QN=torch.zeros(questions, cells),
        positions_N2=grid_positions(GRID),
        grid=GRID,
        valid_QK=valid_QK if ragged else None,
        weight_QK=(torch.rand(questions, kept, dtype=dtype) + 0.1).requires_grad_() if weighted else None,
    )
    question = Question(
        vector_QC=torch.randn(questions, 3, dtype=dtype).requires_grad_(),
        words_QTC=torch.randn(questions, words, 4, dtype=dtype).masked_fill(after_QT1, 1e3).requires_grad_(),
        lengths_Q=lengths_Q,
    )
    return selection, question


def affine(layer, x):
    product = layer.weight @ x
    return product if layer.bias is None else product + layer.bias


def mixture(scores, vectors, weights=None):
    """The vectors, by the softmax of their scores, each exponential times its weight."""
    share = [torch.exp(score) for score in scores]
    if weights is not None:
        share = [weight * one for weight, one in zip(weights, share, strict=True)]
    return sum(one * vector for one, vector in zip(share, vectors, strict=True)) / sum(share)


def knowledge(model, selection, q):
    """k of each valid cell of a question, and their weights."""
    config, vectors, weights = model.config, [], []
    for j, x in enumerate(selection.features_QKC[q]):
        if selection.valid_QK is not None and not selection.valid_QK[q, j]:
            continue
        if config.coordinates:
            at = selection.positions_N2[selection.index_QK[q, j]].to(x.dtype)
            x = torch.cat([x, config.coordinate_scale * at])
        vectors.append(F.elu(affine(model.cells, x)))
        weights.append(x.new_ones(()) if selection.weight_QK is None else selection.weight_QK[q, j])
    return vectors, weights


def read(model, control, memory, vectors, weights):
    scores = []
    for k in vectors:
        inner = affine(model.remember, memory) * affine(model.know, k)  # r1
        joined = affine(model.join, torch.cat([inner, k]))  # r2
        if model.config.elu:
            scores.append(model.cell_score.weight[0] @ F.elu(control * F.elu(joined)))
        else:
            scores.append(model.cell_score.weight[0] @ (control * joined))  # r3
    if not vectors:
        return torch.zeros_like(memory)
    total = torch.zeros_like(memory)
    if model.config.tally:
        shares = [
            weight * torch.sigmoid(t + model.tally.start) for t, weight in zip(scores, weights, strict=True)
        ]
        total = affine(model.tally.layer, sum(share * k for share, k in zip(shares, vectors, strict=True)))
    return mixture(scores, vectors, weights) + total  # r4


def plain(model, selection, question):
    config, rows = model.config, []
    for q, vector in enumerate(question.vector_QC):
        words = [affine(model.words, w) for w in question.words_QTC[q, : question.lengths_Q[q]]]
        vectors, weights = knowledge(model, selection, q)
        controls, memories = [model.control_start], [model.memory_start]
        for step in range(config.steps):
            own = slice(step * WIDTH, (step + 1) * WIDTH)
            asked = model.ask.weight[own] @ vector + model.ask.bias[own]
            sought = affine(model.merge, torch.cat([controls[-1], asked]))  # c1
            scores = [model.word_score.weight[0] @ (sought * w) for w in words]  # c2
            control = mixture(scores, words)  # c3
            info = read(model, control, memories[-1], vectors, weights)
            memory = affine(model.write, torch.cat([info, memories[-1]]))  # w1
            if config.self_attention:
                scores = [model.step_score.weight[0] @ (control * c) for c in controls]  # w2
                memory = memory + affine(model.recall, mixture(scores, memories))
            if config.gate:
                kept = torch.sigmoid(affine(model.gate, control))  # w3
                memory = kept * memories[-1] + (1 - kept) * memory
            controls.append(control)
            memories.append(memory)
        rows.append(torch.cat([memories[-1], vector]))
    return torch.stack(rows)


options_drawn = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 4),
        "coordinates": st.booleans(),
        "coordinate_scale": st.sampled_from([1.0, 4.0]),
        "elu": st.booleans(),
        "tally": st.booleans(),
        "self_attention": st.booleans(),
        "gate": st.booleans(),
    }
)


@settings(deadline=None, max_examples=30)
@given(
    options=options_drawn,
    questions=st.integers(1, 4),
    kept=st.integers(1, 5),
    words=st.integers(1, 4),
    ragged=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 999),
)
def test_result_and_gradients_are_those_of_the_papers_equations(
    options, questions, kept, words, ragged, weighted, seed
):
    torch.manual_seed(seed)
    model = make(**options)
    selection, question = inputs(questions, kept, words, ragged=ragged, weighted=weighted)
    out_QC, expected_QC = model(selection, question), plain(model, selection, question)
    assert out_QC.shape == (questions, model.out_channels)
    torch.testing.assert_close(out_QC, expected_QC)
    direction = torch.randn_like(expected_QC)
    moving = [selection.features_QKC, question.vector_QC, question.words_QTC, *model.parameters()]
    moving += [selection.weight_QK] if weighted else []
    pairs = zip(
        torch.autograd.grad(out_QC, moving, direction),
        torch.autograd.grad(expected_QC, moving, direction, allow_unused=True),
        strict=True,
    )
    for ours, theirs in pairs:
        # The loop does not touch what no question of the batch has.
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs)


@pytest.mark.parametrize("options", [{}, {"elu": True}, {"tally": True}, {"elu": True, "tally": True}])
def test_a_cell_of_weight_zero_is_not_there(options):
    torch.manual_seed(0)
    model = make(**options)
    selection, question = inputs(3, 5, 4, weighted=True)
    absent_QK = torch.rand(3, 5) < 0.5
    absent_QK[0] = True
    weight_QK = selection.weight_QK.detach()
    selection.weight_QK = weight_QK.masked_fill(absent_QK, 0).requires_grad_()
    out_zero = model(selection, question)
    grads = torch.autograd.grad(out_zero.sum(), [selection.features_QKC, selection.weight_QK])
    selection.weight_QK, selection.valid_QK = weight_QK, ~absent_QK
    torch.testing.assert_close(out_zero, plain(model, selection, question))
    assert not grads[0][absent_QK].any()
    assert grads[1].isfinite().all()


@pytest.mark.parametrize("elu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_near_float64(dtype, elu):
    torch.manual_seed(0)
    model = make(elu=elu, tally=True, self_attention=True, gate=True)
    selection, question = inputs(5, 6, 4, ragged=True)
    selection.features_QKC.data.clamp_(-3, 3)
    question.words_QTC.data.clamp_(-3, 3)
    expected_QC = model(selection, question)
    model.to(dtype)
    selection.features_QKC = selection.features_QKC.to(dtype)
    question.vector_QC, question.words_QTC = question.vector_QC.to(dtype), question.words_QTC.to(dtype)
    out_QC = model(selection, question)
    assert out_QC.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(out_QC.double(), expected_QC, rtol=tolerance, atol=tolerance)


def test_under_autocast_every_softmax_is_in_float32(monkeypatch):
    torch.manual_seed(0)
    model = make(torch.float32, self_attention=True)
    dtypes, softmax = [], torch.Tensor.softmax

    def watched(scores, dim):
        dtypes.append(scores.dtype)
        return softmax(scores, dim)

    monkeypatch.setattr(torch.Tensor, "softmax", watched)
    selection, question = inputs(3, 4, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(selection, question).dtype == torch.float32
    assert dtypes == [torch.float32] * 3 * 3  # words, cells and steps, by the formula


@pytest.mark.parametrize("name", ["memory_dropout", "read_dropout"])
def test_dropout_is_drawn_once_for_all_steps_of_a_training_step(name, monkeypatch):
    torch.manual_seed(0)
    model = make(**{name: 0.5}).eval()
    selection, question = inputs(3, 4, 4)
    still = model(selection, question)
    assert torch.equal(model(selection, question), still)
    model.train()
    shapes, dropout = [], F.dropout

    def watched(x, p, training):
        if p:
            shapes.append(tuple(x.shape))
        return dropout(x, p, training)

    monkeypatch.setattr(F, "dropout", watched)
    first = model(selection, question)
    assert shapes == [(3, WIDTH) if name == "memory_dropout" else (3, 4, WIDTH)]
    assert not torch.allclose(first, model(selection, question))


def test_a_step_reads_by_one_vector_a_question():
    def multiply_adds(kept, steps, elu):
        model = make(torch.float32, steps=steps, elu=elu)
        selection, question = inputs(2, kept, 4, dtype=torch.float32)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(selection, question)
        return counter.get_total_flops() // 2

    # torch does not count the products of its attention.
    for elu, of_a_cell in ((False, 0), (True, WIDTH * WIDTH)):
        of_a_step = [multiply_adds(kept, 4, elu) - multiply_adds(kept, 3, elu) for kept in (9, 10)]
        assert of_a_step[1] - of_a_step[0] == 2 * of_a_cell


def test_a_tally_tells_two_equal_cells_from_one():
    """A softmax over equal cells gives what one of them gives."""
    torch.manual_seed(0)
    for tally in (False, True):
        model = make(tally=tally, coordinates=False)
        selection, question = inputs(2, 2, 4)
        selection.features_QKC.data[:, 1] = selection.features_QKC.data[:, 0]
        both = model(selection, question)
        selection.valid_QK = torch.tensor([[True, False]] * 2)
        assert torch.allclose(model(selection, question), both) is not tally


def test_an_encoder_without_states_of_words_is_refused():
    with pytest.raises(ValueError, match=r"state at each word.*lstm"):
        make(word_channels=0)
