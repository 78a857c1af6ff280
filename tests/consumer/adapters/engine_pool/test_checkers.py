"""Checkers asked about strategies' code that goes wrong: each check has its verdict in time, nobody else notices."""

import asyncio
import json
import os
import signal
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.engine_pool import checkers as checkers_module
from consumer.adapters.engine_pool.checkers import MAX_CHECKERS, StrategyCheckers
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import StrategyCheck, Verdict
from tests.consumer.pools import is_running, settings, title, until

LOAD_SECONDS = 1.5
MARGIN_SECONDS = 6.0
"""For starting a checker, and killing it, on a busy machine."""
SOUND = """
    from engine.strategy import StrategyParams
    class Mine:
        class Params(StrategyParams):
            length: int = 5
        def __init__(self, params, instrument): ...
        def decide(self, view): ...
"""
IN_PARAMS = """
    import os, sys, time
    from pathlib import Path
    from pydantic import model_validator
    from engine.strategy import StrategyParams
    class Mine:
        class Params(StrategyParams):
            do: str
            @model_validator(mode="before")
            @classmethod
            def first(cls, given):
                exec(given["do"])
                return given
        def __init__(self, params, instrument): ...
        def decide(self, view): ...
"""


class Site:
    """A folder that packages are installed in, on the path of this process and of its checkers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(textwrap.dedent(text))

    def install(self, key: str, text: str) -> str:
        """A distribution of one module that registers its class Mine under the key."""
        self.write(f"{key}_code", text)
        metadata = self.folder / f"{key}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {key}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[backtest_consumer.strategies]\n{key} = {key}_code:Mine\n")
        return key


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(made.folder)
    return made


@pytest.fixture
async def checkers(site: Site) -> AsyncIterator[StrategyCheckers]:
    async with StrategyCheckers(checker_settings(site), LOAD_SECONDS, lambda _: None) as made:
        yield made


def checker_settings(site: Site) -> EngineProcessSettings:
    return settings(environment={"PYTHONPATH": str(site.folder)})


async def verdicts(checkers: StrategyCheckers, *checks: StrategyCheck) -> dict[StrategyCheck, Verdict]:
    found: dict[StrategyCheck, Verdict] = {}
    async for lot in checkers.check(checks):
        found.update(lot)
    return found


async def verdict(checkers: StrategyCheckers, key: str, params: str = "{}") -> list[tuple[str, str, str]]:
    [problems] = (await verdicts(checkers, StrategyCheck(key, params))).values()
    return [(problem.field, problem.code, problem.message) for problem in problems]


async def test_a_sound_package_passes_and_its_params_refuse_field_by_field(
    site: Site, checkers: StrategyCheckers
) -> None:
    site.install("sound", SOUND)

    assert await verdict(checkers, "sound", '{"length": 7}') == []
    refused = await verdict(checkers, "sound", '{"length": "x", "nonsense": 1}')
    assert [field for field, *_ in refused] == ["strategy_params.length", "strategy_params.nonsense"]
    assert len(checkers.pids) == 1


async def test_what_this_program_brings_along_is_asked_like_others(checkers: StrategyCheckers) -> None:
    assert await verdict(checkers, "sma_cross") == []
    [(field, _, message)] = await verdict(checkers, "sma_cross", '{"fast": 30, "slow": 8}')
    assert field == "strategy_params.params"
    assert "must be below slow" in message


async def test_what_is_not_registered_needs_no_checker(
    checkers: StrategyCheckers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkers, "_ask", None)  # nothing may come to it
    [(field, code, message)] = await verdict(checkers, "nowhere")
    assert (field, code) == ("strategy_id", "unknown_strategy")
    assert "'nowhere' is not registered" in message
    [(_, _, message)] = await verdict(checkers, "sma_cros")
    assert message.endswith("'sma_cros' is not registered here (did you mean 'sma_cross'?)")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import time; time.sleep(30)", f"took longer than {LOAD_SECONDS:g} s to import"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "took longer than"),
        ("import os; os._exit(3)", "ended its process with exit status 3"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended its process by SIGSEGV"),
        ("raise KeyboardInterrupt", "ended its process"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ],
)
async def test_a_module_that_goes_wrong_at_import_is_an_unknown_strategy_in_time_with_the_reason(
    site: Site, checkers: StrategyCheckers, code: str, what: str
) -> None:
    site.install("bad", code)
    started = time.monotonic()

    [(field, problem, message)] = await verdict(checkers, "bad")

    assert (field, problem) == ("strategy_id", "unknown_strategy")
    assert what in message
    assert time.monotonic() - started < LOAD_SECONDS + MARGIN_SECONDS


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("time.sleep(30)", f"took longer than {LOAD_SECONDS:g} s to check"),
        ("os._exit(3)", "ended its process with exit status 3"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyError('a defect')", "KeyError: 'a defect'"),
        ("raise KeyboardInterrupt", "ended its process"),
        ("os.kill(os.getpid(), 11)", "ended its process by SIGSEGV"),
    ],
)
async def test_params_that_go_wrong_are_invalid_in_time_with_the_reason(
    site: Site, checkers: StrategyCheckers, code: str, what: str
) -> None:
    site.install("odd", IN_PARAMS)
    started = time.monotonic()

    [(field, problem, message)] = await verdict(checkers, "odd", f'{{"do": "{code}"}}')

    assert (field, problem) == ("strategy_params", "invalid_params")
    assert what in message
    assert time.monotonic() - started < LOAD_SECONDS + MARGIN_SECONDS


async def test_a_slow_strategy_holds_up_no_other_package_and_no_other_params_of_its_own(site: Site) -> None:
    site.install("odd", IN_PARAMS)
    site.install("sound", SOUND)
    gate = site.folder / "gate"
    code = f"while not Path({str(gate)!r}).exists(): time.sleep(0.01)"
    slow = StrategyCheck("odd", json.dumps({"do": code}))
    others = [StrategyCheck("odd", '{"do": "pass"}'), StrategyCheck("sound", "{}"), StrategyCheck("sma_cross", "{}")]
    found: dict[StrategyCheck, Verdict] = {}
    async with StrategyCheckers(checker_settings(site), 60.0, lambda _: None) as checkers:
        async for lot in checkers.check([slow, *others]):
            found.update(lot)
            if found.keys() >= set(others):
                assert slow not in found or gate.exists()
                gate.touch()
    assert found == dict.fromkeys([slow, *others], ())


async def test_a_strategy_that_cannot_be_imported_in_time_is_not_asked_for_again_until_its_code_changes(
    site: Site, checkers: StrategyCheckers
) -> None:
    site.install("bad", "import time; time.sleep(30)")
    await verdict(checkers, "bad")

    started = time.monotonic()
    [(_, code, message)] = await verdict(checkers, "bad", '{"other": 1}')
    assert (code, time.monotonic() - started < LOAD_SECONDS) == ("unknown_strategy", True)
    assert "not asked again" in message

    site.write("bad_code", SOUND)
    assert await verdict(checkers, "bad") == []


async def test_many_requests_for_a_strategy_whose_params_hang_are_answered_after_a_few(
    site: Site, checkers: StrategyCheckers
) -> None:
    site.install("odd", IN_PARAMS)
    hangs = [StrategyCheck("odd", f'{{"do": "time.sleep({30 + number})"}}') for number in range(40)]
    started = time.monotonic()

    found = await verdicts(checkers, *hangs)

    assert {problem.code for problems in found.values() for problem in problems} == {"invalid_params"}
    assert time.monotonic() - started < len(hangs) * LOAD_SECONDS / 2


async def test_trouble_with_what_a_search_varies_leaves_the_strategy_to_runs(
    site: Site, checkers: StrategyCheckers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkers_module, "TROUBLES_WITH_PARAMS", 1)
    site.install("odd", IN_PARAMS)
    space = json.dumps({"param_grid": {"size": [1]}, "method": "grid", "samples": None, "seed": 0})
    await verdicts(checkers, StrategyCheck("odd", '{"do": "os._exit(1)"}', space))

    [again] = (await verdicts(checkers, StrategyCheck("odd", '{"do": "os._exit(2)"}', space))).values()

    assert "not asked again" in again[0].message
    assert await verdict(checkers, "odd", '{"do": "pass"}') == []


async def test_trouble_is_forgotten_after_a_while(
    site: Site, checkers: StrategyCheckers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkers_module, "TROUBLE_SECONDS", 0.0)
    switch = site.folder / "switch"
    site.install("bad", f"import os\nif not os.path.exists({str(switch)!r}): os._exit(1)\n{textwrap.dedent(SOUND)}")
    assert await verdict(checkers, "bad") != []

    switch.touch()

    assert await verdict(checkers, "bad") == []


async def test_a_package_that_was_edited_is_imported_anew(site: Site, checkers: StrategyCheckers) -> None:
    site.install("sound", SOUND)
    assert await verdict(checkers, "sound", '{"length": 7}') == []
    [before] = checkers.pids

    site.write("sound_code", SOUND.replace("length", "window"))

    assert await verdict(checkers, "sound", '{"window": 7}') == []
    assert before not in checkers.pids


async def test_a_checker_that_somebody_kills_is_replaced_and_the_check_is_not_blamed(
    site: Site, checkers: StrategyCheckers, tmp_path: Path
) -> None:
    site.install("odd", IN_PARAMS)
    sign = tmp_path / "sign"
    code = f"if not Path({str(sign)!r}).exists(): Path({str(sign)!r}).write_text(str(os.getpid())); time.sleep(30)"
    asking = asyncio.create_task(verdict(checkers, "odd", json.dumps({"do": code})))
    await until(lambda: sign.exists() and sign.read_text() != "")

    os.kill(int(sign.read_text()), signal.SIGKILL)

    assert await asking == []


async def test_checkers_are_few_and_an_idle_one_makes_room(site: Site, checkers: StrategyCheckers) -> None:
    keys = [site.install(f"sound{number}", SOUND) for number in range(MAX_CHECKERS + 2)]

    found = await verdicts(checkers, *(StrategyCheck(key, "{}") for key in keys))

    assert set(found.values()) == {()}
    assert 0 < len(checkers.pids) <= MAX_CHECKERS


async def test_a_checker_is_named_for_what_it_does_and_ends_with_its_pool(site: Site) -> None:
    site.install("sound", SOUND)
    async with StrategyCheckers(checker_settings(site), LOAD_SECONDS, lambda _: None) as checkers:
        await until(lambda: bool(checkers.pids))
        assert await verdict(checkers, "sound") == []
        [pid] = checkers.pids
        await until(lambda: title(pid) == "backtest-checker idle")
    assert not is_running(pid)


async def test_the_same_check_asked_for_by_many_is_made_once(site: Site, checkers: StrategyCheckers) -> None:
    count = site.folder / "count"
    site.install("odd", IN_PARAMS)
    check = StrategyCheck("odd", f"{{\"do\": \"open('{count}', 'a').write('x'); time.sleep(0.3)\"}}")

    found: list[Any] = await asyncio.gather(*(verdicts(checkers, check) for _ in range(5)))

    assert found == [{check: ()}] * 5
    assert count.read_text() == "x"
