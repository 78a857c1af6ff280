"""What is wrong with a request, field by field and in words for people; intake's own checks use it too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.json_text import OversizedInteger, shown, shown_key

REJECTION_CODES: Final = (
    "invalid_request",
    "unknown_strategy",
    "strategy_inactive",
    "invalid_params",
    "unknown_symbol",
    "symbol_not_allowed",
    "unknown_timeframe",
    "mode_unavailable",
    "run_not_found",
    "run_not_pending",
    "run_disagrees",
)
"""In the order of docs/events.md: `error.code` of a rejection is the first of them that any field has."""
INVALID_REQUEST: Final = "invalid_request"
MAX_PROBLEMS: Final = 256
"""More are counted, not listed: the rejection has to fit into one record of 1 MiB."""
MAX_FIELD_CHARACTERS: Final = 200
MAX_MESSAGE_CHARACTERS: Final = 300
BEFORE: Final = "must be before "
AFTER: Final = "must be after "
"""What the two fields of a range are told, each with the other's name behind it."""
AT_A_PLACE: Final = "column "
"""Begins messages that point into a text, as of rules: `buy: column 24: unknown name 'slo'`."""
THE_REST: Final = "..."
"""Stands as the field of the problem that counts those not listed."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field at fault. It is an entry of `error.details` on the wire."""

    field: str
    """Dotted from the top of data, as strategy_params.fast; printable."""
    code: str
    message: str
    """Reads on after the field's name: "must be at least 0, is -1"; one printable line."""


class InvalidRequestError(ValueError):
    """Data that break the schema; `problems` names every field at fault, each once, at most MAX_PROBLEMS + 1."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(_sentences(self.problems)))


def first_code(problems: Iterable[FieldProblem]) -> str:
    """The code a rejection carries: the first of REJECTION_CODES. Raises ValueError for none or an unknown one."""
    codes = {problem.code for problem in problems}
    if not codes or not codes.issubset(REJECTION_CODES):
        raise ValueError(f"not the codes of a rejection: {sorted(codes)}")
    return min(codes, key=REJECTION_CODES.index)


def summarise(problems: Sequence[FieldProblem]) -> str:
    """One line for `error.message`: the first three problems and how many more."""
    sentences = _sentences(problems)
    told = "; ".join(sentences[:3])
    return told if len(sentences) <= 3 else f"{told}; and {len(sentences) - 3} more"


def _sentences(problems: Iterable[FieldProblem]) -> list[str]:
    """A sentence a problem; the two fields of one disagreement (start_date and end_date) make one sentence."""
    told = list(problems)
    names = {(each.field, each.message) for each in told}
    return [
        f"{each.field}{':' if each.message.startswith(AT_A_PLACE) else ''} {each.message}"
        for each in told
        if not (each.message.startswith(AFTER) and (each.message.removeprefix(AFTER), BEFORE + each.field) in names)
    ]


def one_a_field(problems: Iterable[FieldProblem]) -> tuple[FieldProblem, ...]:
    """The first problem of each field, bounded."""
    by_field: dict[str, FieldProblem] = {}
    for problem in problems:
        by_field.setdefault(_cut(problem.field, MAX_FIELD_CHARACTERS), problem)
    return bounded(tuple(by_field.values()))


def bounded(problems: Sequence[FieldProblem]) -> tuple[FieldProblem, ...]:
    """At most MAX_PROBLEMS, long names and messages cut, then one that counts the rest; the same when given again."""
    kept = tuple(
        replace(each, field=_cut(each.field, MAX_FIELD_CHARACTERS), message=_cut(each.message, MAX_MESSAGE_CHARACTERS))
        for each in problems[:MAX_PROBLEMS]
    )
    rest = problems[MAX_PROBLEMS:]
    if not rest:
        return kept
    if len(rest) == 1 and rest[0].field == THE_REST:
        return (*kept, *rest)
    return (*kept, FieldProblem(THE_REST, first_code(rest), f"and {len(rest)} more fields at fault"))


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def problems_of(error: ValidationError, wording: Mapping[str, str]) -> list[FieldProblem]:
    """A pydantic error as problems; `wording` has, by top-level field, what a broken pattern or choice is told."""
    return [
        FieldProblem(".".join(shown_key(part) for part in detail["loc"]), INVALID_REQUEST, _describe(detail, wording))
        for detail in error.errors(include_url=False)
    ]


def _describe(detail: ErrorDetails, wording: Mapping[str, str]) -> str:
    given, limits = detail["input"], detail.get("ctx", {})
    if isinstance(given, OversizedInteger):
        return f"must not be an integer of {len(given.literal)} digits"
    match detail["type"]:
        case "instant" | "unusable":
            return str(limits["message"])
        case "string_too_long":
            return f"must have at most {limits['max_length']} characters, has {len(given)}"
        case "string_unicode":
            return "must not contain half of a surrogate pair"
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch" | "literal_error":
            told = wording[str(detail["loc"][0])]
        case known if known in _TOLD:
            told = _TOLD[known].format(**limits)
        case _:
            told = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return f"{told}, is {shown(given)}"


_TOLD: Final = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be an integer",
    "float_type": "must be a number within the range of a float",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
}
