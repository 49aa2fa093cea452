import itertools
import math

import pytest
import torch
from hacore_learned_topk import GumbelConfig
from hacore_learned_topk.gumbel import GumbelTopK, relaxed_top_k
from hypothesis import given, settings
from hypothesis import strategies as st


def rows_by_loop(noisy_N, k, temperature):
    """The formula of ``relaxed_top_k``, one number at a time."""
    alphas, rows = list(noisy_N), []
    for _ in range(k):
        exps = [torch.exp(alpha / temperature) for alpha in alphas]
        rows.append([value / sum(exps) for value in exps])
        alphas = [alpha + torch.log(1 - share) for alpha, share in zip(alphas, rows[-1], strict=True)]
    return torch.stack([torch.stack(row) for row in rows])


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.floats(0.4, 3), st.integers(0, 999), st.data())
def test_relaxed_rows_and_their_gradients_are_those_of_the_formula(cells, temperature, seed, data):
    k = data.draw(st.integers(1, cells - 1))
    generator = torch.Generator().manual_seed(seed)
    noisy_QN = torch.randn(2, cells, dtype=torch.float64, generator=generator).requires_grad_()
    actual_QKN = relaxed_top_k(noisy_QN, k, temperature)
    expected_QKN = torch.stack([rows_by_loop(noisy_N, k, temperature) for noisy_N in noisy_QN])
    torch.testing.assert_close(actual_QKN, expected_QKN)
    torch.testing.assert_close(actual_QKN.sum(2), torch.ones(2, k, dtype=torch.float64))
    factor_QKN = torch.randn(2, k, cells, dtype=torch.float64, generator=generator)
    grads = [
        torch.autograd.grad((rows_QKN * factor_QKN).sum(), noisy_QN)[0]
        for rows_QKN in (actual_QKN, expected_QKN)
    ]
    torch.testing.assert_close(*grads)


def test_cold_rows_are_the_hard_choice_with_finite_gradients():
    noisy_QN = torch.tensor([[0.3, 2.0, -1.0, 1.0]], requires_grad=True)
    rows_QKN = relaxed_top_k(noisy_QN, 3, 0.01)
    torch.testing.assert_close(rows_QKN, torch.eye(4)[[1, 3, 0]].unsqueeze(0))
    rows_QKN[0, :, 0].sum().backward()
    assert torch.isfinite(noisy_QN.grad).all()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_forward_is_hard_and_backward_is_relaxed(make_selector, temperature):
    torch.manual_seed(0)
    k, cells, channels = 3, 7, 4
    selector, select = make_selector(
        GumbelTopK, GumbelConfig(k=k, temperature=temperature), cells, channels, torch.float64
    )
    x_QNC = torch.randn(2, cells, channels, dtype=torch.float64, requires_grad=True)
    factor_QKC = torch.randn(2, k, channels, dtype=torch.float64)
    torch.manual_seed(5)
    selection = select(x_QNC)
    wanted = [selector.direction, x_QNC]
    grads = torch.autograd.grad((selection.features_QKC * factor_QKC).sum(), wanted)

    torch.manual_seed(5)
    noise_QN = -torch.log(torch.empty(2, cells, dtype=torch.float64).exponential_())
    fixed_QNC = x_QNC.detach()
    total = 0.0
    for q in range(2):
        score_N = torch.stack([(m_C * selector.direction).sum() / math.sqrt(channels) for m_C in x_QNC[q]])
        standard_N = (score_N - score_N.mean()) / (score_N.var(unbiased=False) + 1e-6).sqrt()
        noisy_N = standard_N + temperature * noise_QN[q]
        kept = sorted(range(cells), key=lambda n, noisy_N=noisy_N: -float(noisy_N[n].detach()))[:k]
        assert selection.index_QK[q].tolist() == kept
        assert torch.equal(selection.features_QKC[q], x_QNC[q][kept])
        relaxed_KC = rows_by_loop(noisy_N, k, temperature) @ fixed_QNC[q]
        # The score has the relaxed gradient, the vectors that of the kept ones.
        total = total + ((relaxed_KC + x_QNC[q][kept]) * factor_QKC[q]).sum()
    torch.testing.assert_close(grads, torch.autograd.grad(total, wanted))
    assert all(grad.any() for grad in grads)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_cells_are_drawn_without_replacement_by_their_scores(make_selector, temperature):
    """Plackett-Luce with logits s / temperature, every ordered pair of four cells counted."""
    torch.manual_seed(3)
    draws = 20_000
    selector, select = make_selector(
        GumbelTopK, GumbelConfig(k=2, temperature=temperature, final_temperature=0.1), 4, 1, torch.float64
    )
    selector.direction.data = torch.ones(1, dtype=torch.float64)
    values = [0.0, 0.4, -0.3, 0.9]
    index_QK = select(torch.tensor(values).double().view(1, 4, 1).expand(draws, 4, 1)).index_QK

    mean = sum(values) / 4
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 4 + 1e-6)
    odds = [math.exp((value - mean) / deviation / temperature) for value in values]
    statistic = 0.0
    for first, second in itertools.permutations(range(4), 2):
        expected = draws * odds[first] / sum(odds) * odds[second] / (sum(odds) - odds[first])
        count = int(((index_QK[:, 0] == first) & (index_QK[:, 1] == second)).sum())
        statistic += (count - expected) ** 2 / expected
    assert statistic < 45  # chi-square of 11 degrees of freedom: above 31.3 once in a thousand


def test_the_temperature_falls_by_the_same_factor(make_selector):
    selector, _ = make_selector(
        GumbelTopK, GumbelConfig(k=2, temperature=0.8, final_temperature=0.2), 4, 1, torch.float64
    )
    temperatures = []
    for share in (0.0, 0.25, 0.5, 0.75):
        selector.set_progress(share)
        temperatures.append(float(selector.temperature))
    assert temperatures == pytest.approx([0.8, 0.8 / 2**0.5, 0.4, 0.4 / 2**0.5])
    selector.set_progress(0.0)  # as after resuming from an earlier checkpoint
    assert float(selector.temperature) == pytest.approx(0.8)


def test_a_temperature_that_rises_is_refused(names):
    with pytest.raises(ValueError, match="final_temperature") as refused:
        GumbelConfig(temperature=0.3, final_temperature=0.4)
    names(str(refused.value), "final_temperature = 0.4", "temperature = 0.3", "lower")
    with pytest.raises(ValueError, match="out of range"):
        GumbelConfig(final_temperature=0.0)
