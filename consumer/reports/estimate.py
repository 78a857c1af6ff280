"""What a run with a language model may cost: its asks counted on its own bars, with nobody asked."""

from dataclasses import dataclass

from engine.advice import Advice
from engine.deciders.advised.counting import Counting
from engine.deciders.advised.decider import AdvisedDecider
from engine.deciders.decider import Decider
from engine.market.instruments import Instrument
from engine.prepared import PreparedRun, RunData, prepare_run
from engine.simulate import simulate_once
from engine.specification import Specification
from engine.watch import CHUNK_BARS, Watch


@dataclass(frozen=True, slots=True)
class Estimate:
    """bars: of the run. asks: closes at which a model would be asked, were the budget large enough; in modes that ask
    by rule, of a run in which every answer lets the rule pass.

    calls_at_most: what the budget allows of two calls a question, since an answer that cannot be taken is asked for
    again. input_tokens_per_call: estimated, of a sample question; None without an ask. cost_at_most: account currency;
    None where prices are not known.
    """

    bars: int
    asks: int
    calls_at_most: int
    input_tokens_per_call: int | None
    cost_at_most: float | None


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Account currency a million tokens."""

    input_price: float
    output_price: float


def estimate(
    specification: Specification,
    instrument: Instrument,
    data: RunData,
    rule: Decider | None,
    prices: TokenPrices | None,
) -> Estimate:
    """Count the asks of a run. Raises what run_backtest raises."""
    advice = specification.advice
    decider = rule if advice is None else _counting(advice, rule)
    assert decider is not None
    run = prepare_run(specification, instrument, data, decider.warm_up(specification))
    if advice is None or not isinstance(decider, AdvisedDecider):
        return Estimate(run.bar_count, 0, 0, None, 0.0)
    counted: list[Counting] = []

    def count(of: PreparedRun, by: Advice) -> Counting:
        counted.append(Counting(of, by))
        return counted[-1]

    simulate_once(run, AdvisedDecider(advice, rule, count), Watch(run, None, CHUNK_BARS))
    [counting] = counted
    calls = min(advice.max_calls, 2 * counting.asks * counting.calls_an_ask)
    tokens = counting.prompt_tokens
    return Estimate(run.bar_count, counting.asks, calls, tokens, _cost(calls, tokens, advice, prices))


def _counting(advice: Advice, rule: Decider | None) -> AdvisedDecider:
    return AdvisedDecider(advice, rule, Counting)


def _cost(calls: int, prompt_tokens: int | None, advice: Advice, prices: TokenPrices | None) -> float | None:
    """What the calls cost if each has the sample's length and an answer as long as one may be."""
    if calls == 0:
        return 0.0
    if prices is None:
        return None
    assert prompt_tokens is not None
    per_call = prompt_tokens * prices.input_price + advice.max_answer_tokens * prices.output_price
    return calls * per_call / 1_000_000
