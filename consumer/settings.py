"""What the service is told from outside: environment variables `BACKTEST_...`, read here and nowhere else.

An empty variable counts as one that is not set. Names are those of the fields in capitals with the prefix; secrets are
SecretStr, so that neither repr nor log nor error shows them.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from consumer.database_url import WANTED, read_database_url
from consumer.errors import SettingsInvalid

PREFIX = "BACKTEST_"

SettingsType = TypeVar("SettingsType", bound=BaseSettings)


def load_settings(kind: type[SettingsType]) -> SettingsType:
    """Read and check the settings that `kind` names: Settings (a worker), ApiSettings, KafkaSettings, ...

    Raises SettingsInvalid, which lists every variable at fault by its full name, secrets without their values.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = [_problem(kind, dict(each)) for each in error.errors(include_url=False, include_context=False)]
        # Without `from`: the original error carries the values, secrets included.
        raise SettingsInvalid("; ".join(problems)) from None


def unknown_variables(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Variables with our prefix that no setting has, each with the setting it may have been meant for: likely typos."""
    known = [name.upper() for name in {**Settings.model_fields, **ApiSettings.model_fields}]
    present = os.environ if environment is None else environment
    given = sorted(name.removeprefix(PREFIX) for name in present if name.startswith(PREFIX))
    meant = {name: difflib.get_close_matches(name, known, n=1) for name in given if name not in known}
    return {PREFIX + name: PREFIX + close[0] if close else None for name, close in meant.items()}


# --- kinds of values -----------------------------------------------------------------------------------------------
# Each says in its description what a value must be; errors are made of it.


def _database_url(text: Any) -> Any:
    """Other tools write the scheme without a driver; it means the same."""
    return re.sub(r"^postgres(ql)?://", "postgresql+asyncpg://", text) if isinstance(text, str) else text


def _check_database_url(url: SecretStr) -> SecretStr:
    read_database_url(url.get_secret_value())
    return url


def _check_servers(text: str) -> str:
    for server in text.split(","):
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(:[0-9]{1,5})?", server.strip()):
            raise ValueError("not host:port")
    return ",".join(server.strip() for server in text.split(","))


_STORES = frozenset(["file", "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https", "memory"])
"""Schemes that obstore knows."""


def _check_place(text: str) -> str:
    if "://" in text and (urlsplit(text).username is not None or urlsplit(text).password is not None):
        raise ValueError("credentials in a URL would be shown in events")
    if "://" in text and urlsplit(text).scheme.lower() not in _STORES:
        raise ValueError("no object store")
    # Absolute, because events name files in it and are read elsewhere.
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _check_replication(factor: int) -> int:
    if factor != -1 and factor < 1:
        raise ValueError("no replication factor")
    return factor


_MODEL = re.compile(r"[a-z][a-z0-9-]{0,40}:[!-~]{1,150}")


def _check_models(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    if not all(_MODEL.fullmatch(name) for name in names):
        raise ValueError("not provider:name")
    return ",".join(names)


def _check_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("no address of a server")
    if "@" in text or parts.port == 0:  # a port that is no number raises by itself
        raise ValueError("credentials in an address would be shown in errors")
    return text


def _lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper_case(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


_DatabaseUrl = Annotated[
    SecretStr,
    BeforeValidator(_database_url),
    AfterValidator(_check_database_url),
    Field(description=WANTED),
]
_Servers = Annotated[
    str, AfterValidator(_check_servers), Field(description="host:port, or several of them separated by commas")
]
_Place = Annotated[
    str,
    Field(min_length=1, description="a path, file:// or object-store URL (without credentials: they'd show in events)"),
    AfterValidator(_check_place),
]
_SecurityProtocol = Annotated[
    Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
    BeforeValidator(_upper_case),
    Field(description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
]
_SaslMechanism = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    BeforeValidator(_upper_case),
    Field(description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
]
_ReplicationFactor = Annotated[
    int, AfterValidator(_check_replication), Field(description="a whole number of at least 1, or -1: the broker's")
]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1, description="a whole number of at least 1")]
_Lease = Annotated[float, Field(ge=1, le=86_400, description="seconds, at least 1, fractions allowed")]
_Interval = Annotated[float, Field(ge=0.05, le=3600, description="seconds, at least 0.05")]
_Seconds = Annotated[float, Field(gt=0, le=10**9, description="seconds, above 0")]
_SecondsOrNone = Annotated[float, Field(ge=0, le=10**9, description="seconds, at least 0")]
_Port = Annotated[int, Field(ge=0, le=65_535, description="a port number, or 0: off")]
_PortInUse = Annotated[int, Field(ge=1, le=65_535, description="a port number from 1")]


def _check_root_path(path: str) -> str:
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", path):
        raise ValueError("no path")
    return path.rstrip("/")


_RootPath = Annotated[
    str, AfterValidator(_check_root_path), Field(description="a path such as /backtest, of letters, digits, ._~-")
]
_Currency = Annotated[
    str, BeforeValidator(_upper_case), Field(pattern="^[A-Z]{3}$", description="three letters such as USD")
]
_GroupId = Annotated[
    str, Field(pattern="^[!-~]{1,249}$", description="1 to 249 printable ASCII characters without blanks")
]
_File = Annotated[FilePath, Field(description="the path of a file that is there")]
_LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lower_case), Field(description="console or json")]
_LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(_lower_case),
    Field(description="debug, info, warning, error or critical"),
]
_Switch = Annotated[bool, Field(description="true or false")]
_Model = Annotated[
    str, AfterValidator(_check_models), Field(pattern="^[^,]*$", description="provider:name, such as openai:gpt-5-mini")
]
_Models = Annotated[
    str, AfterValidator(_check_models), Field(description="provider:name, or several of them separated by commas")
]
_Address = Annotated[
    str,
    AfterValidator(_check_address),
    Field(description="http:// or https:// and a host, without credentials: the key has a setting of its own"),
]
_Temperature = Annotated[float, Field(ge=0, le=2, description="a number from 0 to 2")]
_Price = Annotated[float, Field(ge=0, le=10**9, description="account currency a million tokens, at least 0")]
_Date = Annotated[date, Field(description="a date such as 2024-06-30")]
_Text = Annotated[str, Field(min_length=1, description="text")]
_Secret = Annotated[SecretStr, Field(description="text")]


def _cores() -> int:
    """Those this process may use, not those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- the settings --------------------------------------------------------------------------------------------------

_READING = SettingsConfigDict(
    env_prefix=PREFIX,
    frozen=True,
    extra="ignore",
    env_ignore_empty=True,
    str_strip_whitespace=True,
    allow_inf_nan=False,
    validate_default=True,
)


class LogSettings(BaseSettings):
    """How any command logs."""

    model_config = _READING

    log_format: _LogFormat | None = None
    """None: console where stderr is a terminal, json elsewhere."""
    log_level: _LogLevel = "info"

    def secret_values(self) -> tuple[str, ...]:
        """Every secret among these settings, for the log to leave out."""
        values = [getattr(self, name) for name in type(self).model_fields]
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        # Postgres's own variable: its client takes the password from there where the URL has none.
        return tuple(secret for secret in [*secrets, os.environ.get("PGPASSWORD")] if secret)


class DatabaseSettings(LogSettings):
    """How to reach Postgres."""

    database_url: _DatabaseUrl
    """With libpq's parameters, see `consumer.database_url`; postgresql:// and postgres:// mean the same driver."""

    def secret_values(self) -> tuple[str, ...]:
        """The URL's passwords too."""
        return (*super().secret_values(), *read_database_url(self.database_url.get_secret_value()).secrets)

    @property
    def database_place(self) -> str:
        """Host, port and database of the URL, for messages: never the user or the password."""
        return read_database_url(self.database_url.get_secret_value()).place


class KafkaSettings(LogSettings):
    """How to reach Kafka, and the topics' shape."""

    kafka_bootstrap_servers: _Servers
    kafka_group_id: _GroupId = "backtest-consumer"
    kafka_security_protocol: _SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: _SaslMechanism = "PLAIN"
    kafka_sasl_username: _Text | None = None
    kafka_sasl_password: _Secret | None = None
    kafka_ssl_cafile: _File | None = None
    """None: the system's authorities."""
    kafka_ssl_certfile: _File | None = None
    """The client's certificate, where the broker asks for one."""
    kafka_ssl_keyfile: _File | None = None
    kafka_ssl_password: _Secret | None = None
    """Of the key file."""
    kafka_ssl_check_hostname: _Switch = True
    kafka_topic_partitions: _Count = 6
    kafka_replication_factor: _ReplicationFactor = -1
    kafka_create_topics: _Switch = True

    @model_validator(mode="after")
    def _credentials_fit_the_protocol(self) -> Self:
        """Settings that the protocol does not use are a mistake: somebody believes in more safety than there is."""
        protocol = self.kafka_security_protocol
        with_protocol = f"{_variable('kafka_security_protocol')}={protocol}"
        needed: list[str] = []
        unused: list[str] = []
        (needed if protocol.startswith("SASL") else unused).extend(_SASL_FIELDS)
        unused.extend(() if protocol.endswith("SSL") else _TLS_FIELDS)
        missing = [name for name in needed if getattr(self, name) is None]
        useless = [name for name in unused if getattr(self, name) is not None]
        problems = [f"{_variable(name)}: must be set with {with_protocol}" for name in missing]
        problems += [f"{_variable(name)}: is set, but {with_protocol} does not use it" for name in useless]
        if self.kafka_ssl_keyfile is not None and self.kafka_ssl_certfile is None:
            problems.append(f"{_variable('kafka_ssl_certfile')}: must be set with {_variable('kafka_ssl_keyfile')}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


_SASL_FIELDS = ("kafka_sasl_username", "kafka_sasl_password")
_TLS_FIELDS = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile", "kafka_ssl_password")


class StoreSettings(LogSettings):
    """Where bars and artefacts lie."""

    market_data_url: _Place = "./market-data"
    """<root>/<SYMBOL>/<TIMEFRAME>/<year>.parquet."""
    artifacts_url: _Place = "./artifacts"
    """<root>/runs/<run_id>/<epoch>/ and <root>/bars/<digest>.csv."""
    account_currency: _Currency = "USD"
    instruments_file: _File | None = None
    """TOML, extends the packaged instruments."""


class StrategySettings(LogSettings):
    """What strategies' code may take."""

    engine_memory_mb: _Count = 4096
    strategy_load_seconds: _Seconds = 10.0
    """For a strategy's module to be imported and its Params to check a request, before the request is rejected."""


class SearchSettings(LogSettings):
    """What a search's combinations may take, and how many it may have."""

    max_attempts: _Count = 3
    """Deaths of a run's engine process, or of its worker, after which the run fails with crash_loop."""
    run_timeout_seconds: _Seconds = 3600.0
    max_combinations: _Count = 1_000_000
    """Of one search, counted without folds and before any is left out."""


class ModelSettings(LogSettings):
    """Which language models may decide, and what they may take."""

    llm_model: _Model | None = None
    """None: no model is configured, and only rules decide."""
    llm_base_url: _Address | None = None
    """Of a server that speaks OpenAI's API, in place of OpenAI's own."""
    llm_models: _Models | None = None
    """What a request or a strategy's row may name; None: llm_model alone."""
    llm_api_key: _Secret | None = None
    """For the provider of llm_model only; None, and for others: the provider's own variable."""
    llm_timeout_seconds: _Seconds = 60.0
    """For one call, to the end of its answer."""
    llm_concurrency: _Count = 4
    llm_requests_per_minute: _Count = 60
    llm_max_tokens: _Count = 1000
    """Of an answer."""
    llm_max_prompt_tokens: _Count = 16_000
    """Of a question, estimated; older bars are left out before it has more."""
    llm_temperature: _Temperature = 0.0
    llm_input_price: _Price | None = None
    llm_output_price: _Price | None = None
    llm_patience_seconds: _SecondsOrNone = 120.0
    """For which a provider may be down before the run that asks fails."""
    llm_run_timeout_seconds: _Seconds = 86_400.0
    """For which a run may wait for answers, in all."""
    llm_cache: _Switch = True
    """Whether runs have the answers of earlier runs."""
    llm_cutoff: _Date | None = None
    """Until when the model has read the news: of runs before it results say so."""

    @property
    def models(self) -> tuple[str, ...]:
        """What may be named, the default first; () without a model."""
        if self.llm_model is None:
            return ()
        more = self.llm_models.split(",") if self.llm_models is not None else []
        return tuple(dict.fromkeys([self.llm_model, *more]))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = []
        if self.models and self.llm_base_url is not None and not any(name.startswith("openai") for name in self.models):
            problems.append(f"{_variable('llm_base_url')}: is for models named openai: or openai-responses:")
        if (self.llm_input_price is None) != (self.llm_output_price is None):
            problems.append(f"{_variable('llm_input_price')} and {_variable('llm_output_price')}: one needs the other")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class ServiceSettings(DatabaseSettings, KafkaSettings, StoreSettings, StrategySettings, SearchSettings, ModelSettings):
    """What every program of the service is told, worker and API."""

    lease_seconds: _Lease = 15.0
    progress_interval_seconds: _Interval = 0.5
    start_timeout_seconds: _SecondsOrNone = 60.0
    """How long it waits for its servers when it starts."""


class Settings(ServiceSettings):
    """Everything a worker is told."""

    slots: _Count = Field(default_factory=_cores)
    """Runs at a time, each in an engine process of its own."""
    intake_batch_mb: _Count = 32
    """What is held of records between their fetch and the statement that records them; a quarter of it is a batch."""
    max_queued: _Count = 100_000
    """Queued runs of the database beyond which intake pauses."""
    drain_seconds: _SecondsOrNone = 0.0
    """How long running runs may go on after SIGTERM before they are given back."""
    http_host: _Text = "127.0.0.1"
    http_port: _Port = 0

    @property
    def heartbeat_seconds(self) -> float:
        """Time between heartbeats: each carries progress, and two may be lost before a lease runs out."""
        return min(self.progress_interval_seconds, self.lease_seconds / 3)

    @property
    def engine_threads(self) -> int:
        """Threads of one engine process, so that all slots together use the cores once."""
        return max(1, _cores() // self.slots)


class ApiSettings(ServiceSettings):
    """Everything `backtest api` is told."""

    api_host: _Text = "127.0.0.1"
    api_port: _PortInUse = 8080
    api_tokens: _Secret | None = None
    """name:token, separated by commas. None, and no file: open, and only on loopback."""
    api_tokens_file: _File | None = None
    """The same, one a line; in place of api_tokens."""
    api_max_body_mb: _Count = 256
    """Of an uploaded file as it comes. JSON has at most 1 MiB."""
    api_root_path: _RootPath = ""
    """What a proxy before it takes off each path."""

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> Self:
        if self.api_tokens is not None and self.api_tokens_file is not None:
            raise ValueError(f"{_variable('api_tokens')}: is set, and so is {_variable('api_tokens_file')}")
        if not self.tokens() and not _is_loopback(self.api_host):
            raise ValueError(
                f"{_variable('api_host')}: is {self.api_host}, which others reach, and {_variable('api_tokens')} is not"
                " set: without tokens only a loopback address such as 127.0.0.1"
            )
        return self

    def tokens(self) -> dict[str, str]:
        """Name -> token. Raises ValueError, which shows none, for what is not a list of name:token."""
        if self.api_tokens_file is not None:
            return read_tokens(self.api_tokens_file.read_text(encoding="utf-8"), "api_tokens_file")
        return read_tokens(self.api_tokens.get_secret_value(), "api_tokens") if self.api_tokens is not None else {}

    def secret_values(self) -> tuple[str, ...]:
        """Each token too."""
        return (*super().secret_values(), *self.tokens().values())


def read_tokens(text: str, setting: str) -> dict[str, str]:
    """Tokens by name, of a list separated by commas or lines. Raises ValueError that shows no token."""
    found: dict[str, str] = {}
    for place, entry in enumerate(filter(None, (part.strip() for part in re.split(r"[,\n]", text))), start=1):
        name, _, token = entry.partition(":")
        name, token = name.strip(), token.strip()
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or not re.fullmatch(r"[!-~]{1,512}", token):
            raise ValueError(
                f"{_variable(setting)}: entry {place} is not name:token (a name of letters, digits, _ and -, a token of"
                " printable characters without blanks)"
            )
        if name in found or token in found.values():
            raise ValueError(f"{_variable(setting)}: entry {place} repeats a name or a token")
        found[name] = token
    if not found:
        raise ValueError(f"{_variable(setting)}: holds no token")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _problem(kind: type[BaseSettings], error: dict[str, Any]) -> str:
    """One variable at fault, by its full name; its value only where it is no secret."""
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    field = kind.model_fields.get(name.lower().removeprefix(PREFIX.lower()))
    if field is None:
        return f"{name}: {error['msg']}"
    name = name.lower().removeprefix(PREFIX.lower())
    if error["type"] == "missing":
        return f"{_variable(name)}: is not set and must be {_wanted(field)}"
    if error["type"] == "value_error" and name == "database_url":  # its words, which show no value
        return f"{_variable(name)}: {str(error['msg']).removeprefix('Value error, ')}"
    if "SecretStr" in str(field.annotation):
        return f"{_variable(name)}: must be {_wanted(field)}"
    return f"{_variable(name)}: must be {_wanted(field)}, not {_shown(error['input'])}"


def _shown(value: Any) -> str:
    """The value without what may be credentials: what stands before an @, and an address's query."""
    shown = re.sub(r"//.*@", "//...@", str(value), flags=re.DOTALL)
    shown = re.sub(r"[^/,\s]*@", "...@", shown)
    return repr(re.sub(r"\?.*", "?...", shown, flags=re.DOTALL)[:100])


def _wanted(field: FieldInfo) -> str:
    """The description of the field's kind of value; that of an optional field stands one level down."""
    if field.description is not None:
        return field.description
    inner = (kind for argument in get_args(field.annotation) for kind in getattr(argument, "__metadata__", ()))
    return next(str(kind.description) for kind in inner if isinstance(kind, FieldInfo))
