"""What the three selectors share, and that each learns what to keep."""

import itertools

import pytest
import torch
from hacore_learned_topk import GumbelConfig, PerturbedConfig, ScoredConfig
from hacore_learned_topk.gumbel import GumbelTopK
from hacore_learned_topk.perturbed import PerturbedTopK
from hacore_learned_topk.scored import ScoredTopK
from hypothesis import given, settings
from hypothesis import strategies as st

SELECTORS = {ScoredTopK: ScoredConfig, GumbelTopK: GumbelConfig, PerturbedTopK: PerturbedConfig}

each_selector = pytest.mark.parametrize("cls", SELECTORS, ids=lambda cls: cls.__name__)


@each_selector
@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99), st.data()
)
def test_evaluation_keeps_the_highest_scores(
    make_selector, cls, questions, rows, columns, channels, seed, data
):
    cells = rows * columns
    k = data.draw(st.integers(1, cells))
    torch.manual_seed(seed)
    selector, select = make_selector(cls, SELECTORS[cls](k=k), (rows, columns), channels, torch.float64)
    # Whole numbers and halves: many scores are equal, and sums are exact.
    selector.direction.data = torch.randint(-3, 4, (channels,)).double() / 2
    x_QNC = torch.randint(-2, 3, (questions, cells, channels)).double()
    selector.eval()
    selection = select(x_QNC)
    for q in range(questions):
        sums = [
            sum(a * b for a, b in zip(m, selector.direction.tolist(), strict=True)) for m in x_QNC[q].tolist()
        ]
        kept = sorted(range(cells), key=lambda n, sums=sums: (-sums[n], n))[:k]
        assert selection.index_QK[q].tolist() == kept
        assert torch.equal(selection.features_QKC[q], x_QNC[q][kept])
        expected = [value / channels**0.5 for value in sums]
        assert selection.presence_QN[q].tolist() == pytest.approx(expected)
    assert selection.share_QKN is None
    assert not selection.presence_QN.requires_grad
    assert (selection.weight_QK is None) == (cls is not ScoredTopK)


@each_selector
@pytest.mark.parametrize(
    ("options", "grid", "kept"),
    [({}, (10, 10), 16), ({"k": 1}, (1, 1), 1), ({"k": 9}, (3, 3), 9), ({"fraction": 0.145}, (10, 10), 15)],
)
def test_the_number_of_cells_kept(make_selector, cls, options, grid, kept):
    selector, select = make_selector(cls, SELECTORS[cls](**options), grid, 3)
    x_QNC = torch.randn(2, grid[0] * grid[1], 3)
    assert select(x_QNC).features_QKC.shape == (2, kept, 3)
    selector.eval()
    assert select(x_QNC).counts_Q.tolist() == [kept, kept]


@each_selector
def test_what_cannot_be_kept_is_refused(make_selector, cls, names):
    with pytest.raises(ValueError, match="k = 26") as refused:
        make_selector(cls, SELECTORS[cls](k=26), (5, 5), 2)
    names(str(refused.value), "k = 26", "25 cells", "5x5", "fraction")
    with pytest.raises(ValueError, match="k = 4") as refused:
        SELECTORS[cls](k=4, fraction=0.5)
    names(str(refused.value), "k = 4", "fraction = 0.5", "not both")
    for options in ({"k": 0}, {"fraction": 1.5}):
        with pytest.raises(ValueError, match="out of range"):
            SELECTORS[cls](**options)


@each_selector
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("train", [False, True])
def test_a_cell_that_is_not_finite_is_refused(make_selector, cls, value, train, names):
    selector, select = make_selector(cls, SELECTORS[cls](k=4), (3, 3), 2)
    selector.train(train)
    x_QNC = torch.ones(3, 9, 2)
    x_QNC[1, 4, 0] = value
    with pytest.raises(ValueError, match="not finite") as refused:
        select(x_QNC)
    names(str(refused.value), "question 1", "1 of 9 cells")


@each_selector
def test_equal_cells_have_finite_gradients_in_training(make_selector, cls):
    selector, select = make_selector(cls, SELECTORS[cls](k=3), (3, 3), 4)
    x_QNC = torch.full((2, 9, 4), 0.7, requires_grad=True)
    select(x_QNC).features_QKC.square().sum().backward()
    assert torch.isfinite(x_QNC.grad).all()
    assert selector.direction.grad is None or torch.isfinite(selector.direction.grad).all()


@each_selector
def test_scores_and_noise_are_float32_under_autocast(make_selector, cls):
    torch.manual_seed(0)
    _, select = make_selector(cls, SELECTORS[cls](k=3), (4, 4), 8)
    x_QNC = torch.randn(2, 16, 8)
    exact = select(x_QNC)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = select(x_QNC)
    assert half.presence_QN.dtype == torch.float32
    assert torch.equal(half.presence_QN, exact.presence_QN)
    for part in (half.weight_QK, half.share_QKN):
        assert part is None or part.dtype == torch.float32
    _, select = make_selector(cls, SELECTORS[cls](k=3), (4, 4), 8, torch.bfloat16)
    selection = select(x_QNC.bfloat16())
    assert selection.features_QKC.dtype == torch.bfloat16
    assert selection.presence_QN.dtype == torch.float32


@each_selector
def test_only_those_that_train_on_all_cells_say_so(make_selector, cls):
    """Training looks at cells that are not kept, or it does not: by the gradient of a kept vector."""
    torch.manual_seed(0)
    _, select = make_selector(cls, SELECTORS[cls](k=3), (4, 4), 8)
    x_QNC = torch.randn(2, 16, 8, requires_grad=True)
    selection = select(x_QNC)
    weight_QK = selection.weight_QK if selection.weight_QK is not None else torch.ones(2, 3)
    (weight_QK.unsqueeze(2) * selection.features_QKC).square().sum().backward()
    reached = int((x_QNC.grad != 0).any(2).sum())
    assert cls.dense_training == (reached > 2 * 3)


def marked_batch(generator, questions=128, cells=25):
    """Every cell holds three numbers; the answer is those of the one cell that is marked along a direction.

    Another cell is louder than it, along a direction that means nothing. Returns features (Q, N, 8), the
    marked cell (Q) and its numbers (Q, 3).
    """
    rows = torch.arange(questions)
    x_QNC = 0.5 * torch.rand(questions, cells, 8, generator=generator)
    x_QNC[:, :, :3] = torch.randn(questions, cells, 3, generator=generator)
    marked_Q, decoy_Q = torch.rand(questions, cells, generator=generator).topk(2).indices.unbind(1)
    x_QNC[rows, marked_Q, 3] += 1
    x_QNC[rows, decoy_Q, 4] += 2
    return x_QNC, marked_Q, x_QNC[rows, marked_Q, :3]


# With seed 2 the marked cell starts among the least likely. Noise reaches it all the same; scored-topk, whose
# gradient is that of kept cells alone, need not.
@pytest.mark.parametrize(
    ("cls", "seed"),
    [(ScoredTopK, 0), (ScoredTopK, 1), *itertools.product((GumbelTopK, PerturbedTopK), (0, 1, 2))],
)
def test_learns_to_keep_the_cell_with_the_answer(make_selector, cls, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 10)
    steps, k = 150, 2
    selector, select = make_selector(cls, SELECTORS[cls](k=k), (5, 5), 8)
    head = torch.nn.Linear(8, 3)
    optimizer = torch.optim.Adam([*selector.parameters(), *head.parameters()], lr=0.03)

    def share_kept():
        x_QNC, marked_Q, _ = marked_batch(generator, 500)
        selector.eval()
        index_QK = select(x_QNC).index_QK
        selector.train()
        return float((index_QK == marked_Q.unsqueeze(1)).any(1).float().mean())

    before = share_kept()
    for step in range(steps):
        selector.set_progress(step / steps)
        x_QNC, _, answer_Q3 = marked_batch(generator)
        selection = select(x_QNC)
        features_QKC = selection.features_QKC
        if selection.weight_QK is not None:
            features_QKC = features_QKC * selection.weight_QK.unsqueeze(2)
        optimizer.zero_grad()
        (head(features_QKC.sum(1)) - answer_Q3).square().mean().backward()
        optimizer.step()
    assert before < 0.5  # by chance 0.08; scores start with the louder cells
    assert share_kept() > 0.9
