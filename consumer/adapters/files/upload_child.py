"""Imports one uploaded file, `python -P -m consumer.adapters.files.upload_child`: a job as JSON on stdin, what came of
it as JSON on stdout.

A process of its own, because some damaged files of columns end the process that reads them.
"""

import json
import os
import sys
from contextlib import redirect_stdout
from typing import Any

from consumer.adapters.files.bar_import import import_bar_files, replaced_note
from consumer.adapters.files.bars import bar_file_of
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.market_data_import import BarsDiffer
from consumer.adapters.files.stored_list import described, spelled
from consumer.errors import Unavailable
from engine.errors import InputRefused
from engine.market.instruments import Instrument, packaged_instruments, refuse_impossible, share, symbol_in
from engine.market.timeframes import timeframe


def main() -> None:
    """Read the job, answer it, and end with 0 whatever the answer is."""
    job = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        answer = answer_to(job)
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # nothing is left to be done, and threads of polars take their time


def answer_to(job: dict[str, Any]) -> dict[str, Any]:
    """What is stored now, with notes; or what was wrong."""
    try:
        return {"stored": imported(job)}
    except BarsDiffer as error:
        return {"refused": error.code, "message": str(error), "sides": {"stored": error.stored, "new": error.new}}
    except InputRefused as error:
        return {"refused": error.code, "message": str(error)}
    except Unavailable as error:
        return {"unavailable": str(error)}


def imported(job: dict[str, Any]) -> dict[str, Any]:
    """Raises InputRefused, Unavailable."""
    registry = {**packaged_instruments(), **{name: Instrument(**each) for name, each in job["instruments"].items()}}
    refuse_impossible(job["symbol"])
    if job["instrument_class"] == "stock" and symbol_in(registry, job["symbol"]) is None:
        registry = {**registry, job["symbol"]: share(job["symbol"], job["quote"])}
    of = timeframe(job["timeframe"])
    with open(job["path"], "rb") as file:  # noqa: PTH123  # a name of /proc, which pathlib knows no better
        content = file.read()
    bars = bar_file_of(
        content,
        job["name"],
        job["timezone"],
        format_name=job["format"],
        date_order=job["date_order"],
        limit_bytes=job["limit_bytes"],
    )
    del content
    stored = ParquetMarketData(job["url"], cache_bytes=1)
    symbol = spelled(stored, job["symbol"], registry)
    made = import_bar_files(job["url"], symbol, of, [bars], registry, replace=job["replace"])
    notes = [*made.doubts, *made.notes]
    notes += [replaced_note(made)] if job["replace"] else []
    notes += [made.unknown] if made.unknown is not None else []
    told = described(ParquetMarketData(job["url"], cache_bytes=1), symbol, of.name, registry) or {}
    told |= {name: told[name].isoformat().replace("+00:00", "Z") for name in ("first", "last") if name in told}
    counts = {name: sum(getattr(year, name) for year in made.years) for name in ("added", "removed")}
    return {**told, **counts, "format": bars.format, "notes": notes}


if __name__ == "__main__":
    main()
