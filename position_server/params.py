"""What a request may say: the single source of truth for the parameters of an environment.

A field of `BaseParams` is declared once. Its type, description, requiredness, default and example give the parser of
the query string, of a JSON body and of a warm-up, the cache key, the echo, `GET /params` and OpenAPI; every section
receives it as `inputs.base`. To add a global parameter, add its field here and nothing anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from position_server.errors import BadRequest, Problem

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
M = TypeVar("M", bound=BaseModel)
SectionParams = Mapping[str, Mapping[str, Any]]
MAX_BOOK_LENGTH = 128
YEARS = range(1900, 2200)  # business-day arithmetic stays inside the calendar's range
MAX_ARGUMENTS = 100  # of one query string, far above what exists


def _day(value: object) -> object:
    """Lets real dates of the form YYYY-MM-DD through; the parsers of dates behind it would take much more."""
    if isinstance(value, str):
        if not DAY.fullmatch(value):
            raise PydanticCustomError("day", "must be a date YYYY-MM-DD")
        try:
            value = date.fromisoformat(value)
        except ValueError as error:
            raise PydanticCustomError("day", "{value} is not a day of the calendar", {"value": value}) from error
    if not isinstance(value, date):
        raise PydanticCustomError("day", "must be a date YYYY-MM-DD")
    if value.year not in YEARS:
        raise PydanticCustomError("day", f"must be in the years {YEARS.start} to {YEARS.stop - 1}")
    return value


def _book(value: str) -> str:
    name = value.strip()
    if not name:
        raise PydanticCustomError("book", "must not be blank")
    if not name.isprintable():
        raise PydanticCustomError("book", "must consist of printable characters")
    return name


def _allowed_time(value: str, info: ValidationInfo) -> str:
    allowed = (info.context or {}).get("time_of_day", ("SOD", "EOD", "LIVE"))
    if value not in allowed:
        raise PydanticCustomError("time_of_day", "must be one of {allowed}", {"allowed": ", ".join(allowed)})
    return value


Day = Annotated[date, BeforeValidator(_day)]
Book = Annotated[str, Field(max_length=MAX_BOOK_LENGTH), AfterValidator(_book)]
TimeOfDay = Annotated[str, AfterValidator(_allowed_time)]


class BaseParams(BaseModel):
    """Which environment: the parameters that every section receives and that make the cache key."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    env_date: Day = Field(description="Date of the market data used.", examples=["2025-10-30"])
    pos_date: Day = Field(description="Date of the positions used (close of business).", examples=["2025-10-29"])
    books: tuple[Book, ...] = Field(min_length=1, description="The books to show.", examples=[["CUPS", "YCSO"]])
    time_of_day: TimeOfDay = Field(description="Which market snapshot of env_date.", examples=["SOD"])

    def to_cache_key(self) -> tuple[Hashable, ...]:
        """Equal for the same environment: in lists, order and repetition do not matter."""
        canonical = self.canonical()
        return tuple(getattr(canonical, name) for name in type(self).model_fields)

    def canonical(self) -> Self:
        """The same environment with its lists sorted and without repetitions: what is computed for every asker."""
        lists = {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), tuple)}
        return self.model_copy(update={name: tuple(sorted(set(value))) for name, value in lists.items()})

    def to_dict(self) -> dict[str, Any]:
        """The echo in a response: JSON values, as the caller gave them."""
        return self.model_dump(mode="json")

    def to_query(self) -> list[tuple[str, str]]:
        """The arguments of a query string that asks for this environment."""
        return [(name, ",".join(v) if isinstance(v, list) else str(v)) for name, v in self.to_dict().items()]


class ReadOptions(BaseModel):
    """How a GET wants its answer; never part of what is computed or cached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sections: tuple[str, ...] | None = Field(
        None, description="Only these sections in the answer.", examples=[["futures", "bonds"]]
    )
    max_age: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Recompute data older than this many seconds.", examples=[60]
    )
    require: Literal["fresh"] | None = Field(None, description="`fresh`: recompute what is stale, or refuse with 503.")

    def to_query(self) -> list[tuple[str, str]]:
        """The arguments of a query string that say the same."""
        given = self.model_dump(exclude_none=True)
        return [(name, ",".join(v) if isinstance(v, tuple) else str(v)) for name, v in given.items()]


@dataclass(frozen=True, slots=True)
class RequestParams:
    """One request: which environment, and for a POST what to override in which section."""

    base: BaseParams
    section_params: SectionParams | None = None


class KnownSections(Protocol):
    """Which sections there are and what they take: the catalogue."""

    def unknown_names(self, names: Iterable[str]) -> list[Problem]:
        """A problem for each section of `sections=` that does not exist."""

    def unknown_overrides(self, section_params: SectionParams) -> list[Problem]:
        """A problem for each section or parameter that does not exist."""


@dataclass(frozen=True, slots=True)
class ParamReader:
    """Reads requests and warm-ups into parameters; `valid_time_of_day` is the configured list.

    Raises BadRequest with every problem of the request, not the first. That sections and their parameters exist is
    checked by who uses them; what is refused here is held against `known` as well, so that all is said at once.
    """

    valid_time_of_day: tuple[str, ...]

    def extract_from_get(self, query: str, known: KnownSections | None = None) -> tuple[BaseParams, ReadOptions]:
        """The parameters of a query string (without the `?`)."""
        given, problems = query_arguments(query)
        base, base_problems = self._build(BaseParams, given, from_text=True)
        options, option_problems = self._build(ReadOptions, given, from_text=True)
        problems += (
            base_problems
            + option_problems
            + unknown_arguments(given, {**BaseParams.model_fields, **ReadOptions.model_fields})
        )
        if problems or base is None or options is None:
            if known and "sections" in given:
                problems += known.unknown_names(_split(ReadOptions.model_fields["sections"], given["sections"]))
            raise BadRequest(problems)
        return base, options

    def extract_from_post(self, body: bytes, query: str = "", known: KnownSections | None = None) -> RequestParams:
        """The parameters of a JSON body; the query string must have none."""
        arguments, _ = query_arguments(query)
        given = json_object(body)
        base, problems = self._build(BaseParams, given, from_text=False)
        problems += [Problem(name, "is no argument of a POST: its body says everything") for name in arguments]
        overrides = given.get("section_params")
        problems += unknown_arguments(given, {**BaseParams.model_fields, "section_params": None})
        problems += _shape_of(overrides)
        if problems or base is None:
            if known:
                problems += known.unknown_overrides(_well_shaped(overrides))
            raise BadRequest(problems)
        return RequestParams(base, overrides)

    def build_from_dict(self, given: Mapping[str, Any], relative_date: Callable[[str], date | None]) -> BaseParams:
        """The parameters of a warm-up, whose dates may be relative ("T-1"), as `relative_date` understands them."""
        resolved = dict(given)
        for name, field in BaseParams.model_fields.items():
            value = given.get(name)
            if field.annotation is date and isinstance(value, str):
                resolved[name] = relative_date(value) or value
        base, problems = self._build(BaseParams, resolved, from_text=False)
        problems += unknown_arguments(given, BaseParams.model_fields)
        if problems or base is None:
            raise BadRequest(problems)
        return base

    def get_param_descriptions(self, model: type[BaseModel] = BaseParams) -> list[dict[str, Any]]:
        """One description per field: name, description, required, default, example and JSON schema."""
        properties = model.model_json_schema()["properties"]
        if "time_of_day" in properties:
            properties["time_of_day"]["enum"] = list(self.valid_time_of_day)
        return [
            {
                "name": name,
                "description": field.description,
                "required": field.is_required(),
                "default": None if field.is_required() else field.default,
                "example": (field.examples or [field.default])[0],
                "schema": {k: v for k, v in properties[name].items() if k not in {"title", "description", "examples"}},
            }
            for name, field in model.model_fields.items()
        ]

    def _build(self, model: type[M], given: Mapping[str, Any], *, from_text: bool) -> tuple[M | None, list[Problem]]:
        fields = {name: given[name] for name in model.model_fields if name in given}
        context = {"time_of_day": self.valid_time_of_day}
        if from_text:
            fields = {name: _split(model.model_fields[name], value) for name, value in fields.items()}
        try:
            return model.model_validate_json(orjson.dumps(fields), strict=not from_text, context=context), []
        except ValidationError as error:
            return None, _problems(error)


def query_arguments(query: str) -> tuple[dict[str, str], list[Problem]]:
    """The arguments of a query string by name, and which are given twice. Raises BadRequest for one not to be read."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_ARGUMENTS)
    except UnicodeDecodeError as error:
        raise BadRequest([Problem("query", "must be UTF-8")]) from error
    except ValueError as error:
        raise BadRequest([Problem("query", f"must have at most {MAX_ARGUMENTS} arguments")]) from error
    names = [name for name, _ in pairs]
    repeated = dict.fromkeys(name for name in names if names.count(name) > 1)
    return dict(pairs), [Problem(name, "must be given once") for name in repeated]


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises BadRequest."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest([Problem("body", f"must be JSON: {error}")]) from error
    if not isinstance(given, dict):
        raise BadRequest([Problem("body", "must be a JSON object")])
    _refuse_depth(given)
    return given


def _refuse_depth(given: dict[str, Any]) -> None:
    """What is read deeper than it can be written again would fail the echo."""
    try:
        orjson.dumps(given)
    except orjson.JSONEncodeError as error:
        raise BadRequest([Problem("body", "is nested too deeply")]) from error


def _split(field: FieldInfo, text: str) -> str | list[str]:
    """A list is comma-separated in a query string; everything else is one text."""
    choices = (field.annotation, *get_args(field.annotation))  # tuple[...], or one beside None
    is_list = any(get_origin(choice) is tuple for choice in choices)
    return [part.strip() for part in text.split(",")] if is_list else text


def unknown_arguments(given: Iterable[str], known: Collection[str]) -> list[Problem]:
    """A problem for each argument that is none of the known ones."""
    return [Problem(name, f"unknown (known: {', '.join(known)})") for name in given if name not in known]


def _shape_of(section_params: object) -> list[Problem]:
    if section_params is None:
        return []
    if not isinstance(section_params, dict):
        return [Problem("section_params", "must be an object: {section: {parameter: value}}")]
    return [
        Problem(f"section_params.{section}", "must be an object: {parameter: value}")
        for section, values in section_params.items()
        if not isinstance(values, dict)
    ]


def _well_shaped(section_params: object) -> SectionParams:
    """What of it can be looked at further."""
    given = section_params if isinstance(section_params, dict) else {}
    return {section: values for section, values in given.items() if isinstance(values, dict)}


def _problems(error: ValidationError) -> list[Problem]:
    """Every problem of a ValidationError, by the names that the user wrote."""
    details = error.errors(include_url=False)
    lists_with_bad_items = {detail["loc"][0] for detail in details if len(detail["loc"]) > 1}
    return [
        Problem(_place(detail["loc"]), _message(detail["type"], detail["msg"]))
        for detail in details
        # a list whose items failed is then reported as too short as well: once is enough
        if not (detail["type"] == "too_short" and detail["loc"][0] in lists_with_bad_items)
    ]


def _place(location: tuple[int | str, ...]) -> str:
    name, *inner = location
    return str(name) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)


def _message(kind: str, text: str) -> str:
    fixed = {"missing": "is required", "too_short": "must not be empty"}
    return fixed.get(kind, text.replace("Input should be", "must be"))
