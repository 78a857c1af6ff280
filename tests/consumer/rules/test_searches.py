"""A search's steps, by its pure rules alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.ports.outcomes import Failed
from consumer.ports.searches import Asked, RangeDone, StepDied, Surveyed, Surveying
from consumer.rules import searches
from consumer.rules.searches import SearchState, ShardState

NOW = datetime(2024, 1, 1, tzinfo=UTC)
OUT_OF_TIME = Failed("timeout", "too long")
OUT_OF_MEMORY = Failed("out_of_memory", "too much")


def search(**changes: object) -> SearchState:
    return replace(SearchState(7, "request", state="running", shards=1, total=100, released=100), **changes)  # type: ignore[arg-type]  # names of its fields


def shard(first: int = 0, last: int = 10, **changes: object) -> ShardState:
    running = ShardState(5, "range", first, last, "running", 3, 0, "worker", NOW)
    return replace(running, **changes)  # type: ignore[arg-type]  # names of its fields


def simulate(total: int, seconds_each: float, slots: int = 2) -> list[int]:
    """Sizes of the shards that a search is cut into, with so many slots at work."""
    state, sizes = search(total=total, released=total), []
    running: list[ShardState] = []
    while True:
        while len(running) < slots and (change := searches.next_step(state, running)) is not None:
            state, [cut] = change.search, change.shards
            running.append(searches.take(cut, "worker", NOW))
            sizes.append(cut.size)
        if not running:
            raise AssertionError("nothing is at work")
        done, *running = running
        change = searches.counted(state, done, RangeDone("file", 0, seconds_each * done.size), running)
        state = change.search
        if [each.kind for each in change.shards] == ["range", "gather"]:
            assert state.done == total == sum(sizes)
            return sizes


def test_a_shard_is_about_a_second_of_work_and_a_million_combinations_are_some_hundred_shards() -> None:
    sizes = simulate(1_000_000, 0.000_2)
    assert len(sizes) < 400
    assert max(sizes) <= 5_000


def test_a_slow_strategys_shards_are_single_combinations() -> None:
    assert simulate(12, 30.0, slots=1)[1:] == [1, 1, 1, 1]


def test_a_few_quick_combinations_are_not_cut_finer_than_a_claim_is_worth() -> None:
    assert len(simulate(400, 0.000_3)) <= 4


def test_a_large_grid_is_numbered_in_parts() -> None:
    begun = search(total=0, released=0)
    going_on = searches.counted(begun, ShardState(0, "survey", state="running"), Surveying({"surveyed": 5}), ())
    assert [(each.kind, each.state) for each in going_on.shards] == [("survey", "done"), ("survey", "queued")]
    assert going_on.search.plan == {"surveyed": 5}
    over = searches.counted(going_on.search, going_on.shards[1], Surveyed(9, 9, {}), ())
    assert [each.kind for each in over.shards] == ["survey"]
    assert over.search.released == 9


def test_a_shard_lies_within_one_fold() -> None:
    state = search(given=45, plan={"unit": 50})
    change = searches.next_step(state, ())
    assert change is not None
    assert [(each.first, each.last) for each in change.shards] == [(45, 50)]


def test_no_more_slots_than_it_asks_for_work_on_it_at_once() -> None:
    limited = search(max_workers=2)
    assert searches.next_step(limited, [shard(number=1)]) is not None
    assert searches.next_step(limited, [shard(number=1), shard(number=2)]) is None


def test_tpe_is_asked_again_when_all_of_its_batch_are_counted_and_not_before() -> None:
    state = searches.counted(search(), ShardState(0, "survey"), Surveyed(40, 16, {"batch": 1}), ()).search
    assert (state.total, state.released) == (40, 16)
    state = replace(state, given=16)
    waiting = searches.counted(state, shard(0, 8), RangeDone("a", 0, 1.0), [shard(8, 16)])
    assert [each.kind for each in waiting.shards] == ["range"]
    over = searches.counted(waiting.search, shard(8, 16), RangeDone("b", 0, 1.0), ())
    assert [each.kind for each in over.shards] == ["range", "ask"]
    asked = searches.counted(over.search, over.shards[1], Asked(40, 32, {"batch": 2}), ())
    assert (asked.search.released, asked.search.plan) == (32, {"batch": 2})


def test_a_combination_that_kills_its_process_is_parted_from_the_others_and_given_up_alone() -> None:
    state = search(given=10)
    change = searches.died(state, shard(), StepDied("SIGSEGV", at=4), (), max_attempts=3)
    parts = {(each.first, each.last): each for each in change.shards if each.state == "queued"}
    assert sorted(parts) == [(0, 4), (4, 5), (5, 10)]
    assert parts[4, 5].deaths == 1
    assert len({each.number for each in parts.values()}) == 3

    again = searches.died(change.search, replace(parts[4, 5], state="running"), StepDied("SIGSEGV", at=4), (), 3)
    [tried] = again.shards
    assert (tried.state, tried.deaths, again.search.done) == ("queued", 2, 0)
    last = searches.died(again.search, replace(tried, state="running"), StepDied("SIGSEGV", at=4), [shard()], 3)
    assert last.shards[0].error is not None
    assert last.shards[0].error.startswith("crash_loop: gave up after 3 deaths")
    assert (last.search.done, last.search.failed, last.failed) == (1, 1, None)


def test_a_combination_that_takes_too_long_is_not_tried_again() -> None:
    death = StepDied("too long", at=0, failure=OUT_OF_TIME, is_final=True)
    change = searches.died(search(given=10), shard(), death, (), 3)
    assert [(each.first, each.last, each.state, each.error) for each in change.shards[1:]] == [
        (1, 10, "queued", None),
        (0, 1, "done", "timeout: too long"),
    ]


def test_a_combination_is_out_of_memory_only_where_it_is_so_alone() -> None:
    """A child may have grown by what came before."""
    death = StepDied("killed", at=9, failure=OUT_OF_MEMORY)
    change = searches.died(search(given=10), shard(), death, (), 3)
    alone = change.shards[-1]
    assert (alone.first, alone.last, alone.state, alone.deaths) == (9, 10, "queued", 0)
    over = searches.died(change.search, replace(alone, state="running"), death, (), 3)
    assert over.shards[0].error == "out_of_memory: too much"


@pytest.mark.parametrize("kind", ["survey", "ask", "gather", "range"])
def test_a_step_whose_child_dies_before_any_combination_fails_the_search_in_the_end(kind: str) -> None:
    state, step = search(), shard(kind=kind)
    for _ in range(2):
        change = searches.died(state, step, StepDied("SIGKILL"), (), 3)
        assert change.failed is None
        [step] = change.shards
    change = searches.died(state, step, StepDied("SIGKILL"), (), 3)
    assert change.failed is not None
    assert change.failed.code == "crash_loop"


def test_a_range_under_which_workers_die_is_halved_until_one_combination_is_at_fault() -> None:
    state, worn = search(given=10), shard(0, 10, deaths=2)
    assert searches.lapsed(state, shard(0, 10, deaths=1), (), 3) is None
    change = searches.lapsed(state, worn, (), 3)
    assert change is not None
    assert change.shards[0].epoch == worn.epoch + 1
    assert [(each.first, each.last, each.deaths) for each in change.shards[1:]] == [(0, 5, 0), (5, 10, 0)]
    alone = searches.lapsed(state, shard(3, 4, deaths=2), [shard(4, 10)], 3)
    assert alone is not None
    assert (alone.shards[0].error or "").startswith("crash_loop")


def test_percent_never_falls_and_leaves_100_to_the_end() -> None:
    assert searches.reported(search(done=100), NOW).progress_pct == 99
    assert searches.reported(search(done=1, progress_pct=40), NOW).progress_pct == 40


def test_of_a_metric_that_is_better_when_lower_the_lower_one_is_the_best_so_far() -> None:
    state = search(given=100, plan={"lower_is_better": True}, best_value=5.0)
    assert searches.counted(state, shard(), RangeDone("a", 0, 1.0, 6.0, {"a": 1}), [shard()]).search.best_value == 5.0
    assert searches.counted(state, shard(), RangeDone("a", 0, 1.0, 4.0, {"a": 1}), [shard()]).search.best_value == 4.0
