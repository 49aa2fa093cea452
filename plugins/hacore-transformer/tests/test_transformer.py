"""The transformer against the formulas of its docstring, one token and one pair at a time."""

import math

import pytest
import torch
from hacore_transformer import Config
from hacore_transformer.transformer import Transformer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from hacore.interfaces import Question, Selection, Sizes, build, grid_positions

GRID = (4, 5)


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
    return build(Transformer, Config(**{"width": 6, "heads": 2, "feed_forward": 7, **options}), sizes).to(
        dtype
    )


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


def layer_norm(norm, x):
    return (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias


def affine(layer, x):
    return layer.weight @ x + layer.bias


def tokens_of(model, selection, question, q):
    """The tokens of one question, and the weight of each."""
    config = model.config
    tokens = [model.token, affine(model.question, question.vector_QC[q])]
    if config.words:
        tokens += [affine(model.words, w) for w in question.words_QTC[q, : question.lengths_Q[q]]]
    weights = [torch.ones((), dtype=model.token.dtype)] * len(tokens)
    for k, x in enumerate(selection.features_QKC[q]):
        if selection.valid_QK is not None and not selection.valid_QK[q, k]:
            continue
        if config.coordinates:
            at = selection.positions_N2[selection.index_QK[q, k]].to(x.dtype)
            x = torch.cat([x, config.coordinate_scale * at])
        tokens.append(affine(model.cells, x))
        weights.append(weights[0] if selection.weight_QK is None else selection.weight_QK[q, k])
    return tokens, weights


def plain(model, selection, question):
    width, heads = model.config.width, model.config.heads
    rows = []
    for q in range(len(question.vector_QC)):
        tokens, weights = tokens_of(model, selection, question, q)
        for layer in model.layers:
            normal = [layer_norm(layer.attend, x) for x in tokens]
            queries = [affine(layer.query, n) for n in normal]
            keys, values = (
                [affine(layer.key_value, n)[part] for n in normal]
                for part in (slice(0, width), slice(width, None))
            )
            grown = []
            for x, query in zip(tokens, queries, strict=True):
                attended = []
                for h in range(heads):
                    part = slice(h * width // heads, (h + 1) * width // heads)
                    share = [
                        weight * torch.exp(query[part] @ key[part] / math.sqrt(width // heads))
                        for key, weight in zip(keys, weights, strict=True)
                    ]
                    mixed = sum(s * value[part] for s, value in zip(share, values, strict=True))
                    attended.append(mixed / sum(share))
                x = x + affine(layer.out, torch.cat(attended))
                inner = torch.relu(affine(layer.first, layer_norm(layer.think, x)))
                grown.append(x + affine(layer.second, inner))
            tokens = grown
        rows.append(layer_norm(model.norm, tokens[0]))
    return torch.stack(rows)


def moving_of(model, selection, question):
    given = [selection.features_QKC, question.vector_QC, *model.parameters()]
    given += [question.words_QTC] if model.config.words else []
    return given + ([] if selection.weight_QK is None else [selection.weight_QK])


options_drawn = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "heads": st.sampled_from([1, 2, 3]),
        "coordinates": st.booleans(),
        "coordinate_scale": st.sampled_from([1.0, 4.0]),
        "words": st.booleans(),
    }
)


@settings(deadline=None, max_examples=25)
@given(
    options=options_drawn,
    questions=st.integers(1, 4),
    kept=st.integers(1, 5),
    words=st.integers(1, 4),
    ragged=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 999),
)
def test_result_and_gradients_are_those_of_a_plain_loop(
    options, questions, kept, words, ragged, weighted, seed
):
    torch.manual_seed(seed)
    model = make(**options)
    selection, question = inputs(questions, kept, words, ragged=ragged, weighted=weighted)
    out_QW, expected_QW = model(selection, question), plain(model, selection, question)
    torch.testing.assert_close(out_QW, expected_QW)
    direction = torch.randn_like(expected_QW)
    moving = moving_of(model, selection, question)
    pairs = zip(
        torch.autograd.grad(out_QW, moving, direction),
        torch.autograd.grad(expected_QW, moving, direction, allow_unused=True),
        strict=True,
    )
    for ours, theirs in pairs:
        # The loop does not touch what no question of the batch has.
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs)


def test_many_ragged_questions_are_as_if_each_were_alone():
    torch.manual_seed(0)
    model = make()
    selection, question = inputs(70, 9, 5, ragged=True, weighted=True)
    torch.testing.assert_close(model(selection, question), plain(model, selection, question))


def test_a_cell_of_weight_zero_is_not_there():
    torch.manual_seed(0)
    model = make()
    selection, question = inputs(3, 5, 4, weighted=True)
    absent_QK = torch.rand(3, 5) < 0.5
    absent_QK[0] = True  # a question without cells has its words
    weight_QK = selection.weight_QK.detach()
    selection.weight_QK = weight_QK.masked_fill(absent_QK, 0).requires_grad_()
    out_zero = model(selection, question)
    grads = torch.autograd.grad(out_zero.sum(), [selection.features_QKC, selection.weight_QK])
    selection.weight_QK, selection.valid_QK = weight_QK, ~absent_QK
    torch.testing.assert_close(out_zero, model(selection, question))
    assert not grads[0][absent_QK].any()
    assert grads[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_near_float64(dtype):
    torch.manual_seed(0)
    model = make(width=16, heads=4)
    selection, question = inputs(5, 6, 4, ragged=True)
    selection.features_QKC.data.clamp_(-3, 3)
    expected_QW = model(selection, question)
    model.to(dtype)
    selection.features_QKC = selection.features_QKC.to(dtype)
    question.vector_QC, question.words_QTC = question.vector_QC.to(dtype), question.words_QTC.to(dtype)
    out_QW = model(selection, question)
    assert out_QW.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(out_QW.double(), expected_QW, rtol=tolerance, atol=tolerance)


def test_norms_and_residuals_are_float32_under_autocast():
    torch.manual_seed(0)
    model = make(torch.float32)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    dtypes = []
    for norm in norms:
        norm.register_forward_hook(lambda _, args, result: dtypes.append((args[0].dtype, result.dtype)))
    selection, question = inputs(3, 4, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(selection, question).dtype == torch.float32
    assert dtypes == [(torch.float32, torch.float32)] * len(norms)


def test_dropout_is_for_training():
    torch.manual_seed(0)
    model = make(dropout=0.5).eval()
    selection, question = inputs(3, 4, 4)
    still = model(selection, question)
    assert torch.equal(model(selection, question), still)
    model.train()
    assert not torch.allclose(model(selection, question), model(selection, question))


def test_the_last_layer_reads_the_class_token_alone():
    def multiply_adds(layers):
        model = make(layers=layers, words=False)
        selection, question = inputs(2, 9, 4)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(selection, question)
        return counter.get_total_flops() // 2

    per_token = 2 * 6 * 6 + 2 * 6 * 7  # query and output, feed-forward
    one, two, three = (multiply_adds(layers) for layers in (1, 2, 3))
    of_input = 2 * (3 * 6 + 9 * 7 * 6)
    # Of 11 tokens the other 10; torch does not count the products of its attention.
    assert (three - two) - (one - of_input) == 2 * 10 * per_token


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"width = 6 .* heads = 4"):
        make(heads=4)
    with pytest.raises(ValueError, match="words = false"):
        make(word_channels=0)
    assert make(word_channels=0, words=False).out_channels == 6
