"""Arithmetic for a language model, which calculates badly: one expression, 34 significant decimal digits, bounded.

Numbers, `+ - * / // % **`, parentheses and a few functions. The text is parsed and walked; nothing is executed.
"""

from __future__ import annotations

import ast
import decimal
import operator
from collections.abc import Callable
from decimal import Decimal

MOST_CHARACTERS = 500
MOST_PARTS = 200
MOST_DEPTH = 50
LARGEST_EXPONENT = 9999  # of ten

Operation = Callable[[Decimal, Decimal], Decimal]
OPERATIONS: dict[type[ast.operator], Operation] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
SIGNS: dict[type[ast.unaryop], Callable[[Decimal], Decimal]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def _rounded(number: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    """Half away from zero, as people round."""
    if places != int(places) or not 0 <= places <= 30:
        raise ValueError("the places of round are a whole number from 0 to 30")
    return number.quantize(Decimal(1).scaleb(-int(places)), decimal.ROUND_HALF_UP)


FUNCTIONS: dict[str, tuple[Callable[..., Decimal], int, int]] = {  # with the fewest and the most arguments
    "abs": (abs, 1, 1),
    "min": (min, 1, MOST_PARTS),
    "max": (max, 1, MOST_PARTS),
    "sum": (lambda *numbers: sum(numbers, Decimal(0)), 1, MOST_PARTS),
    "round": (_rounded, 1, 2),
    "floor": (lambda number: number.to_integral_value(decimal.ROUND_FLOOR), 1, 1),
    "ceil": (lambda number: number.to_integral_value(decimal.ROUND_CEILING), 1, 1),
    "sqrt": (Decimal.sqrt, 1, 1),
    "exp": (Decimal.exp, 1, 1),
    "ln": (Decimal.ln, 1, 1),
    "log10": (Decimal.log10, 1, 1),
}


def evaluate(expression: str) -> str:
    """The value of the expression, in plain digits where those are few. Raises ValueError saying what is wrong."""
    text = expression.strip()
    if not text or len(text) > MOST_CHARACTERS:
        raise ValueError(f"an expression has 1 to {MOST_CHARACTERS} characters")
    if not text.isascii() or "\n" in text:
        raise ValueError("an expression is one line of plain characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("this is not an expression (write 1000 without a comma, powers as **)") from None
    if sum(1 for _ in ast.walk(tree)) > MOST_PARTS:
        raise ValueError("the expression is too long")
    traps = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]
    bounds = decimal.Context(prec=34, Emax=LARGEST_EXPONENT, Emin=-LARGEST_EXPONENT, traps=traps)
    with decimal.localcontext(bounds):
        try:
            return _plain(_Walk(text).value(tree.body, 0))
        except decimal.DivisionByZero:
            raise ValueError("division by zero") from None
        except decimal.Overflow:
            raise ValueError("the result is too large") from None
        except decimal.InvalidOperation:
            raise ValueError("there is no such number (division by zero, a root or logarithm of a negative)") from None


class _Walk:
    """Walks the tree of an expression; `text` is what it was parsed from."""

    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, node: ast.expr, depth: int) -> Decimal:
        if depth > MOST_DEPTH:
            raise ValueError("the expression is nested too deeply")
        if isinstance(node, ast.Constant):
            return self._number(node)
        if isinstance(node, ast.UnaryOp) and type(node.op) in SIGNS:
            return SIGNS[type(node.op)](self.value(node.operand, depth + 1))
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
            return OPERATIONS[type(node.op)](self.value(node.left, depth + 1), self.value(node.right, depth + 1))
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        known = ", ".join(FUNCTIONS)
        raise ValueError(f"an expression has numbers, + - * / // % **, parentheses, and the functions {known}")

    def _number(self, node: ast.Constant) -> Decimal:
        """As it is written: 0.1 is a tenth."""
        written = self._text[node.col_offset : node.end_col_offset]
        if (
            isinstance(node.value, bool)
            or not isinstance(node.value, int | float)
            or written[:2].lower() in NOT_DECIMAL
        ):
            raise ValueError(f"not a decimal number: {written:.40}")
        return Decimal(written)

    def _call(self, node: ast.Call, depth: int) -> Decimal:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS or node.keywords:
            raise ValueError(f"there is no such function (known: {', '.join(FUNCTIONS)})")
        function, fewest, most = FUNCTIONS[name]
        if not fewest <= len(node.args) <= most:
            raise ValueError(f"{name} takes {fewest} to {most} numbers" if most > fewest else f"{name} takes {fewest}")
        found = function(*(self.value(argument, depth + 1) for argument in node.args))
        if not found.is_finite():
            raise decimal.InvalidOperation
        return found


NOT_DECIMAL = frozenset({"0x", "0o", "0b"})


def _plain(number: Decimal) -> str:
    normal = number.normalize()
    return format(normal, "f") if -20 <= normal.adjusted() <= 34 else str(normal)
