"""The result digest: one hash that two runs share exactly when the same input gave the same fills.

Bars are hashed once, in `Bars.digest`; here only their digests go in, so a sweep or cached bars are not hashed again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.kernel.layout import DIGESTED
from engine.market.bars import Bars
from engine.market.instruments import Instrument
from engine.numeric.times import as_us
from engine.results.trail import Trail
from engine.specification import ACCOUNT_DEFAULTS, Specification


def result_digest(inputs: tuple[bytes, ...], trail: Trail) -> str:
    """Return SHA-256 in hex over `inputs` (see input_parts) and every fill.

    Fills: the open times of the entry and exit bars, then the first DIGESTED bytes of each row as the kernel wrote it
    (int64 and float64, little-endian; it writes no -0.0, and an absent level as numpy's one NaN).
    """
    hasher = hashlib.sha256(b"backtest-result-1")
    for part in inputs:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    for times_us in (trail.time_us[trail.rows["entry_bar"]], trail.time_us[trail.rows["exit_bar"]]):
        hasher.update(times_us.astype("<i8", copy=False).data)
    hasher.update(trail.rows.view(np.uint8).reshape(trail.rows.size, trail.rows.itemsize)[:, :DIGESTED].tobytes())
    return hasher.hexdigest()


def input_parts(
    specification: Specification,
    params: Mapping[str, Any],
    instrument: Instrument,
    bars: Mapping[str, Bars],
    warm_up_bars: Mapping[str, int],
    signals: tuple[NDArray[Any], ...] = (),
    strategy_version: str | None = None,
) -> tuple[bytes, ...]:
    """Lay out what a run was given: canonical JSON, then each set of bars by name, then a signal file's columns.

    params: as validated, the strategy's defaults filled in. bars: every set the run used, by the role it had.
    warm_up_bars: by timeframe. strategy_version: of the strategy's code; None is left out, and so are the account's
    costs and limits that are not asked for, and advice: runs without them have the digests they had before there were
    any.
    """
    off = {name for name, default in ACCOUNT_DEFAULTS.items() if getattr(specification, name) == default}
    if specification.advice is None:
        off.add("advice")
    given = {name: value for name, value in values_by_field(specification).items() if name not in off}
    if specification.advice is not None:
        given["advice"] = values_by_field(specification.advice)
    given |= {"strategy_params": dict(params), "warm_up_bars": warm_up_bars}
    if strategy_version is not None:
        given["strategy_version"] = strategy_version
    parts = [canonical_json(given), canonical_json(values_by_field(instrument))]
    parts += [f"{role}:{bars[role].digest}".encode() for role in sorted(bars)]
    parts += [column.tobytes() for column in signals]
    return tuple(parts)


def values_by_field(record: Any) -> dict[str, Any]:
    """Return a dataclass's values by name, as they are: `asdict` copies each one, which a small run notices."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def canonical_json(value: Any) -> bytes:
    """Return JSON: keys sorted, no spaces, moments as UTC microseconds, -0.0 as 0.0; NaN is refused."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, datetime):
        return as_us(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [_plain(item) for item in items]
    return str(value)
