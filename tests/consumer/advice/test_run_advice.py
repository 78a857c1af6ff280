"""A run never has more calls than its budget, pays for no answer twice, and goes on where an attempt before ended."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.adapters.memory.tables import Weather
from consumer.advice.desk import AdviceDesk
from consumer.ports.advice import (
    AdviceFailed,
    AdviceFigures,
    CallFailed,
    CallOutcome,
    CallRefused,
    CallSettings,
    Messages,
    Reply,
)
from tests.consumer.advice.desks import HOLD, LIMITS, KeptMessages, Office, ScriptedCaller, question, until

BUSY = CallFailed("429: slow down", 2.0)
AWAY = CallFailed("no connection", was_sent=False)


def failing(failure: CallOutcome, times: int) -> Callable[[int, Messages], CallOutcome]:
    return lambda number, _: failure if number <= times else HOLD


async def test_an_answer_is_paid_for_once() -> None:
    office = Office()
    run = office.run()

    assert await run.ask([question()]) == (HOLD.text,)
    assert await run.ask([question()]) == (HOLD.text,)

    assert len(office.caller.sent) == 1
    assert run.figures() == AdviceFigures(1, 0, 0.5, 100, 10)
    assert await run.final_figures() == run.figures()


async def test_what_was_asked_is_kept_by_its_key() -> None:
    office = Office()
    await office.run().ask([question("What is kept?")])

    [(key, document)] = office.kept.items()
    assert (await office.desk.ledger.calls_of(1))[0]["key"] == key
    assert b"What is kept?" in document


async def test_no_call_is_made_beyond_the_budget() -> None:
    office = Office()
    run = office.run(max_calls=2)

    told = [await run.ask([question(str(number))]) for number in range(4)]

    assert told == [(HOLD.text,), (HOLD.text,), (None,), (None,)]
    assert await office.states() == ["answered", "answered"]


async def test_the_calls_of_an_ask_are_made_together_or_not_at_all() -> None:
    office = Office()
    run = office.run(max_calls=4)
    roles = [question(role, role) for role in ("trend", "risk", "contrarian")]
    office.caller.gate.clear()

    first = asyncio.create_task(run.ask(roles))
    await until(lambda: len(office.caller.sent) == 3)
    office.caller.gate.set()

    assert await first == (HOLD.text,) * 3
    assert await run.ask([question(f"later {each.role}", each.role) for each in roles]) == (None,) * 3
    assert len(office.caller.sent) == 3


async def test_a_retry_is_a_call_and_the_pause_that_was_asked_for_is_made() -> None:
    office = Office(caller=ScriptedCaller(failing(BUSY, 2)))
    run = office.run()

    assert await run.ask([question()]) == (HOLD.text,)

    assert await office.states() == ["failed", "failed", "answered"]
    assert sum(office.slept) >= 4.0
    assert run.figures().llm_calls_used == 3


async def test_calls_that_failed_are_told_with_the_last_failure() -> None:
    office = Office(caller=ScriptedCaller(failing(BUSY, 2)))
    run = office.run()
    await run.ask([question()])

    [told] = await run.warnings()
    first = "the first at the bar at 2024-01-02T00:00:00Z"
    assert told == f"2 of the run's 3 calls to the model failed, {first}; the last: 429: slow down"

    again = office.run(2)
    await again.ask([question()])
    assert await again.warnings() == ()


async def test_retries_end_with_the_budget() -> None:
    office = Office(caller=ScriptedCaller(failing(BUSY, 100)))

    assert await office.run(max_calls=3).ask([question()]) == (None,)
    assert len(office.caller.sent) == 3


async def test_a_provider_that_cannot_be_reached_uses_no_budget_up() -> None:
    office = Office(caller=ScriptedCaller(failing(AWAY, 4)))
    run = office.run(max_calls=1)

    assert await run.ask([question()]) == (HOLD.text,)
    assert await office.states() == ["answered"]


@pytest.mark.parametrize("failure", [replace(BUSY, retry_after_seconds=None), AWAY])
async def test_a_provider_that_stays_down_fails_the_run_after_the_patience(failure: CallFailed) -> None:
    office = Office(caller=ScriptedCaller(failing(failure, 10_000)))

    told = await office.run(max_calls=1000).ask([question()])

    assert isinstance(told, AdviceFailed)
    assert told.code == "llm_unavailable"
    assert failure.message in told.message
    assert 120 <= sum(office.slept) < 125
    assert set(await office.states()) == {"failed"}


@pytest.mark.parametrize("outcome", [CallRefused("401: no"), CallFailed("429", 121.0)])
async def test_what_waiting_does_not_help_fails_the_run_at_once(outcome: CallOutcome) -> None:
    office = Office(caller=ScriptedCaller(lambda *_: outcome))

    told = await office.run().ask([question()])

    assert isinstance(told, AdviceFailed)
    assert told.code == "llm_refused"
    assert office.slept == []
    assert await office.states() == ["failed"]


async def test_a_later_run_has_the_answers_for_nothing() -> None:
    office = Office()
    for number in range(3):
        await office.run(1, max_calls=3).ask([question(str(number))])

    later = office.run(2, max_calls=1)
    for number in range(3):
        assert await later.ask([question(str(number))]) == (HOLD.text,)

    assert await later.ask([question("new")]) == (HOLD.text,)
    assert later.figures() == AdviceFigures(1, 3, 0.5, 100, 10)
    assert len(office.caller.sent) == 4


async def test_runs_share_nothing_where_sharing_is_off_but_attempts_do() -> None:
    office = Office(limits=replace(LIMITS, shares_answers=False))
    for run_id, epoch in ((1, 1), (2, 1), (1, 2)):
        await office.run(run_id, epoch=epoch).ask([question()])

    assert len(office.caller.sent) == 2
    assert await office.states(1) == await office.states(2) == ["answered"]


async def test_a_repetition_of_a_run_whose_budget_was_spent_stops_at_the_same_question() -> None:
    office = Office()
    questions = [[question(str(number))] for number in range(5)]

    first = [await office.run(1, max_calls=3).ask(each) for each in questions]
    again = office.run(2, max_calls=3)
    repeated = [await again.ask(each) for each in questions]
    wider = office.run(3, max_calls=5, specification="aa" * 32)

    assert first == repeated == [(HOLD.text,)] * 3 + [(None,)] * 2
    assert len(office.caller.sent) == 3
    assert [await wider.ask(each) for each in questions] == [(HOLD.text,)] * 5


async def test_a_repetition_of_a_run_with_failed_calls_gets_further() -> None:
    office = Office(caller=ScriptedCaller(failing(BUSY, 1)))
    questions = [[question(str(number))] for number in range(3)]
    run = office.run(1, max_calls=3)

    assert [await run.ask(each) for each in questions] == [(HOLD.text,), (HOLD.text,), (None,)]
    again = office.run(2, max_calls=3)
    assert [await again.ask(each) for each in questions] == [(HOLD.text,)] * 3


async def test_an_attempt_that_takes_over_counts_the_call_whose_answer_was_lost() -> None:
    office = Office()
    office.caller.gate.clear()
    lost = asyncio.create_task(office.run(1, max_calls=3).ask([question("lost")]))
    await until(lambda: len(office.caller.sent) == 1)

    taker = Office(office.tables)
    taking = taker.run(1, epoch=2, max_calls=3)
    assert [await taking.ask([question(text)]) for text in ("lost", "b", "c")] == [(HOLD.text,), (HOLD.text,), (None,)]

    office.caller.gate.set()
    await lost  # the fenced worker's answer is late, and kept all the same
    assert await taker.states() == ["answered"] * 3
    assert (await taking.final_figures()).llm_calls_used == 3


async def test_a_fenced_worker_sends_nothing() -> None:
    office = Office()
    run = office.run(1)
    office.tables.executions[1] = {"epoch": 2, "state": "running"}

    waiting = asyncio.create_task(run.ask([question()]))
    await until(lambda: not office.desk.flights and bool(office.kept))
    assert not waiting.done()
    waiting.cancel()
    assert office.caller.sent == []
    assert await office.states() == []


async def test_runs_of_a_worker_that_want_one_answer_at_once_send_one_call() -> None:
    office = Office()
    office.caller.gate.clear()
    runs = [office.run(number) for number in (1, 2, 3)]
    asked = [asyncio.create_task(run.ask([question()])) for run in runs]
    await until(lambda: len(office.caller.sent) == 1)
    office.caller.gate.set()

    assert await asyncio.gather(*asked) == [(HOLD.text,)] * 3
    assert len(office.caller.sent) == 1
    assert [run.figures().llm_calls_used for run in runs] == [1, 0, 0]
    assert [run.figures().llm_calls_cached for run in runs] == [0, 1, 1]


async def test_a_run_that_stops_leaves_its_answer_to_those_that_wait_for_it() -> None:
    office = Office()
    office.caller.gate.clear()
    first, second = office.run(1), office.run(2)
    leaving = asyncio.create_task(first.ask([question()]))
    await until(lambda: len(office.caller.sent) == 1)
    staying = asyncio.create_task(second.ask([question()]))
    await asyncio.sleep(0)

    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    office.caller.gate.set()

    assert await staying == (HOLD.text,)
    assert await office.states(1) == ["answered"]
    assert len(office.caller.sent) == 1


async def test_a_run_that_stops_before_its_call_is_begun_leaves_no_call_and_another_one_takes_its_place() -> None:
    office = Office(limits=replace(LIMITS, concurrency=1))
    office.caller.gate.clear()
    busy = asyncio.create_task(office.run(1).ask([question("other")]))
    await until(lambda: len(office.caller.sent) == 1)
    leaving = asyncio.create_task(office.run(2).ask([question()]))
    await until(lambda: len(office.desk.flights) == 2)
    staying = asyncio.create_task(office.run(3).ask([question()]))
    for _ in range(20):
        await asyncio.sleep(0)

    leaving.cancel()
    await asyncio.wait([leaving])
    office.caller.gate.set()

    assert await staying == await busy == (HOLD.text,)
    assert await office.states(2) == []
    assert await office.states(3) == ["answered"]


async def test_a_replay_calls_nobody_and_names_the_bar_that_has_no_answer() -> None:
    office = Office()
    await office.run(1).ask([question()])
    replay = office.run(2, replays=True)

    assert await replay.ask([question()]) == (HOLD.text,)
    told = await replay.ask([question("new")])

    assert isinstance(told, AdviceFailed)
    assert told.code == "llm_replay_miss"
    assert "2024-01-02T00:00:00Z" in told.message
    assert len(office.caller.sent) == 1


async def test_no_more_calls_are_out_than_the_worker_may_have() -> None:
    office = Office(limits=replace(LIMITS, concurrency=2))
    office.caller.gate.clear()
    asked = [asyncio.create_task(office.run(number).ask([question(str(number))])) for number in range(5)]
    await until(lambda: office.caller.at_once == 2)
    office.caller.gate.set()
    await asyncio.gather(*asked)

    assert office.caller.most_at_once == 2


async def test_no_more_calls_are_sent_in_a_minute_than_the_worker_may() -> None:
    office = Office(limits=replace(LIMITS, requests_per_minute=3))
    run = office.run(max_calls=7)
    times = []
    for number in range(7):
        await run.ask([question(str(number))])
        times.append(office.tables.clock.seconds)

    assert times == [0, 0, 0, 60, 60, 60, 120]


async def test_a_call_that_takes_too_long_is_a_failure() -> None:
    office = Office(limits=replace(LIMITS, timeout_seconds=0.01))

    class Slow(ScriptedCaller):
        async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
            self.sent.append(messages)
            if len(self.sent) == 1:
                await asyncio.sleep(60)
            return HOLD

    caller = Slow()
    office.desk.caller = caller

    assert await office.run().ask([question()]) == (HOLD.text,)
    assert await office.states() == ["failed", "answered"]


@pytest.mark.usefixtures("no_retry_pauses")
@pytest.mark.parametrize("weather", [Weather.REFUSED, Weather.ANSWER_LOST])
async def test_a_store_that_is_away_loses_no_answer_and_sends_no_call_twice(weather: Weather) -> None:
    for at in range(8):
        office = Office()
        run = office.run()
        office.tables.weather = [Weather.FINE] * at + [weather] * 2

        assert await run.ask([question()]) == (HOLD.text,)

        office.tables.weather = []
        assert len(office.caller.sent) == 1
        assert await office.states() == ["answered"]


async def test_two_answers_for_one_key_are_one_to_every_run() -> None:
    first, second = Office(), Office(caller=ScriptedCaller(lambda *_: Reply("second")))
    second = Office(first.tables, second.caller)
    for office in (first, second):
        office.caller.gate.clear()
    one = asyncio.create_task(first.run(1).ask([question()]))
    other = asyncio.create_task(second.run(2).ask([question()]))
    await until(lambda: len(first.caller.sent) + len(second.caller.sent) == 2)

    second.caller.gate.set()
    assert await other == ("second",)
    first.caller.gate.set()
    assert await one == ("second",)


async def test_a_question_that_cannot_be_kept_is_not_asked() -> None:
    office = Office()

    class Full(KeptMessages):
        def save_messages(self, key: str, document: bytes) -> str:
            from consumer.errors import ArtifactsUnavailable

            raise ArtifactsUnavailable("the disk is full")

    office.desk = AdviceDesk(office.caller, office.desk.ledger, Full(), office.tables.clock, LIMITS, office.desk.sleep)
    told = await office.run().ask([question()])

    assert isinstance(told, AdviceFailed)
    assert "the disk is full" in told.message
    assert office.caller.sent == []
    assert await office.states() == []
