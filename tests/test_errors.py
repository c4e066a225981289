"""The tree of errors: a stable code and one line for people."""

from __future__ import annotations

import inspect

import pytest

from position_server import errors
from position_server.errors import BadRequest, Busy, ConfigError, LoadError, PositionServerError, Problem

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, PositionServerError)]


def test_codes_are_unique_but_for_the_abstract_retryable() -> None:
    codes = [cls.code for cls in CLASSES if cls is not errors.Retryable]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_drawn_in_the_tree(cls: type[PositionServerError]) -> None:
    assert f" {cls.__name__} " in (errors.__doc__ or "") or f"{cls.__name__}  " in (errors.__doc__ or "")


def test_without_a_message_an_error_says_what_it_means() -> None:
    assert Busy().message == "The compute queue is full."


def test_a_bad_request_says_all_its_problems_in_one_line() -> None:
    error = BadRequest([Problem("books", "is required"), Problem("env_date", "is required")])
    assert error.message == "books: is required; env_date: is required"


def test_a_config_error_begins_with_its_key() -> None:
    assert ConfigError('SERVER["port"]', "must be a number").message == 'SERVER["port"]: must be a number'


def test_a_load_error_names_every_line() -> None:
    assert LoadError([(2, "no such book"), (5, "not a number")]).message.splitlines()[1:] == [
        "line 2: no such book",
        "line 5: not a number",
    ]
