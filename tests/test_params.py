"""Parameters: one declaration, read from a query string, a JSON body and a warm-up; every problem at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.environment.catalogue import Catalogue
from position_server.errors import BadRequest
from position_server.outcomes import SectionInfo
from position_server.params import BaseParams, ParamReader, ReadOptions

READER = ParamReader(("SOD", "EOD", "LIVE"))
GOOD: dict[str, Any] = {
    "env_date": "2025-10-30",
    "pos_date": "2025-10-29",
    "books": ["CUPS", "YCSO"],
    "time_of_day": "SOD",
}
QUERY = "env_date=2025-10-30&pos_date=2025-10-29&books=CUPS,YCSO&time_of_day=SOD"

# a comma separates books in a query string, so no book that a GET can name has one
book_names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=","), min_size=1, max_size=20
) | st.sampled_from(["O'Brien", 'A "quoted" book', "with space", "книга", "本", "a&b=c", "100%", "a+b", "#x?y/z"])
book_lists = st.lists(book_names, min_size=1, max_size=6)
bases = st.builds(
    BaseParams,
    env_date=st.dates(date(1900, 1, 1), date(2199, 12, 31)),
    pos_date=st.dates(date(1900, 1, 1), date(2199, 12, 31)),
    books=book_lists.map(tuple),
    time_of_day=st.sampled_from(["SOD", "EOD", "LIVE"]),
)


def get(**changes: Any) -> tuple[BaseParams, ReadOptions]:
    """What a GET with these arguments reads; None leaves one out."""
    given = {**GOOD, "books": "CUPS,YCSO", **changes}
    return READER.extract_from_get(urlencode({name: value for name, value in given.items() if value is not None}))


def post(**changes: Any) -> Any:
    """What a POST with these fields reads; None leaves one out."""
    given = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return READER.extract_from_post(json.dumps(given).encode())


def problems(read: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(BadRequest) as caught:
        read()
    return {problem.field: problem.message for problem in caught.value.problems}


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_get_reads_every_field() -> None:
    base, options = READER.extract_from_get(QUERY)
    assert base == BaseParams(
        env_date=date(2025, 10, 30), pos_date=date(2025, 10, 29), books=("CUPS", "YCSO"), time_of_day="SOD"
    )
    assert options == ReadOptions()


def test_a_get_reads_its_options_which_are_no_part_of_the_environment() -> None:
    base, options = READER.extract_from_get(QUERY + "&sections=bonds,%20futures&max_age=1.5&require=fresh")
    assert options == ReadOptions(sections=("bonds", "futures"), max_age=1.5, require="fresh")
    assert base == READER.extract_from_get(QUERY)[0]


def test_books_are_stripped() -> None:
    assert get(books=" CUPS , YCSO ")[0].books == ("CUPS", "YCSO")


def test_a_post_reads_section_params_as_they_are() -> None:
    overrides = {"bonds": {"curve_shift_bp": {"10Y": 25}}}
    assert post(section_params=overrides).section_params == overrides


@pytest.mark.parametrize("body", [GOOD, {**GOOD, "section_params": None}])
def test_a_post_without_section_params_overrides_nothing(body: dict[str, Any]) -> None:
    assert READER.extract_from_post(orjson.dumps(body)).section_params is None


@pytest.mark.parametrize("count", [1, 10_000])
def test_any_number_of_books_is_read(count: int) -> None:
    names = [f"BOOK{n}" for n in range(count)]
    assert get(books=",".join(names))[0].books == tuple(names)
    assert post(books=names).base.books == tuple(names)


def test_a_warm_up_may_have_relative_and_literal_dates() -> None:
    known = {"T": date(2025, 10, 30)}
    base = READER.build_from_dict({**GOOD, "env_date": "T"}, known.get)
    assert (base.env_date, base.pos_date) == (date(2025, 10, 30), date(2025, 10, 29))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"env_date": "T+1"}, "env_date"),
        ({"colour": "red"}, "colour"),
        ({"sections": ["bonds"]}, "sections"),
        ({"books": "CUPS"}, "books"),
    ],
)
def test_a_bad_warm_up_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    assert list(problems(lambda: READER.build_from_dict({**GOOD, **change}, lambda _: None))) == [field]


@given(bases)
def test_get_and_post_read_equal_parameters(base: BaseParams) -> None:
    by_get, _ = READER.extract_from_get(urlencode(base.to_query()))
    by_post = READER.extract_from_post(orjson.dumps(base.to_dict())).base
    assert by_get == by_post == base


@given(
    bases,
    st.builds(
        ReadOptions,
        sections=st.none() | st.lists(st.sampled_from(["bonds", "futures"]), min_size=1).map(tuple),
        max_age=st.none() | st.floats(0, 1e9),
        require=st.sampled_from([None, "fresh"]),
    ),
)
def test_a_query_string_asks_the_same_again(base: BaseParams, options: ReadOptions) -> None:
    query = urlencode([*base.to_query(), *options.to_query()])
    assert READER.extract_from_get(query) == (base, options)


# --- the cache key ---------------------------------------------------------------------------------------------------


@given(bases, st.data())
def test_the_order_and_repetition_of_books_do_not_matter_to_the_key(base: BaseParams, data: st.DataObject) -> None:
    repeated = data.draw(st.permutations([*base.books, *data.draw(st.lists(st.sampled_from(base.books)))]))
    other = base.model_copy(update={"books": tuple(repeated)})
    assert other.to_cache_key() == base.to_cache_key()
    assert hash(other.to_cache_key()) == hash(base.to_cache_key())


@given(bases, bases)
def test_equal_keys_mean_the_same_environment(one: BaseParams, other: BaseParams) -> None:
    assert (one.to_cache_key() == other.to_cache_key()) == (one.canonical() == other.canonical())


@pytest.mark.parametrize(
    "change",
    [{"env_date": date(2025, 10, 29)}, {"pos_date": date(2025, 10, 30)}, {"books": ("CUPS",)}, {"time_of_day": "EOD"}],
)
def test_every_field_is_in_the_key(change: dict[str, Any]) -> None:
    base = post().base
    assert base.model_copy(update=change).to_cache_key() != base.to_cache_key()


def test_a_new_optional_field_is_in_the_key_the_echo_and_the_query_string() -> None:
    """What one declaration in BaseParams gives."""

    class WithRegion(BaseParams):
        region: str = "EMEA"

    fields = {**GOOD, "env_date": date(2025, 10, 30), "pos_date": date(2025, 10, 29), "books": ("CUPS",)}
    emea, na = WithRegion(**fields), WithRegion(**fields, region="NA")
    assert emea.to_cache_key() != na.to_cache_key()
    assert na.to_dict()["region"] == "NA"
    assert ("region", "NA") in na.to_query()


def test_the_echo_keeps_the_callers_order_and_repetition() -> None:
    assert post(books=["YCSO", "CUPS", "YCSO"]).base.to_dict() == {**GOOD, "books": ["YCSO", "CUPS", "YCSO"]}


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        post().base.time_of_day = "EOD"


# --- bad input -------------------------------------------------------------------------------------------------------


def test_everything_missing_is_said_at_once() -> None:
    required = dict.fromkeys(["env_date", "pos_date", "books", "time_of_day"], "is required")
    assert problems(lambda: READER.extract_from_get("")) == required
    assert problems(lambda: READER.extract_from_post(b"{}")) == required


def test_every_problem_of_a_get_is_said_at_once() -> None:
    query = "env_date=2025-02-30&pos_date=yesterday&books=A,,B&time_of_day=SOd&colour=red&max_age=-1&require=old"
    assert problems(lambda: READER.extract_from_get(query)).keys() == {
        "env_date", "pos_date", "books[1]", "time_of_day", "colour", "max_age", "require",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-30",
        "2025-13-01",
        "2025-1-1",
        "20251030",
        "2025-10-30T00:00:00",
        " 2025-10-30",
        "30/10/2025",
        "",
        "T",
        "1700000000",
        "٢٠٢٥-١٠-٣٠",
    ],
)
def test_only_real_days_written_in_full_are_dates(text: str) -> None:
    assert problems(lambda: get(env_date=text)).keys() == {"env_date"}
    assert problems(lambda: post(env_date=text)).keys() == {"env_date"}


@pytest.mark.parametrize("text", ["1899-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_dates_outside_the_calendars_range_are_refused(text: str) -> None:
    assert problems(lambda: get(pos_date=text)) == {"pos_date": "must be in the years 1900 to 2199"}


@pytest.mark.parametrize("value", ["SOd", "sod", "", " SOD", "NOON"])
def test_a_time_of_day_is_one_of_the_configured_exactly(value: str) -> None:
    expected = {"time_of_day": "must be one of SOD, EOD, LIVE"}
    assert problems(lambda: get(time_of_day=value)) == expected
    assert problems(lambda: post(time_of_day=value)) == expected


def test_a_desk_may_allow_fewer_times_of_day() -> None:
    assert problems(lambda: ParamReader(("EOD",)).extract_from_get(QUERY)) == {"time_of_day": "must be one of EOD"}


@pytest.mark.parametrize(
    ("books", "field"),
    [
        ("", "books[0]"),
        (" ", "books[0]"),
        ("A,", "books[1]"),
        ("A,\t,B", "books[1]"),
        ("A\nB", "books[0]"),
        ("A\x00", "books[0]"),
        ("x" * 129, "books[0]"),
    ],
)
def test_blank_unprintable_and_endless_books_are_refused_by_their_place(books: str, field: str) -> None:
    assert problems(lambda: get(books=books)).keys() == {field}
    assert problems(lambda: post(books=books.split(","))).keys() == {field}


def test_an_empty_list_of_books_is_refused() -> None:
    assert problems(lambda: post(books=[])) == {"books": "must not be empty"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env_date", 20251030),
        ("env_date", ["2025-10-30"]),
        ("env_date", True),
        ("books", "CUPS"),
        ("books", {"CUPS": 1}),
        ("books", 5),
        ("time_of_day", 5),
        ("time_of_day", ["SOD"]),
        ("section_params", []),
        ("section_params", "bonds"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(field: str, value: Any) -> None:
    assert problems(lambda: post(**{field: value})).keys() == {field}


def test_a_book_that_is_no_text_is_refused_by_its_place() -> None:
    assert problems(lambda: post(books=["CUPS", 5, None])).keys() == {"books[1]", "books[2]"}


def test_null_is_no_value() -> None:
    body = orjson.dumps({**GOOD, "env_date": None, "books": None})
    assert problems(lambda: READER.extract_from_post(body)).keys() == {"env_date", "books"}


def test_a_section_whose_parameters_are_no_object_is_refused() -> None:
    assert problems(lambda: post(section_params={"bonds": 5, "futures": {}})) == {
        "section_params.bonds": "must be an object: {parameter: value}"
    }


def test_unknown_arguments_and_fields_are_refused_with_the_known_ones() -> None:
    assert problems(lambda: get(colour="red"))["colour"].startswith("unknown (known: env_date, ")
    assert problems(lambda: post(colour="red"))["colour"].startswith("unknown (known: env_date, ")


@pytest.mark.parametrize("option", ["sections", "max_age", "require"])
def test_a_post_has_no_read_options(option: str) -> None:
    assert problems(lambda: post(**{option: "x"})).keys() == {option}


@pytest.mark.parametrize("query", ["sections=bonds", "env_date=2025-10-30&colour=red"])
def test_a_post_has_no_query_string(query: str) -> None:
    names = {argument.partition("=")[0] for argument in query.split("&")}
    assert problems(lambda: READER.extract_from_post(orjson.dumps(GOOD), query)) == dict.fromkeys(
        names, "is no argument of a POST: its body says everything"
    )


def test_what_is_wrong_with_sections_is_said_with_everything_else() -> None:
    known = Catalogue.of([SectionInfo("bonds", "Bonds.", {"curve_shift_bp": {}})])
    query = f"{QUERY}&colour=red&sections=bonds,weather&max_age=-1"
    assert problems(lambda: READER.extract_from_get(query, known)).keys() == {"colour", "max_age", "sections"}
    overrides = {"bonds": {"wind": 1}, "weather": {}, "futures": 3}
    body = orjson.dumps({**GOOD, "env_date": "x", "section_params": overrides})
    assert problems(lambda: READER.extract_from_post(body, known=known)).keys() == {
        "env_date", "section_params.bonds.wind", "section_params.weather", "section_params.futures",
    }  # fmt: skip


def test_section_params_are_no_argument_of_a_get() -> None:
    assert problems(lambda: get(section_params="{}")).keys() == {"section_params"}


@pytest.mark.parametrize("again", ["env_date=2025-10-30", "books=EXO", "max_age=1&max_age=1", "colour=red&colour=red"])
def test_a_repeated_argument_is_refused_even_with_the_same_value(again: str) -> None:
    name = again.partition("=")[0]
    with pytest.raises(BadRequest) as caught:
        READER.extract_from_get(f"{QUERY}&{again}")
    messages = [problem.message for problem in caught.value.problems if problem.field == name]
    assert "must be given once" in messages


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "-1", "soon", "", "1e999"])
def test_max_age_is_a_finite_number_of_seconds(value: str) -> None:
    assert problems(lambda: get(max_age=value)).keys() == {"max_age"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b'{"env_date": "2025-1',
        b"{'env_date': 1}",
        b'{"env_date": NaN}',
        b'{"section_params": {"bonds": {"curve_shift_bp": Infinity}}}',
        b'{"max": 1e999}',
        b"\xff\xfe{}",
        b'{"a": "\\ud800"}',
        b'{"section_params": {"bonds": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}}",
        b'{"env_date": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_plain_json_object_is_refused(body: bytes) -> None:
    assert problems(lambda: READER.extract_from_post(body)).keys() == {"body"}


def test_a_query_string_that_is_not_utf_8_is_refused() -> None:
    assert problems(lambda: READER.extract_from_get(QUERY + "%ff")) == {"query": "must be UTF-8"}


def test_a_query_string_of_endless_arguments_is_refused() -> None:
    query = "&".join(f"a{n}=1" for n in range(101))
    assert problems(lambda: READER.extract_from_get(query)) == {"query": "must have at most 100 arguments"}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_as_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        READER.extract_from_post(body)


@given(st.text(max_size=80))
def test_any_query_string_is_read_or_refused_as_a_bad_request(query: str) -> None:
    with pytest.raises(BadRequest):
        READER.extract_from_get(query)


# --- descriptions ----------------------------------------------------------------------------------------------------


def test_every_field_is_described() -> None:
    described = {entry["name"]: entry for entry in READER.get_param_descriptions()}
    assert described.keys() == BaseParams.model_fields.keys()
    assert described["env_date"] == {
        "name": "env_date",
        "description": "Date of the market data used.",
        "required": True,
        "default": None,
        "example": "2025-10-30",
        "schema": {"type": "string", "format": "date"},
    }


def test_the_configured_times_of_day_are_described() -> None:
    described = ParamReader(("SOD", "EOD")).get_param_descriptions()
    assert described[-1]["schema"]["enum"] == ["SOD", "EOD"]


def test_read_options_are_described_as_optional() -> None:
    described = READER.get_param_descriptions(ReadOptions)
    assert {entry["name"]: entry["required"] for entry in described} == dict.fromkeys(
        ["sections", "max_age", "require"], False
    )


def test_the_examples_of_all_fields_make_a_valid_request() -> None:
    examples = {entry["name"]: entry["example"] for entry in READER.get_param_descriptions()}
    assert READER.extract_from_post(orjson.dumps(examples)).base.books == ("CUPS", "YCSO")
