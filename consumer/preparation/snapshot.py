"""Between the wire and the engine: the only module that knows both sides' types."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from engine.errors import InvalidSpecification
from engine.market.instruments import Instrument
from engine.specification import ACCOUNT_DEFAULTS, Specification

_SPECIFICATION: Final = TypeAdapter(Specification)
INSTRUMENTS: Final = "instruments"
_FIELDS: Final = frozenset(each.name for each in fields(Specification))
_OFF: Final = {**ACCOUNT_DEFAULTS, "advice": None}


def specification_to_json(specification: Specification) -> dict[str, Any]:
    """The specification as a JSON object, the snapshot that a run executes: every field, but no cost or limit of the
    account that is off and no advice where none is asked for, as in snapshots from before there were any.

    Floats keep every digit, times are ISO 8601 with Z. `specification_from_json` gives back an equal one.
    """
    document: dict[str, Any] = _SPECIFICATION.dump_python(specification, mode="json")
    off = {name for name, default in _OFF.items() if document[name] == default}
    return {name: value for name, value in document.items() if name not in off}


def specification_from_json(document: dict[str, Any]) -> Specification:
    """Read what `specification_to_json` wrote, also through a database or a pipe.

    What stands under INSTRUMENTS is read by `recorded_instruments`. Every other field must be there, of its own type,
    and no more: a snapshot of another version could otherwise be simulated with a default that its request never had.
    Raises InvalidSpecification naming the fields.
    """
    document = {**_OFF, **{name: value for name, value in document.items() if name != INSTRUMENTS}}
    if document.keys() != _FIELDS:
        raise InvalidSpecification(f"the specification of the run is not this version's: {_differing(document)}")
    try:
        specification = _SPECIFICATION.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        raise InvalidSpecification(f"the specification of the run: {where}: {first['msg']}") from error
    if specification.start.tzinfo is None or specification.end.tzinfo is None:
        raise InvalidSpecification("the specification of the run: start and end need an offset")
    return replace(specification, start=specification.start.astimezone(UTC), end=specification.end.astimezone(UTC))


def recorded_instruments(document: Mapping[str, Any]) -> dict[str, Instrument]:
    """Instruments that were recorded with a snapshot, by symbol: they hold for its run, whatever a registry says."""
    blocks: Mapping[str, Any] = document.get(INSTRUMENTS) or {}
    return {symbol: Instrument(**block) for symbol, block in blocks.items()}


def _differing(document: dict[str, Any]) -> str:
    missing = [f"{name} is missing" for name in sorted(_FIELDS - document.keys())]
    unknown = [f"{name} is unknown" for name in sorted(document.keys() - _FIELDS)]
    return ", ".join(missing + unknown)
