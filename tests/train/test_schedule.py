import math

import pytest

from hacore.spec import TrainConfig
from hacore.train.schedule import lr_factor


def factors(total, **options):
    config = TrainConfig(**options)
    return [lr_factor(step, total, config) for step in range(total)]


def test_warm_up_hold_and_linear_fall():
    rates = factors(11, warmup_steps=4, hold=6 / 11, schedule="linear", final_lr=0.2)
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_half_a_cosine_after_the_hold():
    rates = factors(9, warmup_steps=0, hold=4 / 9, schedule="cosine", final_lr=0.1)
    fall = [0.1 + 0.9 * (1 + math.cos(math.pi * part)) / 2 for part in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx([1, 1, 1, 1, *fall])


def test_constant_knows_only_the_warm_up():
    rates = factors(6, warmup_steps=2, hold=0.5, schedule="constant", final_lr=0.1)
    assert rates == [0.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("total", [2, 3, 7, 1000])
@pytest.mark.parametrize("hold", [0, 0.5, 0.99, 1])
def test_the_last_step_has_the_final_rate_and_none_before_has_less(schedule, total, hold):
    rates = factors(total, warmup_steps=0, hold=hold, schedule=schedule, final_lr=0.03)
    assert rates[-1] == pytest.approx(0.03, rel=1e-12)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1


def test_a_training_shorter_than_its_warm_up_never_reaches_the_whole_rate():
    assert max(factors(5, warmup_steps=10, hold=1, schedule="constant")) == 0.5
