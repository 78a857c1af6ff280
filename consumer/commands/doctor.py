"""`backtest doctor`: everything a worker needs, checked one by one, each problem with what to do about it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from consumer.commands.connections import quiet_log
from consumer.errors import BrokerUnavailable, ConsumerError, SettingsInvalid, StartFailed
from consumer.installed.registry import RegisteredStrategy, registered_strategies
from consumer.installed.strategy_code import strategy_version
from consumer.ports import StrategyCheck, Verdict
from consumer.settings import (
    DatabaseSettings,
    KafkaSettings,
    LogSettings,
    ModelSettings,
    Settings,
    StoreSettings,
    StrategySettings,
    load_settings,
    unknown_variables,
)
from consumer.wiring.artifacts import FileStoreError, probe_artifacts
from consumer.wiring.broker import TopicFacts, facts_of_topics, members_of_group
from consumer.wiring.database import is_behind_pooler
from consumer.wiring.files import instruments_of, market_data_at
from consumer.wiring.models import where_asked
from consumer.wiring.schema import head_revision, notes_on_schema
from consumer.wiring.strategies import open_checker
from engine.errors import EngineError
from schemas.topics import Topic

app = typer.Typer(add_completion=False)

CHECK_TIMEOUT_SECONDS = 20.0
STRATEGIES_TIMEOUT_SECONDS = 120.0
"""Each of them may take STRATEGY_LOAD_SECONDS."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. is_fine false: advice says what to do; true with advice: worth knowing."""

    what: str
    is_fine: bool
    message: str
    advice: str = ""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """Check what a worker with these settings would find; writes one probe file. Exit status: 0 all is well, else 1."""
    quiet_log(LogSettings.model_construct())
    findings = asyncio.run(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(_line(finding))
    if not all(finding.is_fine for finding in findings):
        raise typer.Exit(1)


async def examine() -> list[Finding]:
    """Every check, in the order in which a start would fail."""
    findings = _examine_settings()
    for what, check in (
        ("postgres", _examine_postgres),
        ("kafka", _examine_kafka),
        ("market data", _in_thread(_examine_market_data)),
        ("artefacts", _in_thread(_examine_artifacts)),
        ("model", _in_thread(_examine_model)),
    ):
        findings += await _guarded(what, check)
    return findings + await _guarded("strategies", _examine_strategies, STRATEGIES_TIMEOUT_SECONDS)


Check = Callable[[], Awaitable[list[Finding]]]


async def _guarded(what: str, check: Check, timeout_seconds: float = CHECK_TIMEOUT_SECONDS) -> list[Finding]:
    """A check ends in findings, whatever it runs into."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await check()
    except SettingsInvalid:
        return [Finding(what, False, "not looked at", "mend the settings first")]
    except StartFailed as error:  # says itself what to do
        return [Finding(what, False, str(error))]
    except (ConsumerError, EngineError, FileStoreError) as error:
        return [Finding(what, False, str(error), _ADVICE.get(what, ""))]
    except TimeoutError:
        return [Finding(what, False, f"no answer within {timeout_seconds:g} s", _ADVICE.get(what, ""))]


_ADVICE = {
    "postgres": "is the server up, is it the one that takes writes, and is BACKTEST_DATABASE_URL right?",
    "kafka": "is it up, and are BACKTEST_KAFKA_BOOTSTRAP_SERVERS and the security settings right?",
    "market data": "see BACKTEST_MARKET_DATA_URL; `backtest data check` says more of single files",
    "artefacts": "BACKTEST_ARTIFACTS_URL must name a place that this user may write to",
}


def _in_thread(check: Callable[[], Iterable[Finding]]) -> Check:
    async def run() -> list[Finding]:
        return list(await asyncio.to_thread(check))

    return run


def _examine_settings() -> list[Finding]:
    findings = []
    try:
        settings = load_settings(Settings)
        findings.append(
            Finding("settings", True, f"{settings.slots} slots, group {settings.kafka_group_id}, all values fit")
        )
    except SettingsInvalid as error:
        problems = str(error).split("; ")
        findings += [Finding("settings", False, each, "set it" if "is not set" in each else "") for each in problems]
    for name, meant in unknown_variables().items():
        advice = f"did you mean {meant}?" if meant else "remove it"
        findings.append(Finding("settings", True, f"{name} is no setting and changes nothing", advice))
    return findings


async def _examine_postgres() -> list[Finding]:
    settings = load_settings(DatabaseSettings)
    notes = list(await notes_on_schema(settings))
    if await is_behind_pooler(settings):
        notes.append("a pooler stands before it: transactions take a few round trips more than without")
    fine = Finding("postgres", True, f"{settings.database_place}, tables at revision {head_revision()}")
    return [fine, *(Finding("postgres", True, note) for note in notes)]


async def _examine_kafka() -> list[Finding]:
    settings = load_settings(KafkaSettings)
    facts = await facts_of_topics(settings, tuple(Topic))
    missing = [topic.value for topic in Topic if topic not in facts]
    findings = [_topic_finding(Topic(name), each, settings) for name, each in facts.items()]
    findings += await _examine_workers(settings)
    if not missing:
        return findings
    named = ", ".join(missing)
    if settings.kafka_create_topics:
        return [*findings, Finding("kafka", True, f"not there yet: {named}", "a worker makes them when it starts")]
    return [*findings, Finding("kafka", False, f"missing: {named}", "make them, or BACKTEST_KAFKA_CREATE_TOPICS=true")]


async def _examine_workers(settings: KafkaSettings) -> list[Finding]:
    """None is no problem here: this may be asked before the first of them starts."""
    try:
        members = await members_of_group(settings)
    except BrokerUnavailable:  # it answered of topics: of groups it has nothing to say, as on a broker that is new
        members = None
    if members is None:
        return []
    told = f"workers that read requests in group {settings.kafka_group_id}: {members}"
    return [Finding("kafka", True, told, "" if members else "requests wait until a `backtest worker` runs")]


def _topic_finding(topic: Topic, facts: TopicFacts, settings: KafkaSettings) -> Finding:
    told = f"{topic.value}: {facts.partitions} partitions, records to {facts.max_message_bytes} bytes"
    if "compact" not in facts.cleanup_policy and topic is Topic.COMPLETED:
        told += ", not compacted: outcomes older than its retention are lost"
    if wrong := facts.shortcomings(topic):
        return Finding("kafka", False, told, f"set {', '.join(f'{name}={value}' for name, value in wrong.items())}")
    notes = []
    if facts.partitions < settings.kafka_topic_partitions:
        notes.append(f"BACKTEST_KAFKA_TOPIC_PARTITIONS is {settings.kafka_topic_partitions}")
    if facts.timestamp_type != "LogAppendTime":
        notes.append("message.timestamp.type=LogAppendTime would keep a sender's wrong clock out of it")
    return Finding("kafka", True, told, "; ".join(notes))


def _examine_market_data() -> Iterable[Finding]:
    settings = load_settings(StoreSettings)
    instruments_of(settings.instruments_file)
    stored = market_data_at(settings.market_data_url, cache_bytes=1)
    held = {symbol: stored.timeframes(symbol) for symbol in stored.symbols()}
    if not any(held.values()):
        yield Finding(
            "market data", False, f"no bars in {settings.market_data_url}", "bring some: `backtest data import`"
        )
        return
    named = ", ".join(f"{symbol} {' '.join(names)}" for symbol, names in list(held.items())[:5] if names)
    more = f" and {len(held) - 5} symbols more" if len(held) > 5 else ""
    yield Finding("market data", True, f"{settings.market_data_url}: {named}{more}")


def _examine_artifacts() -> Iterable[Finding]:
    url = load_settings(StoreSettings).artifacts_url
    probe_artifacts(url)
    yield Finding("artefacts", True, f"{url} takes files")


def _examine_model() -> Iterable[Finding]:
    """Nobody is called."""
    asked = where_asked(load_settings(ModelSettings))
    if asked is None:
        yield Finding("model", True, "none, rules alone decide: BACKTEST_LLM_MODEL is not set in this process")
    else:
        yield Finding("model", True, *asked)


async def _examine_strategies() -> list[Finding]:
    """Asked as a worker asks them: what they do to their process is a finding, and not the end of this one."""
    checks = {key: StrategyCheck(key, "{}") for key in registered_strategies()}
    verdicts: dict[StrategyCheck, Verdict] = {}
    async with open_checker(load_settings(StrategySettings)) as checker:
        async for lot in checker.check(list(checks.values())):
            verdicts.update(lot)
    return [_strategy_finding(registered, verdicts[checks[key]]) for key, registered in registered_strategies().items()]


def _strategy_finding(registered: RegisteredStrategy, verdict: Verdict) -> Finding:
    # Params that want something to be given are well; those that come to no answer are not.
    broken = [
        problem for problem in verdict if problem.code == "unknown_strategy" or problem.field == "strategy_params"
    ]
    if broken:
        message = f"{registered.key} ({registered.target}): {broken[0].message}"
        return Finding("strategies", False, message, f"see to the package {registered.distribution}")
    version = strategy_version(registered.key)
    return Finding("strategies", True, f"{registered.key} ({registered.target}), version {version}")


def _line(finding: Finding) -> str:
    advice = f" -> {finding.advice}" if finding.advice else ""
    state = "ok     " if finding.is_fine else "PROBLEM"
    return f"{state}  {finding.what}: {finding.message}{advice}"
