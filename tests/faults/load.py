"""A mixed load, the same for the same seed: what upstreams send on good days and on bad ones.

Short and long runs, with and without run_id, duplicates, conflicts, mistakes, poison, cancels before, during and after,
rows cancelled and deleted. Every run that nobody cancels ends by itself, and its result is known from a quiet run.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from consumer.ports import Delivery
from schemas.topics import Topic
from tests.faults.field import Field, event

REQUESTED, CANCEL_REQUESTED = Topic.REQUESTED.value, Topic.CANCEL_REQUESTED.value
STRATEGIES: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("quick", "sma_cross", {"fast": 5, "slow": 20}),
    ("quicker", "sma_cross", {"fast": 10, "slow": 30}),
    ("slow", "fault_slow", {"seconds_a_bar": 0.004}),
    ("slower", "fault_slow", {"seconds_a_bar": 0.012}),
    ("endless", "fault_endless", {}),
)
"""Name, strategy_key, params; ids are 1 to 5, since they are the first in their table. About 2 s and 6 s a slow run."""
SHORT, LONG, ENDLESS = (1, 2), (3, 4), 5
ADVISED = {
    "advised": ("llm_only", None, {"llm": {"every": 60}}),
    "voted": ("multi_agent", None, {"llm": {"every": 150}}),
}
"""Name, mode, key and params of strategies that leave it to a language model; ids are 6 and 7."""
BY_MODEL, BY_VOTE = 6, 7
ENOUGH, TIGHT = 1000, 9
"""Calls that a run may have: however many faults there are, and no more than it needs in quiet."""
MODES = ("close_price", "intra_candle", "next_open")
SPREADS = (0.5, 1.5)
FEBRUARY = {"symbol": "EURUSD", "start_date": "2017-02-01T00:00:00Z", "end_date": "2017-03-01T00:00:00Z"}


SEARCH_REQUESTED = Topic.OPTIMIZATION_REQUESTED.value
SEARCH_CANCELLED = Topic.OPTIMIZATION_CANCEL_REQUESTED.value
SEARCHES: tuple[dict[str, Any], ...] = (
    {
        "strategy_id": 1,
        **FEBRUARY,
        "param_grid": {"fast": {"from": 3, "to": 12, "step": 1}, "slow": {"from": 10, "to": 40, "step": 5}},
        "min_trades": 1,
    },
    {
        "strategy_id": 3,
        **FEBRUARY,
        "param_grid": {"seconds_a_bar": [0.0003, 0.0004, 0.0005], "every": {"from": 5, "to": 20, "step": 5}},
        "min_trades": 1,
    },
    {
        "strategy_id": 2,
        **FEBRUARY,
        "param_grid": {"fast": {"low": 3, "high": 9, "int": True}, "slow": {"low": 15, "high": 60, "int": True}},
        "method": "random",
        "samples": 40,
        "min_trades": 1,
    },
    {
        "strategy_id": 3,
        **FEBRUARY,
        "param_grid": {"seconds_a_bar": [0.0003], "every": {"from": 5, "to": 84, "step": 1}},
        "min_trades": 1,
    },
)
"""Each takes a second or some, and is the same by its seed."""
LONG_SEARCH = SEARCHES[3]
"""Of many shards: while one is taken over, others are at work."""


@dataclass(slots=True)
class Load:
    """What was sent so far, so that it can be sent again, contradicted and cancelled."""

    random: Random
    sent: list[Delivery] = field(default_factory=list)
    """Requests with an id."""
    endless: list[str] = field(default_factory=list)
    """Requests whose run only a cancel ends, not cancelled yet."""
    posted_endless: list[int] = field(default_factory=list)
    """The same for those that were asked for over HTTP, by run."""
    kinds: "Mapping[Kind, int]" = field(default_factory=lambda: KINDS)
    """What a wave is made of, with its weight."""
    numbers: int = 0

    async def prepare(self, place: Field) -> None:
        """Make the strategies."""
        for name, key, params in STRATEGIES:
            await place.database(
                "INSERT INTO strategies (name, strategy_key, strategy_params, primary_tf) VALUES ($1, $2, $3, 'H1')"
                " ON CONFLICT (name) DO NOTHING",
                *(name, key, json.dumps(params)),
            )
        for name, (mode, rule, asked) in ADVISED.items():
            await place.database(
                "INSERT INTO strategies (name, execution_mode, strategy_key, strategy_params, primary_tf)"
                " VALUES ($1, $2, $3, $4, 'H1') ON CONFLICT (name) DO NOTHING",
                *(name, mode, rule, json.dumps(asked)),
            )

    async def quiet_models(self, place: Field) -> None:
        """Send each run that a model decides in, and that a wave may hold, once."""
        for strategy_id in (BY_MODEL, BY_VOTE):
            for calls in (ENOUGH, TIGHT):
                await self._request(place, **advised(strategy_id, calls))

    async def quiet(self, place: Field, strategy_ids: tuple[int, ...] = (*SHORT, *LONG)) -> None:
        """Send each run that a wave may hold once."""
        for strategy_id in strategy_ids:
            for mode in MODES if strategy_id in SHORT else MODES[:1]:
                for spread in SPREADS:
                    await self._request(place, **configuration(strategy_id, mode, spread))

    async def quiet_searches(self, place: Field) -> None:
        """Send each search that a wave may hold once."""
        for data in SEARCHES:
            await self._search(place, data)

    async def wave(self, place: Field, count: int) -> None:
        """Send so many things, one after the other; servers that are away are waited for.

        First the cancels of what the wave before started and nothing else ends.
        """
        await self.end_endless(place)
        kinds = self.random.choices(list(self.kinds), weights=list(self.kinds.values()), k=count)
        for kind in kinds:
            await kind(self, place)

    async def short_run(self, place: Field) -> None:
        await self._request(place, **self.short())

    async def long_run(self, place: Field) -> None:
        await self._request(place, **self.long())

    async def run_of_a_row(self, place: Field) -> None:
        """A row made by another service, and the request for it."""
        data = self.random.choice((self.short(), self.long()))
        run_id = await self._insert_row(place, data)
        await self._request(place, run_id=run_id, spread_pips=data["spread_pips"])

    async def cancelled_row(self, place: Field) -> None:
        """A row that is cancelled before it is asked for."""
        run_id = await self._insert_row(place, self.short(), status="cancelled")
        await self._request(place, run_id=run_id)

    async def duplicate(self, place: Field) -> None:
        if self.sent:
            await place.send(self.random.choice(self.sent))

    async def conflict(self, place: Field) -> None:
        """A known id with other content."""
        if self.sent:
            known = json.loads(self.random.choice(self.sent).value or b"")
            data = {**self.short(), "initial_balance": self.random.randint(10_000, 99_999)}
            await place.send(event(REQUESTED, known["id"], data))

    async def poison(self, place: Field) -> None:
        """Nothing that can be used, with headers, on either topic."""
        topic = self.random.choice((REQUESTED, CANCEL_REQUESTED))
        value = self.random.choice((
            None, b"", b"\xff\xfe\x00", b"[1, 2]", b'{"a": ', b"NaN", self.random.randbytes(200),
            json.dumps({"specversion": "1.0", "type": topic, "data": {}}).encode(),
            json.dumps({"specversion": "1.0", "id": "x", "source": "s", "type": "other", "data": {}}).encode(),
        ))  # fmt: skip
        headers = (("trace", self.random.randbytes(4)), ("trace", b""), ("none", None))
        await place.send(Delivery(topic, self.random.choice((None, b"key", b"\x00")), value, headers))

    async def mistake(self, place: Field) -> None:
        """A request that is rejected."""
        fault = self.random.choice(({"symbol": "NOSUCH"}, {"spread_pips": -1}, {"strategy_id": 99}, {"run_id": 10**8}))
        await self._request(place, **{**self.short(), **fault})

    async def search(self, place: Field) -> None:
        """A search: of quick combinations, or of some that take their time."""
        await self._search(place, self.random.choice(SEARCHES[:3]))

    async def cancelled_search(self, place: Field) -> None:
        """One that is cancelled while it waits, or is at work, or has ended."""
        request_id = await self._search(place, SEARCHES[1])
        data = {"request_id": request_id, "reason": "changed my mind"}
        await place.send(event(SEARCH_CANCELLED, f"cancel {request_id}", data))

    async def run_of_a_model(self, place: Field) -> None:
        """With calls to spare, or so few that each one that is lost is missed."""
        strategy_id, calls = self.random.choice((BY_MODEL, BY_VOTE)), self.random.choice((ENOUGH, TIGHT))
        await self._request(place, **advised(strategy_id, calls))

    async def _search(self, place: Field, data: dict[str, Any]) -> str:
        request_id = self.next_id()
        source = self.random.choice(("upstream a", "upstream b"))
        delivery = event(SEARCH_REQUESTED, request_id, data, source=source)
        await place.send(delivery)
        if self.random.random() < 0.3:
            await place.send(delivery)
        return request_id

    async def cancel_before(self, place: Field) -> None:
        request_id = self.next_id()
        await place.send(event(CANCEL_REQUESTED, f"cancel {request_id}", {"request_id": request_id}))
        await self._request(place, request_id=request_id, **self.short())

    async def cancel_during(self, place: Field) -> None:
        """A run that would never end; the next wave cancels it."""
        self.endless.append(await self._request(place, **configuration(ENDLESS, MODES[0], SPREADS[0])))

    async def end_endless(self, place: Field) -> None:
        """Cancel what nothing else ends."""
        while self.endless:
            data = {"request_id": self.endless.pop(), "reason": "changed my mind"}
            await place.send(event(CANCEL_REQUESTED, f"cancel {data['request_id']}", data))
        while self.posted_endless:
            await place.posts.cancel(self.posted_endless.pop())

    async def cancel_after(self, place: Field) -> None:
        """A cancel of what was sent before: it may wait, run or have ended."""
        if self.sent:
            known = json.loads(self.random.choice(self.sent).value or b"")
            await place.send(event(CANCEL_REQUESTED, f"cancel {self.next_id()}", {"request_id": known["id"]}))

    async def take_away(self, place: Field) -> None:
        """A row that is cancelled or deleted by another service, soon after its request was sent."""
        run_id = await self._insert_row(place, self.long())
        await self._request(place, run_id=run_id)
        statement = self.random.choice((
            "UPDATE backtest_runs SET status = 'cancelled' WHERE id = $1 AND status IN ('pending', 'running')",
            "DELETE FROM backtest_runs WHERE id = $1 AND status IN ('pending', 'running')",
        ))  # fmt: skip
        await place.database(statement, run_id)

    async def _request(self, place: Field, *, request_id: str | None = None, **data: Any) -> str:
        request_id = request_id or self.next_id()
        delivery = event(REQUESTED, request_id, data, source=self.random.choice(("upstream a", "upstream b")))
        await place.send(delivery)
        self.sent.append(delivery)
        return request_id

    async def _insert_row(self, place: Field, data: dict[str, Any], *, status: str = "pending") -> int:
        rows = await place.database(
            "INSERT INTO backtest_runs (strategy_id, symbol, timeframe, start_date, end_date, spread_pips,"
            " execution_mode, status) VALUES ($1, $2, 'H1', $3, $4, $5, $6, $7) RETURNING id",
            *(data["strategy_id"], data["symbol"], _time(data["start_date"]), _time(data["end_date"])),
            *(data["spread_pips"], data["execution_mode"], status),
        )
        return int(rows[0]["id"])

    def short(self) -> dict[str, Any]:
        return configuration(self.random.choice(SHORT), self.random.choice(MODES), self.random.choice(SPREADS))

    def long(self) -> dict[str, Any]:
        return configuration(self.random.choice(LONG), MODES[0], self.random.choice(SPREADS))

    def next_id(self) -> str:
        self.numbers += 1
        return f"request-{self.numbers}"


Kind = Callable[[Load, Field], Awaitable[None]]

KINDS: dict[Kind, int] = {
    Load.short_run: 8,
    Load.long_run: 4,
    Load.run_of_a_row: 4,
    Load.cancelled_row: 1,
    Load.duplicate: 4,
    Load.conflict: 2,
    Load.poison: 3,
    Load.mistake: 2,
    Load.cancel_before: 2,
    Load.cancel_during: 2,
    Load.cancel_after: 2,
    Load.take_away: 2,
    Load.search: 3,
    Load.cancelled_search: 1,
    Load.run_of_a_model: 4,
}
"""By the topics alone."""


def configuration(strategy_id: int, mode: str, spread: float) -> dict[str, Any]:
    return {"strategy_id": strategy_id, **FEBRUARY, "execution_mode": mode, "spread_pips": spread}


def advised(strategy_id: int, calls: int) -> dict[str, Any]:
    return {**configuration(strategy_id, MODES[0], SPREADS[0]), "max_llm_calls": calls}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
