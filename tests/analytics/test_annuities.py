"""Annuities: the closed form and the series agree where they meet."""

from __future__ import annotations

import numpy as np
import pytest

from position_server.analytics.annuities import annuity


@pytest.mark.parametrize("payments", [0, 1, 2, 7, 60, 119])
@pytest.mark.parametrize("scaled_rate", [-0.3, -0.021, -0.019, -1e-8, 0.0, 1e-12, 1e-5, 0.019, 0.021, 0.5, 4.0])
def test_an_annuity_is_the_sum_of_its_payments(payments: int, scaled_rate: float) -> None:
    rate = scaled_rate / max(payments, 1)
    found = annuity(np.array([rate]), np.array([float(payments)]))
    times = np.arange(1, payments + 1)
    assert found.value[0] == pytest.approx(np.sum((1 + rate) ** -times), rel=1e-13)
    assert found.first[0] == pytest.approx(-np.sum(times * (1 + rate) ** (-times - 1.0)), rel=1e-11)
    assert found.second[0] == pytest.approx(np.sum(times * (times + 1) * (1 + rate) ** (-times - 2.0)), rel=1e-10)


def test_a_rate_that_loses_everything_is_unknown() -> None:
    with np.errstate(all="ignore"):
        found = annuity(np.array([-1.0, -2.0]), np.array([4.0, 4.0]))
    assert not np.isfinite(found.value).any()
