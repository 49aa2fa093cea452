import itertools
import math

import pytest
import torch
from hacore_learned_topk import PerturbedConfig
from hacore_learned_topk.perturbed import PerturbedTopK, mean_top_k
from hypothesis import given, settings
from hypothesis import strategies as st

DRAWS = 200_000


def exact_shares(score_N, sigma, k):
    """E[top k of score + sigma z] (K, N), by enumeration of the kept sets and numerical integration.

    A set is kept when its lowest value is t, its others are above t and the rest below, for some t.
    """
    t = torch.linspace(-12, 12, 6001, dtype=torch.float64)
    lower_TN = (t.unsqueeze(1) - score_N) / sigma
    below_TN = torch.special.ndtr(lower_TN)
    density_TN = torch.exp(-(lower_TN**2) / 2) / (sigma * math.sqrt(2 * math.pi))
    cells = len(score_N)
    indicator = torch.eye(cells, dtype=torch.float64)
    shares_KN = torch.zeros(k, cells, dtype=torch.float64)
    for kept in itertools.combinations(range(cells), k):
        probability = 0.0
        for lowest in kept:
            value_T = density_TN[:, lowest]
            for n in range(cells):
                if n != lowest:
                    value_T = value_T * (1 - below_TN[:, n] if n in kept else below_TN[:, n])
            probability = probability + torch.trapezoid(value_T, t)
        shares_KN = shares_KN + probability * indicator[list(kept)]
    return shares_KN


def test_the_reference_is_right_for_two_cells():
    score_N = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    shares_KN = exact_shares(score_N, 0.6, 1)
    width = 0.6 * math.sqrt(2)
    assert float(shares_KN[0, 0].detach()) == pytest.approx(0.5 * (1 + math.erf(0.7 / width / math.sqrt(2))))
    shares_KN[0, 0].backward()
    slope = math.exp(-((0.7 / width) ** 2) / 2) / math.sqrt(2 * math.pi) / width
    assert score_N.grad.tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize(
    ("values", "k"),
    [([0.3, -0.4], 1), ([0.5, 0.1, -0.2], 1), ([0.5, 0.1, -0.2], 2), ([0.4, 0.0, -0.3, 0.2], 2)],
)
@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_shares_and_their_jacobian_are_the_exact_ones(values, k, sigma):
    """One question with very many draws."""
    torch.manual_seed(0)
    score_N = torch.tensor(values, dtype=torch.float64)
    score_QN = score_N.unsqueeze(0).clone().requires_grad_()
    noise_QSN = torch.randn(1, DRAWS, len(values), dtype=torch.float64)
    actual_QKN = mean_top_k(score_QN, noise_QSN, torch.tensor(sigma), k)
    torch.testing.assert_close(actual_QKN[0].detach(), exact_shares(score_N, sigma, k), rtol=0, atol=0.005)
    jacobian = torch.autograd.functional.jacobian(lambda s: exact_shares(s, sigma, k), score_N)
    for j, n in itertools.product(range(k), range(len(values))):
        (grad_QN,) = torch.autograd.grad(actual_QKN[0, j, n], score_QN, retain_graph=True)
        torch.testing.assert_close(grad_QN[0], jacobian[j, n], rtol=0, atol=0.015)


@pytest.mark.parametrize("samples", [2, 5])
def test_few_draws_are_unbiased(samples):
    """The mean of very many estimates, of four cells of which two are kept, with a random loss."""
    torch.manual_seed(1)
    score_N = torch.tensor([0.4, 0.0, -0.3, 0.2], dtype=torch.float64)
    factor_KN = torch.randn(2, 4, dtype=torch.float64)
    questions = DRAWS // samples
    score_QN = score_N.expand(questions, 4).clone().requires_grad_()
    noise_QSN = torch.randn(questions, samples, 4, dtype=torch.float64)
    actual_QKN = mean_top_k(score_QN, noise_QSN, torch.tensor(0.5), 2)
    (grad_QN,) = torch.autograd.grad((actual_QKN * factor_KN).sum(), score_QN)

    score_N.requires_grad_()
    expected_KN = exact_shares(score_N, 0.5, 2)
    (expected_N,) = torch.autograd.grad((expected_KN * factor_KN).sum(), score_N)
    torch.testing.assert_close(actual_QKN.detach().mean(0), expected_KN.detach(), rtol=0, atol=0.01)
    error_N = grad_QN.std(0) / math.sqrt(questions)
    assert ((grad_QN.mean(0) - expected_N).abs() < 5 * error_N).all()
    # A bias of a factor (samples - 1) / samples would be seen.
    assert error_N.max() * 10 < expected_N.abs().max() / samples


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(2, 5), st.integers(0, 999), st.data())
def test_shares_and_gradient_are_those_of_a_plain_loop_over_the_draws(questions, cells, samples, seed, data):
    k = data.draw(st.integers(1, cells))
    torch.manual_seed(seed)
    sigma = 0.7
    score_QN = torch.randn(questions, cells, dtype=torch.float64, requires_grad=True)
    noise_QSN = torch.randn(questions, samples, cells, dtype=torch.float64)
    factor_QKN = torch.randn(questions, k, cells, dtype=torch.float64)
    actual_QKN = mean_top_k(score_QN, noise_QSN, torch.tensor(sigma, dtype=torch.float64), k)
    (grad_QN,) = torch.autograd.grad((actual_QKN * factor_QKN).sum(), score_QN)

    for q in range(questions):
        indicator_SKN = torch.zeros(samples, k, cells, dtype=torch.float64)
        for i in range(samples):
            value_N = (score_QN[q] + sigma * noise_QSN[q, i]).tolist()
            kept = sorted(sorted(range(cells), key=lambda n, value_N=value_N: -value_N[n])[:k])
            for j, n in enumerate(kept):
                indicator_SKN[i, j, n] = 1
        torch.testing.assert_close(actual_QKN[q].detach(), indicator_SKN.mean(0))
        value_S = (indicator_SKN * factor_QKN[q]).sum((1, 2))
        expected_N = torch.zeros(cells, dtype=torch.float64)
        for i in range(samples):
            others = [float(value_S[o]) for o in range(samples) if o != i]
            baseline = sum(others) / len(others)
            expected_N += (value_S[i] - baseline) * noise_QSN[q, i] / (samples * sigma)
        torch.testing.assert_close(grad_QN[q], expected_N)


def test_training_gives_mixtures_that_say_their_shares(make_selector):
    torch.manual_seed(0)
    _, select = make_selector(PerturbedTopK, PerturbedConfig(k=3, sigma=1.0), 8, 5)
    x_QNC = torch.randn(4, 8, 5)
    selection = select(x_QNC)
    torch.testing.assert_close(selection.share_QKN.sum(2), torch.ones(4, 3))
    assert int((selection.share_QKN > 0).sum()) > 2 * 4 * 3
    torch.testing.assert_close(selection.features_QKC, selection.share_QKN @ x_QNC)
    for row, index in zip(selection.share_QKN.flatten(0, 1), selection.index_QK.flatten(), strict=True):
        assert row.tolist().index(max(row.tolist())) == int(index)


def test_at_the_end_of_training_it_keeps_what_evaluation_keeps(make_selector):
    torch.manual_seed(0)
    selector, select = make_selector(PerturbedTopK, PerturbedConfig(k=3, sigma=0.2), 8, 5)
    x_QNC = torch.randn(20, 8, 5)
    selector.set_progress(0.999)
    selection = select(x_QNC)
    selector.eval()
    kept_QK = select(x_QNC).index_QK.sort(1).values
    assert (selection.index_QK == kept_QK).double().mean() > 0.95
    assert (selection.share_QKN.detach().amax(2) == 1).double().mean() > 0.9


def test_sigma_falls_linearly_and_never_to_zero(make_selector):
    selector, select = make_selector(PerturbedTopK, PerturbedConfig(k=2, sigma=0.8), 4, 2)
    sigmas = []
    for share in (0.0, 0.25, 0.75, 0.999, 1.0):
        selector.set_progress(share)
        sigmas.append(float(selector.sigma))
    assert sigmas == pytest.approx([0.8, 0.6, 0.2, 0.008, 0.008])
    x_QNC = torch.randn(3, 4, 2, requires_grad=True)
    select(x_QNC).features_QKC.square().sum().backward()
    assert torch.isfinite(x_QNC.grad).all()
    assert torch.isfinite(selector.direction.grad).all()


def test_one_draw_alone_is_refused():
    with pytest.raises(ValueError, match="1 is out of range; it must be at least 2"):
        PerturbedConfig(samples=1)
