"""Formulas: pure functions on numpy arrays. No I/O, no store, no clock; NaN is unknown."""
