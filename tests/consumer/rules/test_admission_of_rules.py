"""Requests for rules as data: what of a document is checked at intake, and how a request's lies over the row's."""

import json
from typing import Any

import pytest

from consumer.ports import Admitted, Refused
from schemas.problems import summarise
from tests.consumer.rules.test_admission import admitted, refusals, strategy
from tests.support.messages import ADMIT, requested

DOCUMENT: dict[str, Any] = {
    "params": {"fast": 10, "slow": 30},
    "indicators": {"f": "sma(close, fast)", "s": "sma(close, slow)"},
    "buy": "crosses_above(f, s)",
    "sell": "crosses_below(f, s)",
    "take_profit": ["pips(30)", "4 * atr(14)"],
}


def decide(asked: dict[str, Any] | None = None, **document: Any) -> Admitted | Refused:
    """A request with these strategy_params, of a row whose document is DOCUMENT but for these fields."""
    row = strategy(strategy_key="rules", strategy_params=json.dumps({**DOCUMENT, **document}))
    request = requested(strategy_params=asked) if asked is not None else requested()
    return ADMIT(request.request, row, None, request.problems)


def told(decision: Admitted | Refused) -> list[str]:
    assert isinstance(decision, Refused)
    assert {problem.code for problem in decision.problems} == {"invalid_params"}
    return [f"{problem.field}: {problem.message}" for problem in decision.problems]


def document_of(decision: Admitted | Refused) -> Any:
    return admitted(decision).specification["strategy_params"]


def test_a_document_is_taken_as_it_stands_in_the_row() -> None:
    assert document_of(decide()) == DOCUMENT


def test_every_mistake_is_listed_with_field_and_column() -> None:
    decision = decide(
        buy="crosses_above(f, s) or slo > 1", indicators={"f": "close[-1]", "s": 1}, take_profit=["1", "x"]
    )
    assert told(decision) == [
        "indicators.f: column 7: [n] is the value n bars ago, the future cannot be read, near '-1]'",
        "buy: column 24: unknown name 'slo'; did you mean 'slow'?",
        "take_profit.2: column 1: unknown name 'x'",
    ]


def test_params_of_a_request_are_merged_by_name() -> None:
    assert document_of(decide({"params": {"fast": 5}})) == {**DOCUMENT, "params": {"fast": 5, "slow": 30}}
    assert document_of(decide({"params": None})) == DOCUMENT
    assert document_of(decide({})) == DOCUMENT


def test_any_other_field_of_a_request_stands_in_place_of_the_rows() -> None:
    asked = {"indicators": {"f": "ema(close, fast)", "s": "ema(close, n)"}, "params": {"n": 3}, "take_profit": None}
    assert document_of(decide(asked)) == {**DOCUMENT, **asked, "params": {"fast": 10, "slow": 30, "n": 3}}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"params": {"fats": 5}}, ["params.fats: unknown param; did you mean 'fast'?"]),
        ({"params": {"fats": 5}, "buy": "f > s"}, ["params.fats: unknown param; did you mean 'fast'?"]),
        ({"params": {"x\ny": 5}}, ["params.x\\ny: unknown param"]),
        ({"params": [5]}, ["params: must be an object of numbers by name, not a list"]),
        (
            {"params": {"fast": 2.5}},
            ["params.fast: is a whole number from 1 to 100 000 as n of sma(x, n) (indicators.f, column 12), not 2.5"],
        ),
        ({"llm": {"model": "x:y"}}, ["llm: is of modes that ask a language model, and rules alone ask none"]),
        ({"fast": 5}, ["fast: unknown field"]),
    ],
)  # fmt: skip
def test_what_a_request_may_not_change_is_refused(asked: dict[str, Any], expected: list[str]) -> None:
    found = told(decide(asked))
    assert found[: len(expected)] == expected


def test_rules_and_the_rest_of_a_request_are_refused_together() -> None:
    row = strategy(strategy_key="rules", strategy_params='{"buy": "x"}')
    asked = requested(symbol="NOSUCH")
    assert refusals(ADMIT(asked.request, row, None, asked.problems)) == [
        ("buy", "invalid_params"),
        ("symbol", "unknown_symbol"),
    ]


def test_a_document_beyond_all_limits_is_one_rejection() -> None:
    decision = decide(buy=" and ".join(["x > 1"] * 20_000), indicators={f"i{n}": "y" for n in range(5_000)})
    assert isinstance(decision, Refused)
    assert len(decision.problems) < 30


def test_a_rejection_says_what_a_command_would() -> None:
    decision = decide(buy="crosses_above(f, s) or slo > 1", max_bars=0)
    assert isinstance(decision, Refused)
    assert summarise(decision.problems) == (
        "buy: column 24: unknown name 'slo'; did you mean 'slow'?;"
        " max_bars must be a whole number from 1 to 1000000000, or a param, not 0"
    )
