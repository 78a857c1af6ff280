"""Random documents on random bars: columns of the engine against values found bar by bar."""

from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from engine.expressions.document import check_document
from engine.expressions.evaluation import evaluate
from engine.expressions.operations import Source
from engine.expressions.program import program_of
from engine.indicators import as_floats
from engine.market.bars import Bars
from engine.market.resampling import last_closed, resample
from engine.market.timeframes import timeframe
from tests.engine.bar_builders import bars_of, utc
from tests.engine.expressions.naive import Naive, NaiveBars
from tests.engine.run_builders import EURUSD

CONTEXT = "H4"
PARAMS = {"one": 1, "three": 3, "half": 0.5}


class Writer:
    """Writes documents at random: a number and a condition as they are and one of each on other bars."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def document(self) -> dict[str, Any]:
        """Each indicator is made of the ones before."""
        indicators: dict[str, Any] = {"a": self.number([], 2)}
        indicators["b"] = {"timeframe": CONTEXT, "value": self.number(["a"], 2)}
        indicators["c"] = self.number(["a", "b"], 2)
        indicators["d"] = {"timeframe": CONTEXT, "value": self.condition(["a"], 2)}
        names = ["a", "b", "c"]
        return {
            "params": PARAMS,
            "indicators": indicators,
            "buy": f"{self.condition(names, 3)} {self._of('and', 'or')} not d",
            "sell": self.condition(names, 4),
            "stop_loss": self.number(names, 4),
            "trailing_stop": "c",
        }

    def number(self, names: list[str], depth: int) -> str:
        if depth == 0 or self._random.random() < 0.2:
            columns = ["open", "high", "low", "close", "close", "volume", "hour", "minute", "weekday", "spread"]
            return self._of(*columns, *PARAMS, *names, *names, "0", "1", "100", "105.5", "1e300")
        x, y = self.number(names, depth - 1), self.number(names, depth - 1)
        return self._of(
            f"({x} {self._of(*'+-*/%')} {y})",
            f"-{x}",
            f"({x})[{self._back()}]",
            f"{self._of('sma', 'ema', 'highest', 'lowest', 'roc')}({x}, {self._length()})",
            f"{self._of('sma', 'ema', 'highest', 'lowest')}({self._of('open', 'high', 'close')}, {self._length()})",
            f"atr({self._length()})",
            f"{self._of('abs', 'sqrt', 'log', 'pips')}({x})",
            f"{self._of('min', 'max')}({x}, {y}, close)",
            f"bars_since({self.condition(names, depth - 1)})",
        )

    def condition(self, names: list[str], depth: int) -> str:
        x, y, z = (self.number(names, max(0, depth - 2)) for _ in range(3))
        if depth == 0 or self._random.random() < 0.3:
            return self._of(
                f"{x} {self._comparison()} {y}",
                f"{x} {self._comparison()} {y} {self._comparison()} {z}",
                f"{self._of('crosses_above', 'crosses_below')}({x}, {y})",
                f"{self._of('crosses_above', 'crosses_below')}(close, {y})",
            )
        c = self.condition(names, depth - 1)
        return self._of(
            f"({c} {self._of('and', 'or')} {self.condition(names, depth - 1)})",
            f"(not {c})",
            f"rising({c})",
            f"{self._of('any', 'all')}({c}, {self._length()})",
            f"({c})[{self._back()}]",
        )

    def _of(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _comparison(self) -> str:
        return self._of("<", "<=", ">", ">=", "==", "!=")

    def _length(self) -> str:
        return self._of("1", "2", "3", "5", "one", "three")

    def _back(self) -> str:
        return self._of("0", "1", "2", "7", "100", "one")


def random_bars(random: Random) -> Bars:
    """Up to 60 bars of H1 with holes, prices with two decimals, that often stand where they stood."""
    moment, times, columns = utc("2024-03-07 00:00"), [], []
    for _ in range(random.randint(1, 60)):
        moment += timedelta(hours=random.choice((1, 1, 1, 1, 2, 9, 40)))
        times.append(moment)
        low, first, second, high = sorted(random.choice((100.0, 100.5, 101.25, 103.0, 110.0)) for _ in range(4))
        opened, closed = random.choice(((first, second), (second, first)))
        columns.append((opened, high, low, closed, float(random.randint(0, 3)), float(random.choice((0, 7, 30)))))
    names = ("open", "high", "low", "close", "volume", "spread")
    return bars_of("H1", times, **dict(zip(names, map(list, zip(*columns, strict=True)), strict=True)))


@pytest.mark.parametrize("seed", range(0, 400, 50))
def test_columns_are_what_is_found_bar_by_bar(seed: int) -> None:
    for each in range(seed, seed + 50):
        random = Random(each)
        document = Writer(random).document()
        _compare(document, random_bars(random))


def _compare(document: dict[str, Any], bars: Bars) -> None:
    longer = resample(bars, timeframe(CONTEXT), EURUSD)
    rules = check_document(document)
    program = program_of(rules)
    sources = {None: bars, CONTEXT: longer}

    def source_of(name: str | None) -> Source:
        own = sources[name]
        return Source(
            _columns(own), own.close_time_us, _spread(own), last_closed(bars.close_time_us, own.close_time_us)
        )

    fields = ["buy", "sell", "stop_loss", "trailing_stop"]
    found = evaluate(program, [program.results[name] for name in fields], source_of, EURUSD.pip)
    naive = Naive(
        document,
        {
            name: NaiveBars(
                {key: column.tolist() for key, column in _columns(own).items()} | {"spread": _spread(own).tolist()},
                own.close_time_us.tolist(),
            )
            for name, own in sources.items()
        },
        EURUSD.pip,
    )
    for name, column in zip(fields, found, strict=True):
        expected = naive.column(document[name])
        if column.dtype == bool:
            assert column.tolist() == [each is True for each in expected], name
        else:
            known = [None if np.isnan(each) else each for each in column.tolist()]
            assert known == [each if each is None else pytest.approx(each, rel=1e-9) for each in expected], name


def _columns(bars: Bars) -> dict[str, Any]:
    return {name: as_floats(bars.frame[name]) for name in ("open", "high", "low", "close", "volume")}


def _spread(bars: Bars) -> Any:
    points = bars.spread_points
    return np.full(bars.height, np.nan) if points is None else points / EURUSD.points_per_pip
