"""What a symbol is, by its text alone: an OCC option, a currency or coin pair, an equity, or nothing known.

For symbols that the store does not know yet. An instrument that it knows is what its row says, whatever its name looks
like. Nothing is guessed: a text that is almost an option is none, and no equity either.

An OCC symbol is a root of 1 to 6 letters and digits, the expiry as yymmdd, C or P, and the strike in thousandths with 8
digits; with or without `O:` in front, the root padded to 6 characters or not (Options Symbology Initiative, 2010).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Self

OPTION = re.compile(r"(?P<root>[A-Z][A-Z0-9]{0,5})(?P<expiry>[0-9]{6})(?P<right>[A-Z])(?P<strike>[0-9]{8})")
PADDED = re.compile(r"(?=.{21}$)(?P<root>[A-Z][A-Z0-9]{0,5}) *(?P<rest>[0-9]{6}[A-Z][0-9]{8})")
PREFIX = "O:"
ROOT = re.compile(r"[A-Z][A-Z0-9]{0,5}")
ROOT_WIDTH = 6
PAIR = re.compile(r"(?!USDUSD)(USD[A-Z]{3}|[A-Z]{3,5}USD[TC]?)")
EQUITY = re.compile(r"[A-Z]{1,6}([./-][A-Z]{1,3})?")  # no digits: exchanges of the US give out none
CENTURY = 2000
THOUSANDTHS, MOST_THOUSANDTHS = 1000, 99_999_999
RIGHTS = ("C", "P")
SHARES, MINI_SHARES, MINI = 100.0, 10.0, "7"  # of one contract; what a mini's root ends with
# Roots whose underlying has another name: weeklies of cash indices, and share classes, whose dot a root cannot have.
UNDERLYING_OF_ROOT = MappingProxyType(
    {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX", "DJXW": "DJX", "BRKB": "BRK.B", "BFB": "BF.B"}
)


class SymbolKind(Enum):
    """What a text can be the symbol of."""

    EQUITY = "equity"
    OPTION = "option"
    PAIR = "pair"


@dataclass(frozen=True, slots=True)
class OptionSymbol:
    """The terms that an OCC symbol says. `strike` is in the currency per share, a whole number of thousandths."""

    root: str
    expiry: date
    right: str
    strike: float

    def __post_init__(self) -> None:
        """Raises ValueError for terms that no symbol can say."""
        if not ROOT.fullmatch(self.root):
            raise ValueError(f"the root of an option is 1 to 6 letters and digits, not {self.root!r}")
        if self.right not in RIGHTS:
            raise ValueError(f"the right of an option is C or P, not {self.right!r}")
        if not CENTURY <= self.expiry.year < CENTURY + 100:
            raise ValueError(f"an expiry with two digits of its year is not in {self.expiry.year}")
        is_possible = 0 < self.strike < (MOST_THOUSANDTHS + 1) / THOUSANDTHS  # and a number
        if not is_possible or round(self.strike * THOUSANDTHS) / THOUSANDTHS != self.strike:
            raise ValueError(f"a strike is 0.001 to 99999.999 in thousandths, not {self.strike!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The option that `text` is the OCC symbol of. Raises ValueError, saying what is wrong."""
        bare = text.removeprefix(PREFIX)
        padded = PADDED.fullmatch(bare)
        match = OPTION.fullmatch(padded["root"] + padded["rest"] if padded else bare)
        if match is None:
            raise ValueError(f"{text!r} is no OCC symbol (AAPL251219C00250000)")
        expiry = match["expiry"]
        try:
            day = date(CENTURY + int(expiry[:2]), int(expiry[2:4]), int(expiry[4:]))
        except ValueError as error:
            raise ValueError(f"{text!r}: there is no day {expiry}") from error
        try:
            return cls(match["root"], day, match["right"], int(match["strike"]) / THOUSANDTHS)
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error

    @property
    def compact(self) -> str:
        """The symbol without padding, as the store names options: `AAPL251219C00250000`."""
        return f"{self.root}{self.expiry:%y%m%d}{self.right}{round(self.strike * THOUSANDTHS):08d}"

    @property
    def padded(self) -> str:
        """The symbol with its root padded, 21 characters: `AAPL  251219C00250000`."""
        return f"{self.root:<{ROOT_WIDTH}}{self.compact.removeprefix(self.root)}"

    @property
    def underlying(self) -> str:
        """What the contract is on: by the root, without the digit of a mini or adjusted one."""
        root = self.root.rstrip("0123456789")
        return UNDERLYING_OF_ROOT.get(root, root)

    @property
    def multiplier(self) -> float | None:
        """Shares of one contract: 100, or 10 of a mini; None for an adjusted one, whose deliverable it does not say."""
        if not self.root[-1].isdigit():
            return SHARES
        return MINI_SHARES if self.root[-1] == MINI else None


def kind_of(text: str) -> SymbolKind | None:
    """What `text` is the symbol of; None where it cannot be told."""
    try:
        OptionSymbol.parse(text)
    except ValueError:
        pass
    else:
        return SymbolKind.OPTION
    if PAIR.fullmatch(text):
        return SymbolKind.PAIR
    return SymbolKind.EQUITY if EQUITY.fullmatch(text) else None
