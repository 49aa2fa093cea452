"""What each baseline keeps, against plain loops."""

import itertools
import math

import pytest
import torch
from hacore_baselines import Config, RandomConfig
from hacore_baselines.norms import LowestNormK, OracleK
from hacore_baselines.places import CenterK, GridK
from hacore_baselines.random_k import RandomK
from hypothesis import given, settings
from hypothesis import strategies as st

from hacore.interfaces import Cells, Question, Sizes, build, grid_positions


def make(cls, grid, channels=3, **options):
    sizes = Sizes(image=(3, 8, 8), words=50, answers=3, grid=grid, cell_channels=channels)
    config = RandomConfig if cls is RandomK else Config
    return build(cls, config(**options), sizes).eval()


def cells_of(x_QNC, grid):
    return Cells(features=x_QNC, positions=grid_positions(grid), grid=grid)


def ask(selector, image_Q=None, words_QT=None, grid=(10, 10), relevant_QN=None):
    """The cells that are kept of equal cells."""
    count = len(image_Q if image_Q is not None else words_QT)
    question = Question(
        torch.zeros(count, 4),
        image_id_Q=None if image_Q is None else torch.as_tensor(image_Q),
        words_QT=None if words_QT is None else torch.as_tensor(words_QT),
        relevant_QN=relevant_QN,
    )
    return selector(cells_of(torch.ones(count, grid[0] * grid[1], 3), grid), question).index_QK


grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(deadline=None, max_examples=60)
@given(grids, st.data())
def test_center_k_keeps_the_cells_nearest_to_the_centre(grid, data):
    rows, columns = grid
    k = data.draw(st.integers(1, rows * columns))
    kept = ask(make(CenterK, grid, k=k), image_Q=[0, 1], grid=grid)
    assert torch.equal(kept[0], kept[1])
    distances = sorted(
        math.dist((row, column), ((rows - 1) / 2, (columns - 1) / 2))
        for row, column in itertools.product(range(rows), range(columns))
    )
    own = [math.dist(divmod(n, columns), ((rows - 1) / 2, (columns - 1) / 2)) for n in kept[0].tolist()]
    assert own == pytest.approx(distances[:k])
    assert len(set(kept[0].tolist())) == k


@settings(deadline=None, max_examples=100)
@given(grids, st.data())
def test_grid_k_spreads_its_cells_evenly(grid, data):
    rows, columns = grid
    k = data.draw(st.integers(1, rows * columns))
    (kept,) = ask(make(GridK, grid, k=k), image_Q=[0], grid=grid).tolist()
    assert len(set(kept)) == k
    # Rows that are used hold equal numbers, but for one; so do the rows' distances, and the columns'.
    lines = {}
    for cell in sorted(kept):
        row, column = divmod(cell, columns)
        lines.setdefault(row, []).append(column)
    counts = [len(line) for line in lines.values()]
    assert max(counts) - min(counts) <= 1
    for places, length in [(list(lines), rows), *((line, columns) for line in lines.values())]:
        gaps = [after - before for before, after in itertools.pairwise(places)]
        assert not gaps or max(gaps) - min(gaps) <= 1
        # The margins are about half a gap.
        step = length / len(places)
        assert abs(places[0] - (step - 1) / 2) <= 1
        assert abs(length - 1 - places[-1] - (step - 1) / 2) <= 1


def test_grid_k_of_a_square_number_is_a_square_lattice():
    kept = ask(make(GridK, (10, 10), k=4), image_Q=[0])[0].tolist()
    assert sorted(kept) == [22, 27, 72, 77]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), grids, st.integers(0, 999), st.data())
def test_lowest_norm_k_and_oracle_k_keep_what_a_plain_loop_keeps(questions, grid, seed, data):
    cells = grid[0] * grid[1]
    k = data.draw(st.integers(1, cells))
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers: many cells have equal norms.
    x_QNC = torch.randint(-2, 3, (questions, cells, 3), generator=generator).float().requires_grad_()
    relevant_QN = torch.rand(questions, cells, generator=generator) < 0.3
    question = Question(torch.zeros(questions, 4), relevant_QN=relevant_QN)
    for cls in (LowestNormK, OracleK):
        selection = make(cls, grid, k=k)(cells_of(x_QNC, grid), question)
        expected_grad = torch.zeros_like(x_QNC)
        for q in range(questions):
            norms = [sum(value * value for value in vector) ** 0.5 for vector in x_QNC[q].tolist()]
            relevant = relevant_QN[q].tolist()
            key = {
                LowestNormK: lambda n, norms=norms: (norms[n], n),
                OracleK: lambda n, norms=norms, relevant=relevant: (not relevant[n], -norms[n], n),
            }[cls]
            kept = sorted(range(cells), key=key)[:k]
            assert selection.index_QK[q].tolist() == kept
            assert torch.equal(selection.features_QKC[q], x_QNC[q][kept])
            assert selection.presence_QN[q].tolist() == pytest.approx(norms)
            expected_grad[q, kept] = 1
        (grad,) = torch.autograd.grad(selection.features_QKC.sum(), x_QNC)
        assert torch.equal(grad, expected_grad)


def test_an_oracle_that_nobody_tells_says_so():
    with pytest.raises(ValueError, match=r"oracle-k .*relevant"):
        ask(make(OracleK, (3, 3), k=2), image_Q=[0], grid=(3, 3))


WORDS = [[3, 4, 5, 0], [3, 4, 6, 0], [4, 3, 5, 0], [3, 4, 5, 9], [3, 4, 5, 0]]


def test_random_cells_of_a_question_are_always_the_same():
    selector = make(RandomK, (10, 10), k=10)
    together = ask(selector, image_Q=[7, 7, 7, 7, 8], words_QT=WORDS)
    torch.manual_seed(5)
    alone = [
        ask(make(RandomK, (10, 10), k=10), image_Q=[image], words_QT=[[*words, 0, 0]])[0]
        for image, words in zip([7, 7, 7, 7, 8], WORDS, strict=True)
    ]
    assert torch.equal(together, torch.stack(alone))


def test_random_cells_differ_by_image_word_order_of_words_and_seed():
    kept = ask(make(RandomK, (10, 10), k=10), image_Q=[7, 7, 7, 7, 8], words_QT=WORDS).tolist()
    other = ask(make(RandomK, (10, 10), k=10, seed=1), image_Q=[7, 7, 7, 7, 8], words_QT=WORDS).tolist()
    of_no_split = ask(make(RandomK, (10, 10), k=10), words_QT=WORDS).tolist()
    draws = {tuple(sorted(cells)) for cells in [*kept, *other, *of_no_split]}
    # The last question differs from the first only in its image, of which nobody knows outside a split.
    assert of_no_split[0] == of_no_split[4]
    assert len(draws) == 14


@pytest.mark.parametrize(
    ("image_Q", "words_QT"),
    [
        (range(6000), [[2, 3]] * 6000),
        ([5] * 6000, [[2 + n % 60, 2 + n // 60] for n in range(6000)]),
        (range(6000), None),
    ],
    ids=["images in a row", "words", "images alone"],
)
def test_random_cells_are_uniform_and_independent(image_Q, words_QT):
    kept_QK = ask(make(RandomK, (4, 5), k=4), image_Q=list(image_Q), words_QT=words_QT, grid=(4, 5))
    chosen_QN = torch.zeros(6000, 20).scatter_(1, kept_QK, 1.0)
    assert (chosen_QN.sum(1) == 4).all()
    # Each cell is kept by a fifth of the questions: deviations of 31 are usual, 5 of them are not.
    assert (chosen_QN.sum(0) - 1200).abs().max() < 5 * 31
    # Two cells together by 4 * 3 / (20 * 19), and in two questions in a row by 1 / 25.
    pairs_NN = chosen_QN.T @ chosen_QN
    pairs = pairs_NN[~torch.eye(20, dtype=torch.bool)]
    assert (pairs - 6000 * 12 / 380).abs().max() < 5 * 13.6
    after_NN = chosen_QN[:-1].T @ chosen_QN[1:]
    assert (after_NN - 5999 / 25).abs().max() < 5 * 15.2


def test_random_cells_are_drawn_anew_in_training():
    selector = make(RandomK, (10, 10), k=10).train()
    torch.manual_seed(0)
    first = ask(selector, image_Q=[1] * 3, words_QT=[[2, 3]] * 3)
    second = ask(selector, image_Q=[1] * 3, words_QT=[[2, 3]] * 3)
    torch.manual_seed(0)
    assert torch.equal(ask(selector, image_Q=[1] * 3, words_QT=[[2, 3]] * 3), first)
    assert len({tuple(sorted(cells)) for cells in [*first.tolist(), *second.tolist()]}) == 6
    counts = torch.bincount(ask(selector, image_Q=[1] * 5000).flatten(), minlength=100)
    assert (counts - 500).abs().max() < 5 * 21.2


@pytest.mark.parametrize("cls", [RandomK, GridK, CenterK, LowestNormK, OracleK])
def test_nothing_of_them_is_stored_and_k_is_checked(cls):
    assert make(cls, (3, 3), k=9).state_dict() == {}
    assert not make(cls, (3, 3), k=9).trains
    with pytest.raises(ValueError, match="k = 10 is more than the 9 cells of a 3x3 grid"):
        make(cls, (3, 3), k=10)


@pytest.mark.parametrize("cls", [RandomK, GridK, CenterK])
def test_cells_in_another_order_are_the_same_places(cls):
    grid, order = (4, 6), torch.randperm(24, generator=torch.Generator().manual_seed(3))
    selector = make(cls, grid, k=7)
    question = Question(torch.zeros(2, 4), image_id_Q=torch.tensor([3, 4]))
    cells = cells_of(torch.ones(2, 24, 3), grid)
    moved = Cells(features=cells.features, positions=cells.positions[order], grid=grid)
    assert torch.equal(order[selector(moved, question).index_QK], selector(cells, question).index_QK)
