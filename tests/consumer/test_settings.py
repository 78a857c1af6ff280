"""The environment as the service reads it: the contract's defaults, errors by variable, and no secret in anything."""

import re
from pathlib import Path

import pytest

from consumer.errors import SettingsInvalid
from consumer.settings import DatabaseSettings, KafkaSettings, LogSettings, Settings, load_settings, unknown_variables

PASSWORD = "hunter2hunter2"
NEEDED = {
    "DATABASE_URL": f"postgresql+asyncpg://worker:{PASSWORD}@db.example:5433/backtest",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092",
}


def test_the_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded(monkeypatch)
    shown = {name: getattr(settings, name) for name in Settings.model_fields if name not in {"database_url", "slots"}}
    assert shown == {
        "log_format": None,
        "log_level": "info",
        "kafka_bootstrap_servers": "kafka-1:9092",
        "kafka_group_id": "backtest-consumer",
        "kafka_security_protocol": "PLAINTEXT",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_sasl_username": None,
        "kafka_sasl_password": None,
        "kafka_ssl_cafile": None,
        "kafka_ssl_certfile": None,
        "kafka_ssl_keyfile": None,
        "kafka_ssl_password": None,
        "kafka_ssl_check_hostname": True,
        "kafka_topic_partitions": 6,
        "kafka_replication_factor": -1,
        "kafka_create_topics": True,
        "market_data_url": str(tmp_path / "market-data"),
        "artifacts_url": str(tmp_path / "artifacts"),
        "account_currency": "USD",
        "instruments_file": None,
        "lease_seconds": 15.0,
        "progress_interval_seconds": 0.5,
        "max_attempts": 3,
        "run_timeout_seconds": 3600.0,
        "intake_batch_mb": 32,
        "max_queued": 100_000,
        "engine_memory_mb": 4096,
        "max_combinations": 1_000_000,
        "strategy_load_seconds": 10.0,
        "drain_seconds": 0.0,
        "start_timeout_seconds": 60.0,
        "http_host": "127.0.0.1",
        "http_port": 0,
        "llm_model": None,
        "llm_base_url": None,
        "llm_models": None,
        "llm_api_key": None,
        "llm_timeout_seconds": 60.0,
        "llm_concurrency": 4,
        "llm_requests_per_minute": 60,
        "llm_max_tokens": 1000,
        "llm_max_prompt_tokens": 16_000,
        "llm_temperature": 0.0,
        "llm_input_price": None,
        "llm_output_price": None,
        "llm_patience_seconds": 120.0,
        "llm_run_timeout_seconds": 86_400.0,
        "llm_cache": True,
        "llm_cutoff": None,
    }
    assert settings.slots >= 1


def test_every_variable_at_fault_is_named_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(
        monkeypatch, SLOTS="two", LEASE_SECONDS="0.5", HTTP_PORT="70000", LOG_FORMAT="xml", DATABASE_URL="mysql://a/b"
    )
    named = re.findall(r"BACKTEST_\w+", message)
    assert sorted(named) == [
        "BACKTEST_DATABASE_URL",
        "BACKTEST_HTTP_PORT",
        "BACKTEST_LEASE_SECONDS",
        "BACKTEST_LOG_FORMAT",
        "BACKTEST_SLOTS",
    ]
    assert "BACKTEST_SLOTS: must be a whole number of at least 1, not 'two'" in message


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, DATABASE_URL=None, KAFKA_BOOTSTRAP_SERVERS=None)
    assert "BACKTEST_DATABASE_URL: is not set" in message
    assert "BACKTEST_KAFKA_BOOTSTRAP_SERVERS: is not set" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "nan"),
        ("LEASE_SECONDS", "inf"),
        ("RUN_TIMEOUT_SECONDS", "0"),
        ("SLOTS", "0"),
        ("SLOTS", "1.5"),
        ("MAX_ATTEMPTS", "-1"),
        ("KAFKA_REPLICATION_FACTOR", "0"),
        ("KAFKA_CREATE_TOPICS", "maybe"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka 9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:port"),
        ("KAFKA_GROUP_ID", "two words"),
        ("ACCOUNT_CURRENCY", "dollars"),
        ("INSTRUMENTS_FILE", "/there/is/no/such/file.toml"),
        ("DATABASE_URL", "postgresql://host"),
        ("DATABASE_URL", "postgresql://host:port/database"),
        ("DATABASE_URL", "postgresql+psycopg://host/database"),
        ("LLM_MODEL", "gpt-5"),
        ("LLM_MODEL", "openai:a,openai:b"),
        ("LLM_MODELS", "openai:a, b"),
        ("LLM_BASE_URL", "ftp://127.0.0.1/v1"),
        ("LLM_BASE_URL", "http://user:password@127.0.0.1/v1"),
        ("LLM_TEMPERATURE", "3"),
        ("LLM_INPUT_PRICE", "-1"),
        ("LLM_CUTOFF", "last year"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert refused(monkeypatch, **{name: value}).startswith(f"BACKTEST_{name}: must be ")


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_a_database_url_without_its_driver_means_the_same(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    settings = loaded(monkeypatch, DATABASE_URL=f"{scheme}://me@localhost/db")
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://me@localhost/db"


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, LEASE_SECONDS="", LOG_FORMAT="").lease_seconds == 15.0


def test_secrets_show_in_no_repr_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    }
    settings = loaded(monkeypatch, **secrets)
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()} {settings.database_place}"
    assert PASSWORD not in refused(monkeypatch, DATABASE_URL=f"mysql://me:{PASSWORD}@host/db")
    assert PASSWORD not in refused(monkeypatch, ARTIFACTS_URL=f"s3://me:{PASSWORD}@bucket/x")
    assert PASSWORD not in refused(monkeypatch, LLM_BASE_URL=f"http://me:{PASSWORD}/x@127.0.0.1/v1")
    assert PASSWORD not in refused(monkeypatch, LLM_BASE_URL=f"http://127.0.0.1/v1?api_key={PASSWORD}")


@pytest.mark.parametrize("name", ["ARTIFACTS_URL", "MARKET_DATA_URL"])
def test_a_place_that_is_no_store_is_refused_rather_than_met_by_every_run(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert f"BACKTEST_{name}" in refused(monkeypatch, **{name: "nope://bucket/bars"})
    assert PASSWORD not in refused(monkeypatch, KAFKA_BOOTSTRAP_SERVERS=f"me:{PASSWORD}@kafka:9092")


def test_the_log_learns_every_secret_to_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, DATABASE_URL="postgresql://me:p%40ssword@host/db")
    assert "p@ssword" in settings.secret_values()


def test_credentials_that_the_protocol_would_not_use_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, KAFKA_SASL_USERNAME="me", KAFKA_SASL_PASSWORD=PASSWORD)
    assert "BACKTEST_KAFKA_SASL_USERNAME: is set, but BACKTEST_KAFKA_SECURITY_PROTOCOL=PLAINTEXT" in message
    assert "BACKTEST_KAFKA_SSL_CAFILE" in refused(monkeypatch, KAFKA_SSL_CAFILE=__file__)


def test_sasl_without_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, KAFKA_SECURITY_PROTOCOL="sasl_ssl")
    assert "BACKTEST_KAFKA_SASL_USERNAME: must be set with BACKTEST_KAFKA_SECURITY_PROTOCOL=SASL_SSL" in message
    assert "BACKTEST_KAFKA_SASL_PASSWORD: must be set" in message


def test_heartbeats_come_at_a_third_of_the_lease_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, LEASE_SECONDS="1.2", PROGRESS_INTERVAL_SECONDS="5")
    assert settings.heartbeat_seconds == pytest.approx(0.4)
    assert loaded(monkeypatch, PROGRESS_INTERVAL_SECONDS="0.1").heartbeat_seconds == 0.1


def test_a_command_needs_only_the_settings_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("BACKTEST_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    assert load_settings(KafkaSettings).kafka_bootstrap_servers == "kafka:9092"
    assert load_settings(LogSettings).log_level == "info"
    with pytest.raises(SettingsInvalid, match="BACKTEST_DATABASE_URL"):
        load_settings(DatabaseSettings)


def test_a_mistyped_variable_is_found_with_what_was_meant() -> None:
    assert unknown_variables({"BACKTEST_SLOT": "4", "BACKTEST_SLOTS": "4", "PATH": ""}) == {
        "BACKTEST_SLOT": "BACKTEST_SLOTS"
    }
    assert unknown_variables({"BACKTEST_XYZZY": "4"}) == {"BACKTEST_XYZZY": None}


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> Settings:
    """The settings of these variables over the two that are needed; None: not set."""
    clear(monkeypatch)
    for name, value in {**NEEDED, **variables}.items():
        if value is not None:
            monkeypatch.setenv(f"BACKTEST_{name}", value)
    return load_settings(Settings)


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> str:
    with pytest.raises(SettingsInvalid) as error:
        loaded(monkeypatch, **variables)
    return str(error.value)


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"BACKTEST_{name.upper()}", raising=False)


def test_the_default_model_is_one_of_those_that_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch).models == ()
    assert loaded(monkeypatch, LLM_MODEL="openai:a").models == ("openai:a",)
    several = loaded(monkeypatch, LLM_MODEL="openai:a", LLM_MODELS="openai:b, openai:a")
    assert several.models == ("openai:a", "openai:b")


@pytest.mark.parametrize(
    "given",
    [
        {"LLM_MODEL": "anthropic:a", "LLM_BASE_URL": "http://127.0.0.1:8000/v1"},
        {"LLM_MODEL": "openai:a", "LLM_INPUT_PRICE": "1"},
    ],
)
def test_model_settings_that_do_not_fit_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    assert list(given)[-1] in refused(monkeypatch, **given)


def test_an_address_with_a_password_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, LLM_MODEL="openai:a", LLM_BASE_URL=f"http://me:{PASSWORD}@127.0.0.1/v1")
    assert PASSWORD not in message


def test_the_key_of_a_model_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, LLM_MODEL="openai:a", LLM_API_KEY=PASSWORD)
    assert PASSWORD not in repr(settings)
    assert PASSWORD in settings.secret_values()
