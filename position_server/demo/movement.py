"""How the demo's prices move in time: a path that follows from seed, symbol and time alone, inside a band.

Pure: no clock, no state, the same at every place and start. A path is the sum of three noises, of days, hours and
minutes; each has a random value at every knot of its own grid and is a straight line in between, so that the extremes
of a stretch of time are those at the knots in it and at its ends.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KNOT_SECONDS = 300  # of the finest noise
KNOTS_A_DAY = 86_400 // KNOT_SECONDS
NOISES = ((KNOTS_A_DAY, 0.6), (12, 0.25), (1, 0.15))  # knots of the grid from one to the next, and share of the band
BLOCK = 16  # values of one hash
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def path(seed: int, symbol: str, start: datetime, end: datetime) -> Floats:
    """The path at `start`, at every knot between, and at `end`: shares of the band, from -1 to 1.

    What it is at one moment does not depend on where the stretch begins or ends.
    """
    first, last = _position(start), _position(end)
    knots = np.arange(np.floor(first), np.ceil(last) + 1)
    values = np.sum([weight * _noise(seed, symbol, every, knots) for every, weight in NOISES], axis=0)
    inside = knots[(knots > first) & (knots < last)]
    return np.asarray(np.interp(np.concatenate(([first], inside, [last])), knots, values))


def _position(moment: datetime) -> float:
    """The moment on the finest grid."""
    return (moment - EPOCH) / timedelta(seconds=KNOT_SECONDS)


def _noise(seed: int, symbol: str, every: int, knots: Floats) -> Floats:
    """The noise whose grid has every `every`-th knot, at `knots`."""
    first, last = int(knots[0]) // every, int(knots[-1]) // every + 1
    blocks = range(first // BLOCK, last // BLOCK + 1)
    values = np.concatenate([_block(seed, symbol, every, block) for block in blocks])
    return np.asarray(np.interp(knots / every, np.arange(blocks[0] * BLOCK, (blocks[-1] + 1) * BLOCK), values))


def _block(seed: int, symbol: str, every: int, block: int) -> Floats:
    """BLOCK values from -1 to 1, by hash: any of them can be had without those before it."""
    digest = hashlib.blake2b(f"{seed} {symbol} {every} {block}".encode(), digest_size=4 * BLOCK).digest()
    return np.frombuffer(digest, dtype="<u4") / (2**31) - 1
