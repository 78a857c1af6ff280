"""What a model is sent: nothing that was not known at the close, no more than it may be, blind where it has to be."""

import json
import re
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.advice import DecidedBy
from engine.deciders.advised.advisor import Question
from engine.deciders.advised.tokens import estimated_tokens
from engine.errors import StrategyError
from engine.market.bars import Bars
from engine.market.timeframes import TIMEFRAMES
from tests.engine.bar_builders import bars_of, random_bars, utc
from tests.engine.deciders.advised.scripted import Scripted, hours, known_of, run, said
from tests.engine.run_builders import columns_of, sample, scripted

LLM_ONLY = DecidedBy.LLM_ONLY
EVERYTHING = {
    "fast": "ema(close, 3)",
    "power": "rsi(close, 4) > 50",
    "trend": {"timeframe": "H4", "value": "sma(close, 2) - close[1]"},
    "money": "obv()",
    "wide": "atr(3)",
}


def in_turn(question: Question) -> str:
    """Opens, reverses and closes, by the bar, so that position and balance are part of what is asked."""
    return said(("BUY", "HOLD", "SELL", "CLOSE", "HOLD")[question.bar_time_us // 3_600_000_000 % 5])


# --- nothing of the future -------------------------------------------------------------------------------------------


@given(data=st.data(), blind=st.booleans(), rule=st.booleans())
def test_whatever_comes_after_a_close_its_questions_are_the_same_to_the_byte(
    data: st.DataObject, blind: bool, rule: bool
) -> None:
    bars = data.draw(random_bars(TIMEFRAMES["H1"], largest=40))
    cut = data.draw(st.integers(0, bars.height - 1))
    shift = data.draw(st.sampled_from([0.5, 1.01, 3.0]))
    after = pl.int_range(bars.height, eager=True) > cut
    rewritten = bars.frame.with_columns(
        **{
            name: bars.frame[name] * pl.Series(np.where(after.to_numpy(), shift, 1.0))
            for name in ("open", "high", "low", "close")
        },
        volume=bars.frame["volume"] + after.cast(pl.Float64) * 7.0,
    )
    mode = DecidedBy.RULE_THEN_LLM if rule else LLM_ONLY
    decides = columns_of(lambda market: pl.DataFrame({"action": ["BUY"] * market.bars.height})) if rule else None
    asked = []
    for frame in (bars.frame, rewritten):
        advisor = Scripted(in_turn if not rule else (lambda _: said("BUY")))
        run(
            Bars(bars.timeframe, frame),
            mode,
            advisor,
            rule=decides,
            blind=blind,
            indicators=EVERYTHING,
            bars=7,
            changes={"initial_balance": 1e9, "context_timeframes": ("H4",)},
        )
        asked.append([each for each in advisor.asked if each.bar_time_us <= bars.time_us[cut]])
    assert asked[0] == asked[1]
    assert asked[0] or rule


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_a_question_has_what_is_known_at_its_close() -> None:
    bars = sample("eurusd_h1", 200)
    advisor = Scripted(lambda q: said("BUY") if q.bar_time_us == bars.time_us[100] else said("HOLD"))
    run(
        bars,
        LLM_ONLY,
        advisor,
        bars=5,
        indicators=EVERYTHING,
        custom_prompt="Trade with care.",
        changes={"context_timeframes": ("D1",)},
    )
    question = advisor.asked[102]
    known = known_of(question)
    assert question.messages[0].content.endswith("\n\nTrade with care.")
    assert (known["symbol"], known["timeframe"]) == ("EURUSD", "H1")
    assert set(known["bars"]) == {"H1", "D1", "H4"}
    own = known["bars"]["H1"]
    assert own["columns"] == ["time", "open", "high", "low", "close"]
    assert [row[4] for row in own["rows"]] == bars.close[98:103].tolist()
    assert own["rows"][-1][0] == bars.frame["time"][102].isoformat().replace("+00:00", "Z")
    assert known["closed_at"] == (bars.frame["time"][102] + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert all(row[0] <= known["closed_at"] for each in known["bars"].values() for row in each["rows"])
    assert set(known["indicators"]) == set(EVERYTHING)
    assert isinstance(known["indicators"]["power"], bool)
    assert known["position"]["direction"] == "BUY"
    assert known["position"]["bars_held"] == 2
    assert known["position"]["entry_price"] == bars.close[100]
    assert known["balance"] == 10_000.0
    assert known["equity"] == pytest.approx(10_000 + (bars.close[102] - bars.close[100]) * 100_000)


def test_a_rules_decision_is_told_with_its_levels() -> None:
    advisor = Scripted({})
    rule = scripted(
        [None, "SELL", None], stop_loss=[None, 1.2, None], take_profit=[None, 1.0, None], max_bars=[9.0] * 3
    )
    run(hours(1.1, 1.1, 1.1), DecidedBy.RULE_THEN_LLM, advisor, rule=rule)
    (question,) = advisor.asked
    told = {"action": "SELL", "stop_loss": 1.2, "take_profits": [1.0], "max_bars": 9}
    assert known_of(question)["rule"] == told


def test_bars_before_the_start_are_sent_too() -> None:
    bars = sample("eurusd_h1", 300)
    advisor = Scripted({})
    run(bars, LLM_ONLY, advisor, bars=20, changes={"start": bars.frame["time"][100]})
    assert len(known_of(advisor.asked[0])["bars"]["H1"]["rows"]) == 20


# --- bounded ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [800, 1_500, 3_000])
def test_older_bars_are_left_out_until_a_question_is_small_enough(most: int) -> None:
    bars = sample("eurusd_h1", 400)
    advisor, whole = Scripted({}), Scripted({})
    run(bars, LLM_ONLY, advisor, bars=200, max_prompt_tokens=most, every=50)
    run(bars, LLM_ONLY, whole, bars=200, max_prompt_tokens=10**6, every=50)
    for small, large in zip(advisor.asked, whole.asked, strict=True):
        assert estimated_tokens(small.messages) <= most
        rows, all_rows = (known_of(each)["bars"]["H1"]["rows"] for each in (small, large))
        assert rows == all_rows[-len(rows) :]
    assert estimated_tokens(advisor.asked[-1].messages) > 0.6 * most


def test_a_question_that_is_too_large_without_bars_fails_the_run() -> None:
    with pytest.raises(StrategyError, match="a question to the model has about"):
        run(hours(1.1, 1.1), LLM_ONLY, Scripted({}), custom_prompt="word " * 5_000, max_prompt_tokens=2_000)


# --- blind -----------------------------------------------------------------------------------------------------------


def blind_run(script: Any, bars: Bars, **further: Any) -> Scripted:
    advisor = Scripted(script)
    run(bars, LLM_ONLY, advisor, blind=True, bars=30, indicators=EVERYTHING, **further)
    return advisor


def test_no_symbol_no_date_and_no_scale_is_sent_in_blind_mode() -> None:
    bars = sample("usdjpy_h1", 400)
    advisor = blind_run(in_turn, bars, changes={"initial_balance": 12_345_678.0, "stop_loss_pips": 900.0})
    scale = {f"{value:.3f}" for value in (*bars.close, *bars.high, *bars.low, *bars.open)}
    assert advisor.asked
    for question in advisor.asked:
        text = " ".join(message.content for message in question.messages)
        numbers = re.findall(r"-?\d+\.\d+|-?\d+", question.messages[1].content)
        assert not re.search(r"USD|JPY|EUR|20[12]\d-|T\d\d:|12345678", text)
        assert not scale & set(numbers)
        known = known_of(question)
        prices = [row[1:5] for each in known["bars"].values() for row in each["rows"]]
        assert all(0.5 < price < 2.0 for row in prices for price in row)
        assert 0.5 < known["indicators"]["fast"] < 2.0 if known["indicators"]["fast"] is not None else True


def test_the_same_market_at_another_scale_and_date_is_the_same_to_a_blind_model() -> None:
    bars = sample("eurusd_h1", 300)
    elsewhere = bars.frame.with_columns(
        pl.col("time") + timedelta(days=7 * 52),
        *(pl.col(name) * 4.0 for name in ("open", "high", "low", "close")),
        volume=pl.col("volume") * 16.0,
    )
    here, there = (
        blind_run({}, each, changes={"initial_balance": deposit})
        for each, deposit in ((bars, 10_000.0), (Bars(bars.timeframe, elsewhere), 77_000.0))
    )
    assert [each.messages for each in here.asked] == [each.messages for each in there.asked]


def test_blind_times_are_minutes_and_a_gap_over_a_day_is_one_bar() -> None:
    times = [utc(f"2024-03-{day:02} {hour:02}:00") for day, hour in ((1, 20), (1, 21), (3, 22), (3, 23), (4, 5))]
    bars = bars_of("H1", times, close=[1.1, 1.2, 1.1, 1.1, 1.1], high=[1.2] * 5, volume=[0.0, 4.0, 2.0, 1.0, 8.0])
    advisor = Scripted({})
    run(bars, LLM_ONLY, advisor, blind=True)
    rows = known_of(advisor.asked[-1])["bars"]["H1"]["rows"]
    assert [row[0] for row in rows] == [0, 60, 120, 180, 540]
    assert [row[4] for row in rows] == [1.0, 1.0909090909, 1.0, 1.0, 1.0]
    assert [row[5] for row in rows] == [0.0, 1.0, 0.5, 0.25, 2.0]


def test_levels_of_a_blind_model_come_back_in_prices() -> None:
    bars = hours(1.25, 1.25, 1.25, 1.25)
    result = run(bars, LLM_ONLY, Scripted({1: said("BUY", 0.96, 1.2)}), blind=True)
    (trade,) = result.trades.rows(named=True)
    assert (trade["stop_loss"], trade["take_profit"]) == (1.2, 1.5)


def test_what_was_wrong_is_told_in_the_unit_of_a_blind_model() -> None:
    advisor = Scripted({1: ["{}", "{}"], 2: [said("SELL", 0.9), "{}"]})
    run(hours(151.25, 151.25, 151.25), LLM_ONLY, advisor, blind=True)
    (told,) = [each.messages[3].content for each in advisor.asked if "SELL needs" in each.messages[-1].content]
    assert "above the newest close: 0.9 against 1." in told
    assert "151" not in told


def test_messages_hold_neither_nul_nor_lone_surrogates() -> None:
    advisor = Scripted({0: "\ud800\0{", 1: said("HOLD")})
    run(hours(1.1, 1.1), LLM_ONLY, advisor, custom_prompt="a\0b")
    for question in advisor.asked:
        for message in question.messages:
            assert "\0" not in message.content
            json.dumps(message.content).encode()
            message.content.encode()
