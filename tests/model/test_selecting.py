"""Selectors as a function of anyone's tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hacore
from hacore.errors import ComposeError, HacoreError, PluginError, SpecError
from hacore.interfaces import Cells, Question, Sizes, build, grid_positions
from hacore.registry import registry
from hacore.selection import gather_cells

pytest.importorskip("hacore_diverse_k")

DECLARED = """
from hacore.plugin import Component, hookimpl

@hookimpl
def hacore_declare():
    return [Component(kind="selector", name="nearest", target="asks_back:Nearest", summary="of a test")]
"""
CLASSES = """
from hacore.interfaces import Selector
from hacore.selection import keep_cells, strongest_first

class Nearest(Selector):
    def forward(self, cells, question):
        presence_QN = (cells.features @ question.vector_QC.unsqueeze(2)).squeeze(2).detach()
        return keep_cells(cells, strongest_first(presence_QN)[:, :2], presence_QN)
"""


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 6), st.booleans(), st.data())
def test_the_strongest_tokens_are_kept_with_their_gradient(images, count, channels, asked, data):
    k = data.draw(st.integers(1, count))
    tokens = torch.randn(images, count, channels, dtype=torch.float64, requires_grad=True)
    question = torch.randn(images, channels, dtype=torch.float64, requires_grad=True)
    given_tensors = (tokens, question) if asked else (tokens,)
    kept = hacore.select(*given_tensors, use="l2-topk", k=k)

    rows = []
    for image in range(images):
        cells = [token * question[image] if asked else token for token in tokens[image]]
        order = sorted(range(count), key=lambda n, cells=cells: -cells[n].square().sum().item())[:k]
        assert kept.index_QK[image].tolist() == order
        rows.append(torch.stack([cells[n] for n in order]))
    expected = torch.stack(rows)
    torch.testing.assert_close(kept.features_QKC, expected)
    factor = torch.randn_like(expected)
    for own, plain in zip(
        torch.autograd.grad((kept.features_QKC * factor).sum(), given_tensors),
        torch.autograd.grad((expected * factor).sum(), given_tensors),
        strict=True,
    ):
        torch.testing.assert_close(own, plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_kept_is_what_the_selector_keeps_in_a_model(dtype, asked):
    tokens = torch.randn(2, 12, 5).to(dtype)
    question = torch.randn(2, 5).to(dtype)
    sizes = Sizes(image=(3, 8, 8), words=9, answers=2, grid=(3, 4), cell_channels=5, question_channels=7)
    fused = tokens * question[:, None] if asked else tokens
    cells = Cells(features=fused, positions=grid_positions((3, 4)), grid=(3, 4))
    for name, options in (
        ("diverse-k", {"k": 5}),
        ("grid-k", {"k": 3}),
        ("adahan", {"scale": 0.5}),
        ("all-cells", {}),
        ("random-k", {"fraction": 0.5, "seed": 4}),
    ):
        declared = registry().find("selector", name)
        selector = build(declared.load(), declared.declared.config(**options), sizes).eval()
        expected = selector(cells, Question(torch.randn(2, 7)))
        kept = hacore.select(tokens, question if asked else None, name, grid=(3, 4), **options)
        assert kept.features_QKC.dtype == dtype
        for field in ("features_QKC", "index_QK", "presence_QN", "positions_N2"):
            assert torch.equal(getattr(kept, field), getattr(expected, field)), (name, field)
        assert kept.grid == (3, 4)


def test_tokens_stay_on_their_device():
    for use in ("l2-topk", "grid-k"):
        kept = hacore.select(torch.empty(2, 9, 4, device="meta"), use=use, k=3)
        for tensor in (kept.features_QKC, kept.index_QK, kept.presence_QN, kept.positions_N2):
            assert tensor.is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_keeps_what_the_cpu_keeps():
    tokens = torch.randint(-4, 5, (3, 49, 16)).float()
    for use in ("l2-topk", "random-k", "center-k"):
        on_device, here = (hacore.select(x, use=use, k=9, grid=(7, 7)) for x in (tokens.cuda(), tokens))
        assert torch.equal(on_device.index_QK.cpu(), here.index_QK)
        assert torch.equal(on_device.features_QKC.cpu(), here.features_QKC)


def test_places_are_those_of_the_grid_or_of_one_row():
    tokens = torch.randn(1, 15, 2)
    cross = hacore.select(tokens, use="center-k", k=5, grid=(5, 3)).index_QK
    assert cross.sort().values.tolist() == [[4, 6, 7, 8, 10]]
    row = hacore.select(tokens, use="center-k", k=5).index_QK
    assert row.sort().values.tolist() == [[5, 6, 7, 8, 9]]


def test_random_tokens_follow_the_seed_alone():
    tokens = torch.randn(5, 60, 3)
    before = torch.random.get_rng_state()
    first = hacore.select(tokens, use="random-k", k=6).index_QK
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(hacore.select(tokens[2:3], use="random-k", k=6).index_QK, first[2:3])
    seeds = {
        tuple(hacore.select(tokens, use="random-k", k=6, seed=seed).index_QK[0].tolist()) for seed in range(5)
    }
    assert len(seeds) == 5


@pytest.mark.parametrize("use", ["scored-topk", "soft-attention", "sparsemax"])
def test_a_selector_with_weights_is_refused_and_those_without_are_named(use, names):
    with pytest.raises(ComposeError) as error:
        hacore.select(torch.randn(1, 20, 3), torch.randn(1, 3), use=use)
    names(str(error.value), f"selector '{use}'", "weights", "all-cells", "diverse-k", "l2-topk", "random-k")
    for other in ("gumbel-topk", "entmax15", "oracle-k"):  # with weights, or told what nobody knows here
        assert other not in str(error.value)


def test_options_can_bring_weights(names):
    with pytest.raises(ComposeError) as error:
        hacore.select(torch.randn(1, 4, 3), use="adahan", budget=0.5)
    names(str(error.value), "selector 'adahan'", "log_threshold")


def test_a_selector_that_asks_back_needs_a_question(install, names):
    install("asks_declared", DECLARED, asks_back=CLASSES)
    tokens, question = torch.randn(2, 6, 4), torch.randn(2, 4)
    kept = hacore.select(tokens, question, "nearest")
    scores = (tokens * question[:, None] * question[:, None]).sum(2)
    assert torch.equal(kept.index_QK, scores.topk(2).indices)
    with pytest.raises(ComposeError) as error:
        hacore.select(tokens, use="nearest")
    names(str(error.value), "selector 'nearest'", "6 tokens of 4 channels", "question")


def test_an_oracle_says_what_it_misses(names):
    with pytest.raises(ComposeError) as error:
        hacore.select(torch.randn(1, 20, 3), use="oracle-k")
    names(str(error.value), "oracle-k", "relevant")


def test_names_and_options_are_checked_as_in_a_spec(names):
    tokens = torch.randn(1, 4, 3)
    with pytest.raises(PluginError) as error:
        hacore.select(tokens, use="l2-top")
    names(str(error.value), "'l2-top'", "did you mean 'l2-topk'")
    with pytest.raises(SpecError) as error:
        hacore.select(tokens, use="l2-topk", kk=2)
    names(str(error.value), "selector.kk", "k, fraction")
    with pytest.raises(SpecError) as error:
        hacore.select(tokens, k=0)
    names(str(error.value), "selector.k", "at least 1")
    with pytest.raises(ComposeError) as error:
        hacore.select(tokens, k=5)
    names(str(error.value), "selector 'diverse-k'", "k = 5", "4")


def test_a_missing_package_is_named(uninstall, names):
    uninstall("hacore-l2-topk")
    with pytest.raises(PluginError) as error:
        hacore.select(torch.randn(1, 4, 3), use="l2-topk")
    names(str(error.value), "selector 'l2-topk'", "pip install", "hacore-l2-topk")


@pytest.mark.parametrize(
    ("arguments", "place", "found", "allowed"),
    [
        ((torch.ones(4, 3),), "tokens", "(4, 3)", "(B, N, C)"),
        ((torch.ones(1, 4, 3, dtype=torch.int64),), "tokens", "int64", "floating-point"),
        (([[1.0]],), "tokens", "list", "(B, N, C)"),
        ((torch.ones(2, 4, 3), torch.ones(2, 5)), "question", "(2, 5)", "(2, 3)"),
        ((torch.ones(2, 4, 3), torch.ones(1, 3)), "question", "(1, 3)", "(2, 3)"),
        ((torch.ones(2, 4, 3), "what is red?"), "question", "str", "(2, 3)"),
    ],
)
def test_shapes_that_do_not_go_together_are_told(arguments, place, found, allowed, names):
    with pytest.raises(HacoreError) as error:
        hacore.select(*arguments, k=2)
    names(str(error.value), f"{place}:", found, allowed)


def test_a_grid_of_other_tokens_is_told(names):
    with pytest.raises(HacoreError) as error:
        hacore.select(torch.ones(1, 5, 3), k=2, grid=(2, 2))
    names(str(error.value), "grid:", "2x2", "5 tokens")


def test_tokens_can_be_gathered_again_by_the_index():
    tokens, question = torch.randn(2, 6, 4), torch.randn(2, 4)
    kept = hacore.select(tokens, question, use="l2-topk", k=3)
    again = gather_cells(tokens, kept.index_QK) * question[:, None]
    assert torch.equal(kept.features_QKC, again)


def test_tokens_that_are_not_finite_are_told(names):
    tokens = torch.ones(3, 6, 4)
    tokens[1, 2, 0] = torch.nan
    with pytest.raises(HacoreError) as error:
        hacore.select(tokens, use="l2-topk", k=3)
    names(str(error.value), "question 1", "not finite")


def test_without_a_number_64_tokens_are_kept():
    kept = hacore.select(torch.randn(2, 100, 8))
    assert kept.index_QK.shape == (2, 64)
    same = hacore.select(torch.randn(2, 100, 8), use="l2-topk", fraction=0.25)
    assert same.index_QK.shape == (2, 25)
    everything = hacore.select(torch.randn(2, 100, 8), use="all-cells")
    assert everything.index_QK.shape == (2, 100)
