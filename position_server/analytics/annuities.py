"""The value of level payments and its derivatives in the rate, exact also near a rate of zero. No bonds here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from position_server.analytics.coupon_periods import FloatArray

SERIES_BELOW = 0.02  # |rate × payments|: the closed form loses rate² × payments² of its digits in the second derivative
SERIES_TERMS = 11  # 0.02^11 is below rounding


@dataclass(frozen=True, slots=True, eq=False)
class Annuity:
    """The value of 1 paid at the end of each period, its first two derivatives in the rate, and what it is made of.

    Every array is (n,).
    """

    value: FloatArray
    first: FloatArray
    second: FloatArray
    discount: FloatArray  # v = 1 / (1 + rate): one period
    last_discount: FloatArray  # v^m: all periods


def annuity(rate: FloatArray, payments: FloatArray) -> Annuity:
    """`payments` payments of 1 at `rate` a period: a = (1 - v^m) / r, of arrays (n,); NaN where rate <= -1.

    By differentiating r a = 1 - v^m: a' = (m v^(m+1) - a) / r and a'' = (-m (m+1) v^(m+2) - 2 a') / r; near zero by
    the binomial series.
    """
    log_growth = np.log1p(rate)
    discount, last_discount = np.exp(-log_growth), np.exp(-payments * log_growth)
    near_zero = np.abs(rate * payments) < SERIES_BELOW
    safe = np.where(near_zero, 1.0, rate)
    value = -np.expm1(-payments * log_growth) / safe
    first = (payments * last_discount * discount - value) / safe
    second = (-payments * (payments + 1) * last_discount * discount**2 - 2 * first) / safe
    if near_zero.any():
        value[near_zero], first[near_zero], second[near_zero] = _series(rate[near_zero], payments[near_zero])
    return Annuity(value, first, second, discount, last_discount)


def _series(rate: FloatArray, payments: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """a = sum over k of (-r)^k × C(m + k, k + 1), and its derivatives, by Horner's scheme."""
    coefficients = [payments]
    for k in range(SERIES_TERMS):
        coefficients.append(-coefficients[-1] * (payments + k + 1) / (k + 2))
    value, first, half_second = (np.zeros_like(rate) for _ in range(3))
    for coefficient in reversed(coefficients):
        half_second = half_second * rate + first
        first = first * rate + value
        value = value * rate + coefficient
    return value, first, 2 * half_second
