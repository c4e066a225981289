"""Seeded chance for everything the demo invents.

Built on `Random.random()` alone, which Python promises to keep: the same seed gives the same desk for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """One stream of chance; two dice of one seed throw the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def share(self) -> float:
        """A number from 0 up to 1."""
        return self._random.random()

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.share() * (high - low + 1))

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of `items`."""
        return items[int(self.share() * len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """`items` in another order."""
        keyed = [(self.share(), index) for index in range(len(items))]
        return [items[index] for _, index in sorted(keyed)]
