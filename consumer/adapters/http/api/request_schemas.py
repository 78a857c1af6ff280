"""JSON Schemas of bodies, made of the models that validate them, with examples that tests send."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from consumer.adapters.http.api.field_words import (
    OF_RUN,
    OF_SEARCH,
    OF_SEARCH_DEFAULTS,
    OF_STRATEGY,
    RUN_DEFAULTS,
    STRATEGY_DEFAULTS,
)
from schemas.cancel_requested import MAX_REASON_CHARACTERS
from schemas.optimization_requested import OptimizationRequested
from schemas.requested import REQUIRED_WITHOUT_RUN, BacktestRequested
from schemas.strategy_row import StrategyRowGiven

_MOMENTS: Final = frozenset({"start_date", "end_date"})


def schema_of(
    title: str,
    model: type[BaseModel],
    left_out: str,
    required: tuple[str, ...],
    words: Mapping[str, str],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """The model's schema in place, without what the service makes itself. Null is as good as absent, and left out.

    words: what each field is for; defaults: what fills those that are left out.
    """
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.get("$defs", {})
    properties = {name: _plain(each, definitions) for name, each in schema["properties"].items() if name != left_out}
    for name, told in properties.items():
        told["description"] = words[name]
        if name in defaults:
            told["default"] = defaults[name]
        if name in _MOMENTS:
            told["format"] = "date-time"
    return {
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _plain(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    told = {**(choices[0] if len(choices) == 1 else schema)}
    if "$ref" in told:
        told = {**definitions[told["$ref"].rpartition("/")[2]]}
    told.pop("title", None)
    told.pop("default", None)
    return told


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a body over something that is there: what it leaves out stays as it is."""
    properties = {
        name: {word: each for word, each in told.items() if word != "default"}
        for name, told in schema["properties"].items()
    }
    return {**schema, "required": [], "properties": properties}


REQUEST_SCHEMA: Final = schema_of(
    "BacktestRequest", BacktestRequested, "run_id", REQUIRED_WITHOUT_RUN, OF_RUN, RUN_DEFAULTS
)
RERUN_SCHEMA: Final = {**_without_defaults(REQUEST_SCHEMA), "title": "RerunRequest"}
REQUEST_EXAMPLE: Final[dict[str, Any]] = {
    "strategy_id": 1,
    "symbol": "EURUSD",
    "timeframe": "H1",
    "start_date": "2017-01-02T00:00:00Z",
    "end_date": "2017-02-01T00:00:00Z",
    "spread_pips": 1.2,
}
RERUN_EXAMPLE: Final[dict[str, Any]] = {"spread_pips": 2.0}
SEARCH_SCHEMA: Final = schema_of(
    "OptimizationRequest",
    OptimizationRequested,
    "optimization_id",
    ("strategy_id", "symbol", "start_date", "end_date", "param_grid"),
    OF_SEARCH,
    OF_SEARCH_DEFAULTS,
)
SEARCH_EXAMPLE: Final[dict[str, Any]] = {
    "strategy_id": 1,
    "symbol": "EURUSD",
    "timeframe": "H1",
    "start_date": "2017-01-02T00:00:00Z",
    "end_date": "2017-02-01T00:00:00Z",
    "param_grid": {"fast": [5, 10], "slow": {"from": 20, "to": 40, "step": 10}},
    "min_trades": 1,
}
CANCEL_SCHEMA: Final[dict[str, Any]] = {
    "title": "CancelRequest",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "reason": {"type": ["string", "null"], "maxLength": MAX_REASON_CHARACTERS, "pattern": r"^[^\x00]*$"}
    },
}
CANCEL_EXAMPLE: Final[dict[str, Any]] = {"reason": "not needed any more"}
STRATEGY_SCHEMA: Final = schema_of("StrategyRequest", StrategyRowGiven, "", ("name",), OF_STRATEGY, STRATEGY_DEFAULTS)
STRATEGY_PATCH_SCHEMA: Final[dict[str, Any]] = {
    "title": "StrategyPatch",
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {"description": words} for name, words in OF_STRATEGY.items()},
}
STRATEGY_EXAMPLE: Final[dict[str, Any]] = {
    "name": "SMA cross of mine",
    "strategy_key": "sma_cross",
    "strategy_params": {"fast": 10, "slow": 30},
    "primary_tf": "H1",
}
PATCH_EXAMPLE: Final[dict[str, Any]] = {"strategy_params": {"fast": 12}, "description": "a little slower"}
_LINKS: Final = {"type": "object", "additionalProperties": {"type": "string"}}


def _accepted(title: str, what: str) -> dict[str, Any]:
    return {
        "title": title,
        "type": "object",
        "required": [what, "request_id", "status", "links"],
        "properties": {
            what: {"type": "integer"},
            "request_id": {"type": ["string", "null"]},
            "status": {"type": "string"},
            "links": _LINKS,
        },
    }


ACCEPTED_RUN: Final = _accepted("AcceptedRun", "run_id")
ACCEPTED_SEARCH: Final = _accepted("AcceptedOptimization", "optimization_id")
