"""Who is asked at which close in each mode, and what comes of the answer: by hand, one sentence of the rules a test."""

import json
from typing import Any

import pytest

from engine.advice import DecidedBy
from engine.deciders.advised.advisor import Answer, Question
from engine.strategy import Decision, View
from tests.engine.bar_builders import bars_of
from tests.engine.deciders.advised.scripted import Scripted, hours, known_of, run, said
from tests.engine.run_builders import backtest, bar_by_bar, scripted

LLM_ONLY, RULE_THEN_LLM = DecidedBy.LLM_ONLY, DecidedBy.RULE_THEN_LLM
HYBRID, MULTI_AGENT = DecidedBy.HYBRID_VALIDATOR, DecidedBy.MULTI_AGENT
TEN = hours(*(1.1 + 0.001 * i for i in range(10)))
FLAT = hours(*[1.1] * 10)


def actions(**by_bar: str) -> list[str | None]:
    """A rule's column: b3="BUY" decides at the fourth close."""
    return [by_bar.get(f"b{bar}") for bar in range(10)]


# --- llm_only --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_calls", "asked"),
    [(10, list(range(10))), (100, list(range(10))), (5, [0, 2, 4, 6, 8]), (4, [0, 3, 6, 9]), (1, [0]), (0, [])],
)
def test_a_model_alone_is_asked_at_every_kth_close_from_the_first(max_calls: int, asked: list[int]) -> None:
    advisor = Scripted({})
    run(FLAT, LLM_ONLY, advisor, max_calls=max_calls)
    assert advisor.bars(FLAT) == asked


def test_every_says_how_often_whatever_the_budget() -> None:
    advisor = Scripted({})
    run(FLAT, LLM_ONLY, advisor, max_calls=100, every=4)
    assert advisor.bars(FLAT) == [0, 4, 8]


def test_a_model_opens_and_closes_by_its_own_name() -> None:
    advisor = Scripted({1: said("BUY", 1.09, 1.2, reason="up it goes"), 4: said("CLOSE")})
    result = run(TEN, LLM_ONLY, advisor)
    (trade,) = result.trades.rows(named=True)
    assert (trade["source"], trade["exit_reason"], trade["direction"]) == ("llm", "llm_close", "BUY")
    assert (trade["entry_price"], trade["exit_price"]) == (1.101, 1.104)
    assert (trade["stop_loss"], trade["take_profit"]) == (1.09, 1.2)
    assert json.loads(trade["pattern_metadata"]) == {"reason": "up it goes", "confidence": 0.5}


def test_a_reverse_by_a_model_is_a_reverse() -> None:
    result = run(TEN, LLM_ONLY, Scripted({1: said("BUY"), 4: said("SELL")}))
    assert result.trades["exit_reason"].to_list() == ["reverse", "end_of_data"]


def test_levels_in_pips_fill_what_a_model_leaves_out() -> None:
    advisor = Scripted({1: said("BUY"), 3: said("HOLD")})
    result = run(FLAT, LLM_ONLY, advisor, changes={"stop_loss_pips": 20.0, "take_profit_pips": 30.0})
    (trade,) = result.trades.rows(named=True)
    assert (trade["stop_loss"], trade["take_profit"]) == (1.098, 1.103)


def test_skipped_hours_are_not_asked() -> None:
    advisor = Scripted({})
    run(FLAT, LLM_ONLY, advisor, changes={"skip_hours": (1, 3)})
    # The bar of 00:00 closes at 01:00.
    assert advisor.bars(FLAT) == [1, 3, 4, 5, 6, 7, 8, 9]


def test_the_last_close_may_close_and_opens_nothing() -> None:
    advisor = Scripted({0: said("BUY"), 9: said("SELL")})
    result = run(TEN, LLM_ONLY, advisor)
    assert advisor.bars(TEN)[-1] == 9
    assert result.trades["exit_reason"].to_list() == ["reverse"]


# --- answers that cannot be taken, confidence, budget ----------------------------------------------------------------


def test_what_cannot_be_taken_is_asked_again_once_with_what_was_wrong() -> None:
    advisor = Scripted({2: [said("BUY", 1.2), said("BUY", 1.0)]})
    result = run(FLAT, LLM_ONLY, advisor)
    assert advisor.bars(FLAT) == [0, 1, 2, 2, *range(3, 10)]
    first, second = advisor.asked[2:4]
    assert second.messages[:2] == first.messages
    assert second.messages[2].content == said("BUY", 1.2)
    assert "BUY needs its stop_loss below the newest close: 1.2 against 1.1" in second.messages[3].content
    assert result.trades["stop_loss"].to_list() == [1.0]
    assert not any("could not be taken" in each for each in result.warnings)


def test_a_level_that_is_no_price_is_asked_again() -> None:
    advisor = Scripted({1: [said("BUY", -1.0), said("HOLD")], 3: [said("SELL", 1.2, -0.5), said("HOLD")]})
    result = run(FLAT, LLM_ONLY, advisor)
    told = [each.messages[3].content for each in advisor.asked if len(each.messages) > 2]
    assert "BUY needs levels above 0, not -1" in told[0]
    assert "SELL needs levels above 0, not -0.5" in told[1]
    assert result.trades.height == 0


def test_what_cannot_be_taken_twice_is_hold_and_counted() -> None:
    advisor = Scripted({2: "no JSON", 5: ["[]", '{"action": "MOVE"}']})
    result = run(FLAT, LLM_ONLY, advisor)
    assert len(advisor.asked) == 12
    assert result.trades.height == 0
    (told,) = [each for each in result.warnings if "could not be taken" in each]
    assert told == "2 answers of the model could not be taken and count as HOLD, the first at 2024-03-04T02:00:00Z"


def test_a_decision_that_is_not_sure_enough_is_none() -> None:
    advisor = Scripted({1: said("BUY", confidence=0.59), 3: said("SELL", confidence=0.6)})
    result = run(FLAT, LLM_ONLY, advisor, min_confidence=0.6)
    assert result.trades["direction"].to_list() == ["SELL"]
    assert len(advisor.asked) == 10


def test_a_spent_budget_leaves_the_position_to_its_levels_and_names_the_first_bar() -> None:
    advisor = Scripted({0: said("BUY"), 1: said("SELL")})
    result = run(TEN, LLM_ONLY, advisor, max_calls=1, every=1)
    assert advisor.bars(TEN) == [0]
    assert result.trades["exit_reason"].to_list() == ["end_of_data"]
    (told,) = [each for each in result.warnings if "max_llm_calls" in each]
    assert told == (
        "max_llm_calls 1: the budget was spent; the first bar whose ask did not fit is at 2024-03-04T01:00:00Z, from"
        " which on no position was opened, and none closed, on a model's word: what was open was left to its stops,"
        " targets and the end of data; 9 asks were not made or not finished"
    )


def test_a_budget_that_is_just_enough_is_not_spent() -> None:
    result = run(FLAT, LLM_ONLY, Scripted({}), max_calls=10)
    assert not any("max_llm_calls" in each for each in result.warnings)


def test_asking_again_does_not_go_beyond_the_budget() -> None:
    advisor = Scripted({0: "what?"})
    result = run(FLAT, LLM_ONLY, advisor, max_calls=1)
    assert len(advisor.asked) == 1
    assert any("the first bar whose ask did not fit is at 2024-03-04T00:00:00Z" in each for each in result.warnings)


def test_a_budget_below_one_ask_never_asks() -> None:
    advisor = Scripted({})
    result = run(FLAT, MULTI_AGENT, advisor, max_calls=2)
    assert advisor.batches == []
    assert any(
        "max_llm_calls 2: the budget was spent; the first bar whose ask did not fit is at 2024-03-04T00" in each
        for each in result.warnings
    )


# --- rule_then_llm ---------------------------------------------------------------------------------------------------


def test_a_rules_openings_and_reversals_are_asked_and_nothing_else() -> None:
    rule = scripted(actions(b1="BUY", b2="BUY", b4="SELL", b6="CLOSE", b7="CLOSE", b9="BUY"))
    advisor = Scripted({1: said("BUY"), 4: said("SELL")})
    result = run(TEN, RULE_THEN_LLM, advisor, rule=rule)
    assert advisor.bars(TEN) == [1, 4]
    assert result.trades["exit_reason"].to_list() == ["reverse", "signal"]
    assert result.trades["source"].to_list() == ["llm", "llm"]


@pytest.mark.parametrize("word", ["HOLD", "CLOSE", "SELL"])
def test_all_but_the_rules_side_is_nothing(word: str) -> None:
    advisor = Scripted({1: said("BUY"), 4: said("CLOSE"), 6: said(word)})
    rule = scripted(actions(b1="BUY", b4="SELL", b6="SELL"))
    result = run(TEN, RULE_THEN_LLM, advisor, rule=rule if word != "SELL" else scripted(actions(b1="BUY", b4="SELL")))
    # The position stays: a CLOSE is HOLD there, and a rule's reversal that is not taken closes nothing.
    assert result.trades["exit_reason"].to_list() == ["end_of_data"]
    assert advisor.bars(TEN) == ([1, 4, 6] if word != "SELL" else [1, 4])


def test_a_model_never_takes_the_other_side() -> None:
    advisor = Scripted({1: said("SELL")})
    result = run(TEN, RULE_THEN_LLM, advisor, rule=scripted(actions(b1="BUY")))
    assert (result.trades.height, len(advisor.asked)) == (0, 1)


def test_the_models_levels_stand_in_place_of_the_rules() -> None:
    rule = scripted(actions(b1="BUY"), stop_loss=[1.0] * 10, take_profit=[1.3] * 10, volume=[None, 0.5, *[None] * 8])
    levelled = run(TEN, RULE_THEN_LLM, Scripted({1: said("BUY", 1.05, 1.25)}), rule=rule)
    (trade,) = levelled.trades.rows(named=True)
    assert (trade["stop_loss"], trade["take_profit"], trade["volume"]) == (1.05, 1.25, 0.5)
    bare = run(TEN, RULE_THEN_LLM, Scripted({1: said("BUY")}), rule=rule)
    assert bare.trades["stop_loss"].to_list() == [None]
    in_pips = run(TEN, RULE_THEN_LLM, Scripted({1: said("BUY")}), rule=rule, changes={"stop_loss_pips": 50.0})
    assert in_pips.trades["stop_loss"].to_list() == [1.096]


def test_an_order_of_a_rule_keeps_its_price_and_its_levels_are_held_against_it() -> None:
    def limit(view: View) -> Decision | None:
        return Decision("BUY", order="limit", price=1.09, stop_loss=1.08) if len(view.close) == 2 else None

    advisor = Scripted({1: [said("BUY", 1.095), said("BUY", 1.07)]})
    bars = hours(1.1, 1.1, 1.1, 1.08, 1.1, 1.1)
    result = run(bars, RULE_THEN_LLM, advisor, rule=bar_by_bar(limit), changes={"execution_mode": "intra_candle"})
    assert "below the order's price: 1.095 against 1.09" in advisor.asked[1].messages[3].content
    (trade,) = result.trades.rows(named=True)
    assert (trade["entry_price"], trade["stop_loss"]) == (1.09, 1.07)


def test_where_opposites_only_close_or_are_ignored_nobody_is_asked_of_them() -> None:
    rule = scripted(actions(b1="BUY", b4="SELL"))
    for on_opposite, reason in (("close", "signal"), ("ignore", "end_of_data")):
        advisor = Scripted({1: said("BUY")})
        result = run(TEN, RULE_THEN_LLM, advisor, rule=rule, changes={"on_opposite": on_opposite})
        assert advisor.bars(TEN) == [1]
        assert result.trades["exit_reason"].to_list() == [reason]


def test_a_spent_budget_lets_a_rule_close_and_opens_nothing() -> None:
    rule = scripted(actions(b1="BUY", b3="CLOSE", b5="BUY", b7="SELL"))
    advisor = Scripted({1: said("BUY")})
    result = run(TEN, RULE_THEN_LLM, advisor, rule=rule, max_calls=1)
    assert result.trades["exit_reason"].to_list() == ["signal"]
    assert any("did not fit is at 2024-03-04T05:00:00Z" in each and "2 asks" in each for each in result.warnings)


def test_a_rule_in_skipped_hours_asks_nobody() -> None:
    advisor = Scripted({})
    run(TEN, RULE_THEN_LLM, advisor, rule=scripted(actions(b1="BUY", b4="BUY")), changes={"skip_hours": (2,)})
    assert advisor.bars(TEN) == [4]


# --- hybrid_validator ------------------------------------------------------------------------------------------------


def test_a_validator_vetoes_or_draws_the_stop_nearer_and_changes_nothing_else() -> None:
    rule = scripted(actions(b1="BUY", b3="CLOSE", b4="SELL"), stop_loss=[1.0, 1.0, 1.0, 1.0, 1.2, *[None] * 5])
    nearer = run(TEN, HYBRID, Scripted({1: said("BUY", 1.05, 1.5), 4: said("HOLD")}), rule=rule)
    (trade,) = nearer.trades.rows(named=True)
    assert (trade["stop_loss"], trade["take_profit"], trade["source"]) == (1.05, None, "rule")
    assert json.loads(trade["pattern_metadata"])["reason"] == "why"
    assert trade["exit_reason"] == "signal"
    farther = run(TEN, HYBRID, Scripted({1: said("BUY", 0.9), 4: said("BUY")}), rule=rule)
    assert farther.trades["stop_loss"].to_list() == [1.0]


def test_a_rule_without_a_stop_may_get_one() -> None:
    result = run(TEN, HYBRID, Scripted({1: said("BUY", 1.05)}), rule=scripted(actions(b1="BUY")))
    assert result.trades["stop_loss"].to_list() == [1.05]


def test_a_validator_that_lets_all_pass_leaves_the_rules_result() -> None:
    rule = scripted(actions(b1="BUY", b4="SELL", b6="BUY", b8="CLOSE"), stop_loss=[1.0, 1.0, 1.0, 1.0, 1.2, *[1.0] * 5])

    def echo(question: Question) -> str:
        return said(known_of(question)["rule"]["action"])

    judged = run(TEN, HYBRID, Scripted(echo), rule=rule).trades.drop("pattern_metadata")
    assert judged.equals(backtest(TEN, rule).trades.drop("pattern_metadata"))


# --- multi_agent -----------------------------------------------------------------------------------------------------


def voices(**by_role: str) -> Any:
    """A script by role for the third close; HOLD elsewhere."""
    at = hours(1.1, 1.1, 1.1).time_us[2]
    return lambda question: by_role[question.role] if question.bar_time_us == at else said("HOLD")


def test_more_than_half_of_the_votes_open_with_the_nearest_stop_and_mean_targets() -> None:
    script = voices(
        trend=said("BUY", 1.05, 1.2, 1.3, reason="t"), risk=said("BUY", 1.08, 1.4, reason="r"), contrarian=said("SELL")
    )
    advisor = Scripted(script)
    result = run(FLAT, MULTI_AGENT, advisor, changes={"tp_partial_close_ratio": 0.5})
    assert set(advisor.batches) == {3}
    assert [question.role for question in advisor.asked[:3]] == ["trend", "risk", "contrarian"]
    (trade,) = result.trades.rows(named=True)
    assert (trade["stop_loss"], trade["take_profit"]) == (1.08, 1.3)
    metadata = json.loads(trade["pattern_metadata"])
    assert metadata["reason"] == "trend: t; risk: r"
    assert set(metadata["votes"]) == {"trend", "risk"}


def test_half_of_the_votes_is_not_enough() -> None:
    script = voices(a=said("BUY"), b=said("BUY"), c=said("SELL"), d=said("HOLD"))
    result = run(FLAT, MULTI_AGENT, Scripted(script), roles=("a", "b", "c", "d"))
    assert result.trades.height == 0


def test_a_vote_that_is_not_sure_enough_or_cannot_be_taken_is_none_of_all_that_were_asked() -> None:
    script = voices(trend=said("BUY"), risk=said("BUY", confidence=0.1), contrarian="?")
    advisor = Scripted(script)
    result = run(FLAT, MULTI_AGENT, advisor, min_confidence=0.4)
    assert result.trades.height == 0
    assert 1 in advisor.batches


def test_voices_may_vote_to_close() -> None:
    opened = hours(1.1, 1.1, 1.1).time_us

    def script(question: Question) -> str:
        at = opened.tolist().index(question.bar_time_us) if question.bar_time_us in opened else -1
        return {0: said("BUY"), 2: said("CLOSE" if question.role != "risk" else "HOLD")}.get(at, said("HOLD"))

    assert run(FLAT, MULTI_AGENT, Scripted(script)).trades["exit_reason"].to_list() == ["llm_close"]


def test_calls_of_one_ask_are_begun_together_or_not_at_all() -> None:
    advisor = Scripted({})
    run(FLAT, MULTI_AGENT, advisor, max_calls=10)
    # k = ceil(10 * 3 / 10) = 3: at 0, 3 and 6; the fourth ask would need two calls more than there are.
    assert advisor.bars(FLAT) == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_with_a_rule_voices_are_asked_when_it_opens() -> None:
    rule = scripted(actions(b2="BUY", b5="CLOSE"))
    script = voices(trend=said("BUY", 1.0), risk=said("BUY"), contrarian=said("CLOSE"))
    advisor = Scripted(script)
    result = run(FLAT, MULTI_AGENT, advisor, rule=rule)
    assert advisor.bars(FLAT) == [2, 2, 2]
    (trade,) = result.trades.rows(named=True)
    assert (trade["stop_loss"], trade["source"], trade["exit_reason"]) == (1.0, "llm", "signal")


# --- repeated --------------------------------------------------------------------------------------------------------


def test_the_same_answers_give_the_same_bytes_and_other_advice_another_digest() -> None:
    script: dict[int, str | list[str]] = {1: said("BUY", 1.05), 5: said("SELL")}
    digests = {run(TEN, LLM_ONLY, Scripted(script)).result_digest for _ in range(2)}
    assert len(digests) == 1
    changed = (
        run(TEN, LLM_ONLY, Scripted(script), custom_prompt="be bold").result_digest,
        run(TEN, LLM_ONLY, Scripted(script), temperature=0.5).result_digest,
        run(TEN, LLM_ONLY, Scripted(script), min_confidence=0.1).result_digest,
    )
    assert len({*digests, *changed}) == 4


def test_the_run_that_fills_targets_first_asks_nobody_again() -> None:
    times = hours(1.1, 1.1, 1.1, 1.1).frame["time"].to_list()
    ambiguous = bars_of("H1", times, high=[1.1, 1.1, 1.15, 1.1], low=[1.1, 1.1, 1.05, 1.1])
    advisor = Scripted({1: said("BUY", 1.08, 1.12), 3: said("SELL")})
    result = run(ambiguous, LLM_ONLY, advisor, changes={"execution_mode": "intra_candle"})
    assert result.ambiguous_bars == 1
    assert len(advisor.asked) == 4
    assert result.net_profit_target_first > result.net_profit


def test_none_for_one_of_several_answers_spends_the_budget() -> None:
    class Retrying(Scripted):
        def ask(self, questions: Any) -> list[Answer | None]:
            answers = super().ask(questions)
            return [None, *answers[1:]] if questions[0].bar_time_us == FLAT.time_us[2] else answers

    advisor = Retrying(lambda _: said("BUY"))
    result = run(FLAT, MULTI_AGENT, advisor)
    assert len(advisor.asked) == 9
    assert any("did not fit is at 2024-03-04T02" in each for each in result.warnings)
