"""The Relation Network against the plain formula: every pair concatenated, one at a time in layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import pytest
import torch
from hacore_rn import Config
from hacore_rn.rn import RN
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from hacore.interfaces import Question, Selection, Sizes, grid_positions

GRID = (4, 5)


def make(
    questions: int = 3,
    k: int = 4,
    channels: int = 5,
    question_channels: int = 3,
    *,
    dtype: torch.dtype = torch.float64,
    ragged: bool = False,
    weighted: bool = False,
    seed: int = 0,
    **options: object,
) -> tuple[RN, Selection, Tensor]:
    """A module with a selection and question vectors whose floats require gradients."""
    torch.manual_seed(seed)
    sizes = Sizes(
        image=(3, 8, 8), words=0, answers=0, grid=GRID, cell_channels=channels,
        question_channels=question_channels,
    )  # fmt: skip
    module = RN(Config(**options), sizes).to(dtype)
    cells = GRID[0] * GRID[1]
    index_QK = torch.stack([torch.randperm(cells)[:k] for _ in range(questions)])
    weight_QK = torch.randn(questions, k, dtype=dtype).requires_grad_() if weighted else None
    selection = Selection(
        features_QKC=torch.randn(questions, k, channels, dtype=dtype).requires_grad_(),
        index_QK=index_QK,
        presence_QN=torch.ones(questions, cells, dtype=dtype),
        positions_N2=grid_positions(GRID),
        grid=GRID,
        valid_QK=torch.rand(questions, k) < 0.6 if ragged else None,
        weight_QK=weight_QK,
    )
    return module, selection, torch.randn(questions, question_channels, dtype=dtype).requires_grad_()


def plain(module: RN, selection: Selection, question_QC: Tensor) -> Tensor:
    """Equation 1 of the paper, question by question, with every pair written out."""
    rows = []
    for q, o_KC in enumerate(selection.features_QKC):
        if module.config.coordinates:
            place_K2 = selection.kept_positions_QK2[q].to(o_KC.dtype)
            o_KC = torch.cat([o_KC, module.config.coordinate_scale * place_K2], dim=1)
        weight_K = torch.ones_like(o_KC[:, 0]) if selection.weight_QK is None else selection.weight_QK[q]
        if selection.valid_QK is not None:
            o_KC, weight_K = o_KC[selection.valid_QK[q]], weight_K[selection.valid_QK[q]]
        pairs = [
            torch.cat([o_KC[i], o_KC[j], question_QC[q]]) for i in range(len(o_KC)) for j in range(len(o_KC))
        ]
        if not pairs:
            rows.append(o_KC.sum() * o_KC.new_zeros(module.out_channels))
            continue
        h_PW = torch.stack(pairs)
        for layer in (module.first, *module.rest):
            h_PW = F.relu(F.linear(h_PW, layer.weight, layer.bias))
        terms_PW = h_PW * torch.outer(weight_K, weight_K).view(-1, 1)
        rows.append(terms_PW.mean(0) if module.config.reduce == "mean" else terms_PW.sum(0))
    return torch.stack(rows)


def leaves(module: RN, selection: Selection, question_QC: Tensor) -> list[Tensor]:
    weights = [] if selection.weight_QK is None else [selection.weight_QK]
    return [*module.parameters(), selection.features_QKC, question_QC, *weights]


def assert_equals_plain(module: RN, selection: Selection, question_QC: Tensor, tolerance: float) -> None:
    """Result and all gradients; the tolerance is a share of the largest number of each tensor."""
    expected, output = plain(module, selection, question_QC), module(selection, Question(question_QC))
    direction = torch.randn_like(expected)
    inputs = leaves(module, selection, question_QC)
    pairs = zip(
        [output, *torch.autograd.grad(output, inputs, direction, allow_unused=True)],
        [expected, *torch.autograd.grad(expected, inputs, direction, allow_unused=True)],
        strict=True,
    )
    for ours, theirs in pairs:
        theirs = torch.zeros_like(ours) if theirs is None else theirs
        torch.testing.assert_close(
            ours, theirs, rtol=0, atol=tolerance * max(1.0, float(theirs.detach().abs().max()))
        )


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


shapes = st.fixed_dictionaries(
    {
        "questions": st.integers(1, 5),
        "k": st.integers(1, 6),
        "channels": st.integers(1, 6),
        "question_channels": st.integers(1, 4),
        "width": st.integers(1, 9),
        "layers": st.integers(1, 4),
        "coordinates": st.booleans(),
        "coordinate_scale": st.sampled_from([1.0, 4.0]),
        "reduce": st.sampled_from(["sum", "mean"]),
        "pairs_per_block": st.one_of(st.none(), st.integers(1, 120)),
        "recompute": st.sampled_from(["auto", "always", "never"]),
        "ragged": st.booleans(),
        "weighted": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_equals_the_plain_formula_in_float64(shape: dict[str, object]) -> None:
    assert_equals_plain(*make(**shape), tolerance=1e-10)


@settings(max_examples=15, deadline=None)
@given(shapes)
def test_equals_the_plain_formula_in_float32(shape: dict[str, object]) -> None:
    assert_equals_plain(*make(**shape, dtype=torch.float32), tolerance=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_many_blocks_on_every_number_of_threads(threads: int, ragged: bool, weighted: bool) -> None:
    assert_equals_plain(
        *make(17, 9, ragged=ragged, weighted=weighted, width=16, pairs_per_block=30), tolerance=1e-10
    )


def test_gradcheck() -> None:
    module, selection, question_QC = make(2, 3, 2, 2, weighted=True, width=4, layers=3, pairs_per_block=4)

    def of(features: Tensor, weight: Tensor, question: Tensor, *parameters: Tensor) -> Tensor:
        changed = attrs.evolve(selection, features_QKC=features, weight_QK=weight)
        names = [name for name, _ in module.named_parameters()]
        return torch.func.functional_call(
            module, dict(zip(names, parameters, strict=True)), (changed, Question(question))
        )

    inputs = (selection.features_QKC, selection.weight_QK, question_QC, *module.parameters())
    assert torch.autograd.gradcheck(of, inputs)


def test_a_weight_that_is_not_trained_still_counts() -> None:
    module, selection, question_QC = make(weighted=True, width=6)
    fixed = attrs.evolve(selection, weight_QK=selection.weight_QK.detach())
    expected, output = plain(module, fixed, question_QC), module(fixed, Question(question_QC))
    inputs = [*module.parameters(), fixed.features_QKC]
    ours = torch.autograd.grad(output.sum(), inputs)
    theirs = torch.autograd.grad(expected.sum(), inputs)
    torch.testing.assert_close((output, *ours), (expected, *theirs))


def test_result_repeats_bit_for_bit(threads: int) -> None:
    module, selection, question_QC = make(20, 8, dtype=torch.float32, width=16, pairs_per_block=100)
    inputs = leaves(module, selection, question_QC)
    results = []
    for _ in range(3):
        out = module(selection, Question(question_QC))
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


def test_order_of_cells_does_not_matter() -> None:
    module, selection, question_QC = make(3, 6)
    order = torch.randperm(6)
    shuffled = attrs.evolve(
        selection, features_QKC=selection.features_QKC[:, order], index_QK=selection.index_QK[:, order]
    )
    torch.testing.assert_close(
        module(shuffled, Question(question_QC)), module(selection, Question(question_QC))
    )


def test_coordinates_tell_cells_apart_and_can_be_left_out() -> None:
    for coordinates in (True, False):
        module, selection, question_QC = make(coordinates=coordinates)
        moved = attrs.evolve(selection, index_QK=(selection.index_QK + 1) % (GRID[0] * GRID[1]))
        same = torch.equal(module(moved, Question(question_QC)), module(selection, Question(question_QC)))
        assert same is not coordinates


def counted(module: RN, selection: Selection, question_QC: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module(selection, Question(question_QC))
    return counter.get_total_flops() // 2


def test_ragged_counts_cost_the_sum_of_their_squares(threads: int) -> None:
    module, selection, question_QC = make(6, 10, 5, 3, ragged=True, width=8, layers=3, pairs_per_block=20)
    counts = selection.valid_QK.sum(1)
    cells, pairs = int(counts.sum()), int(counts.square().sum())
    assert 0 < pairs < 6 * 10**2 / 2
    per_cell = 2 * 7 * 8
    assert counted(module, selection, question_QC) == cells * per_cell + 6 * 3 * 8 + pairs * 2 * 8 * 8


def test_a_question_without_cells_gives_zeros_and_no_gradient() -> None:
    module, selection, question_QC = make(3, 4, reduce="mean")
    valid_QK = torch.tensor([[True] * 4, [False] * 4, [True, False, False, True]])
    out_QW = module(attrs.evolve(selection, valid_QK=valid_QK), Question(question_QC))
    assert not out_QW[1].any()
    (grad,) = torch.autograd.grad(out_QW.sum(), selection.features_QKC)
    assert not grad[1].any()
    assert grad[0].any()
    assert grad.isfinite().all()
    nothing = module(attrs.evolve(selection, valid_QK=torch.zeros_like(valid_QK)), Question(question_QC))
    assert not nothing.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weighted", [False, True])
def test_half_precision_is_close_and_summed_in_float32(dtype: torch.dtype, weighted: bool) -> None:
    options = {"width": 32, "pairs_per_block": 50, "weighted": weighted}
    module, selection, question_QC = make(4, 12, dtype=torch.float32, **options)
    exact = module(selection, Question(question_QC))
    exact_grads = torch.autograd.grad(exact.sum(), list(module.parameters()))
    half = RN(module.config, module.sizes).to(dtype)
    half.load_state_dict(module.state_dict())
    weight_QK = None if selection.weight_QK is None else selection.weight_QK.to(dtype)
    cast = attrs.evolve(selection, features_QKC=selection.features_QKC.to(dtype), weight_QK=weight_QK)
    with torch.autocast("cpu", dtype=dtype):
        mixed = module(selection, Question(question_QC))
    for output, parameters in (
        (half(cast, Question(question_QC.to(dtype))), list(half.parameters())),
        (mixed, list(module.parameters())),
    ):
        assert output.dtype == parameters[0].dtype
        scale = float(exact.detach().abs().max())
        torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.02 * scale)
        for ours, theirs in zip(torch.autograd.grad(output.sum(), parameters), exact_grads, strict=True):
            assert F.cosine_similarity(ours.float().flatten(), theirs.flatten(), dim=0) > 0.99


@settings(max_examples=20, deadline=None)
@given(
    questions=st.integers(3, 6),
    k=st.integers(8, 14),
    width=st.sampled_from([8, 24, 64]),
    layers=st.integers(1, 4),
    recompute=st.sampled_from(["always", "never"]),
    ragged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_bfloat16_is_the_plain_formula_in_bfloat16_within_its_rounding(
    questions: int, k: int, width: int, layers: int, recompute: str, ragged: bool, seed: int
) -> None:
    """Blocks, sums and ReLUs by bits lose about as much as torch does. The share allowed besides is that of
    single pairs whose ReLU opens or stays shut by a rounding."""
    options = {"width": width, "layers": layers, "recompute": recompute, "ragged": ragged, "seed": seed}
    module, selection, question_QC = make(questions, k, pairs_per_block=40, **options)
    weights_QW = torch.randn(questions, width, dtype=torch.float64)

    def step(result_QW: Tensor, inputs: list[Tensor]) -> list[Tensor]:
        loss = (result_QW * weights_QW.to(result_QW.dtype)).sum()
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        return [result_QW.detach(), *gradients]

    exact = step(plain(module, selection, question_QC), leaves(module, selection, question_QC))
    module = module.float()
    selection.features_QKC = selection.features_QKC.detach().float().requires_grad_()
    question_QC = question_QC.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours = module(selection, Question(question_QC))
    mine = step(ours, leaves(module, selection, question_QC))
    with torch.autocast("cpu", torch.bfloat16):
        reference = plain(module, selection, question_QC)
    theirs = step(reference.float(), leaves(module, selection, question_QC))
    for own, other, truth in zip(mine, theirs, exact, strict=True):
        share = 0.15 * float(truth.norm()) + 1e-6
        assert float((own - truth).norm()) <= 2 * float((other - truth).norm()) + share


@pytest.mark.parametrize("where", ["cells", "question", "weight"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_nan_shows_in_the_result(where: str, precision: torch.dtype, sign: int) -> None:
    module, selection, question_QC = make(dtype=torch.float32, width=16)
    nan = torch.tensor(float("nan")).copysign(torch.tensor(float(sign)))
    with torch.no_grad():
        place = {"cells": selection.features_QKC, "question": question_QC, "weight": module.rest[0].weight}
        place[where].view(-1)[0] = nan
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            assert module(selection, Question(question_QC)).isnan().any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_saved(threads: int, mode: type) -> None:
    module, selection, question_QC = make(9, 6, width=8, pairs_per_block=40)
    expected = module(selection, Question(question_QC)).detach()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x), mode():
        output = module(selection, Question(question_QC))
    assert not saved
    assert not output.requires_grad
    torch.testing.assert_close(output, expected)


def test_training_takes_a_tenth_of_the_memory_of_the_plain_formula() -> None:
    questions, k, width, limit = 24, 16, 64, 256
    peaks = {}
    for recompute in ("always", "never"):
        case = make(
            questions, k, 24, 32, dtype=torch.float32, width=width, layers=4, pairs_per_block=limit,
            recompute=recompute,
        )  # fmt: skip
        peaks[recompute] = peak_bytes(lambda case=case: case[0](case[1], Question(case[2])).sum().backward())
    pairs = questions * k**2
    saved_by_plain = 4 * pairs * (2 * 26 + 32 + 4 * width)
    buffers = 4 * 5 * limit * width
    per_cell = 4 * questions * k * width
    assert peaks["always"] - buffers - 6 * per_cell < saved_by_plain / 10
    assert peaks["never"] - peaks["always"] > 4 * pairs * width


def peak_bytes(step: Callable[[], None]) -> int:
    """Most bytes held at once by tensors a step allocates, from the profiler's allocation events."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    sizes = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = peak = 0
    for event in sorted(sizes, key=lambda event: event.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak


@pytest.mark.parametrize("recompute", ["always", "never"])
def test_backward_can_run_twice(recompute: str) -> None:
    module, selection, question_QC = make(weighted=True, recompute=recompute)
    out_QW = module(selection, Question(question_QC)).sum()
    first = torch.autograd.grad(out_QW, selection.features_QKC, retain_graph=True)
    assert torch.equal(*first, *torch.autograd.grad(out_QW, selection.features_QKC))


def test_a_second_derivative_is_refused() -> None:
    module, selection, question_QC = make()
    (grad,) = torch.autograd.grad(
        module(selection, Question(question_QC)).square().sum(), selection.features_QKC, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("ragged", [False, True])
def test_runs_and_trains_under_torch_compile(ragged: bool) -> None:
    module, selection, question_QC = make(width=8, ragged=ragged)
    compiled = torch.compile(module, backend="aot_eager")
    inputs = leaves(module, selection, question_QC)
    output, expected = compiled(selection, Question(question_QC)), module(selection, Question(question_QC))
    torch.testing.assert_close(
        [output, *torch.autograd.grad(output.sum(), inputs)],
        [expected, *torch.autograd.grad(expected.sum(), inputs)],
    )


def test_state_is_that_of_the_linear_layers() -> None:
    module, selection, question_QC = make(width=8, layers=3)
    other = RN(module.config, module.sizes).double()
    assert not torch.equal(other(selection, Question(question_QC)), module(selection, Question(question_QC)))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(selection, Question(question_QC)), module(selection, Question(question_QC)))
    assert module.first.weight.shape == (8, 2 * (5 + 2) + 3)
    assert [type(layer) for layer in module.rest] == [nn.Linear, nn.Linear]
