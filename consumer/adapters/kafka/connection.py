"""How to reach the brokers, for every client this program makes: consumer, producer and admin."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from consumer.adapters.kafka.no_auto_creation import ask_without_creating
from consumer.errors import SettingsInvalid
from consumer.settings import KafkaSettings

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Bootstrap servers and credentials. Secrets stay out of repr."""

    bootstrap_servers: str
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_check_hostname: bool = True

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes. Reads the TLS files; raises OSError or ssl.SSLError."""
        ask_without_creating()
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._ssl_context()
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ssl_cafile)
        context.check_hostname = self.ssl_check_hostname
        if self.ssl_certfile is not None:
            # An empty password rather than none, for which OpenSSL would ask on the terminal.
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, self.ssl_password or "")
        return context


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """How to reach the brokers, by the settings. Raises SettingsInvalid for TLS files that cannot be used."""
    connection = KafkaConnection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_secret(settings.kafka_sasl_password),
        ssl_cafile=_path(settings.kafka_ssl_cafile),
        ssl_certfile=_path(settings.kafka_ssl_certfile),
        ssl_keyfile=_path(settings.kafka_ssl_keyfile),
        ssl_password=_secret(settings.kafka_ssl_password),
        ssl_check_hostname=settings.kafka_ssl_check_hostname,
    )
    try:
        connection.client_arguments()
    except (OSError, ValueError) as error:
        at_fault = "CAFILE" if settings.kafka_ssl_certfile is None else "CAFILE, CERTFILE, KEYFILE or PASSWORD"
        raise SettingsInvalid(f"BACKTEST_KAFKA_SSL_{at_fault}: cannot be used: {error}") from error
    return connection


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _path(value: Path | None) -> str | None:
    return None if value is None else str(value)


async def close_consumer(consumer: Any, timeout_seconds: float) -> None:
    """Stop an aiokafka consumer within bounds, whatever that raises: nobody can do anything about it.

    Its stop() may raise the CancelledError of a fetch that it cancelled itself, which would end the task that called
    it, and then leaves its connections open (Fetcher.close of aiokafka 0.14 awaits its own cancelled tasks).
    """
    stopping = asyncio.ensure_future(consumer.stop())
    if not await _ended_well(stopping, timeout_seconds):
        await _ended_well(asyncio.ensure_future(consumer._client.close()), timeout_seconds)  # noqa: SLF001 - see above


async def _ended_well(task: "asyncio.Future[Any]", timeout_seconds: float) -> bool:
    try:
        await asyncio.wait({task}, timeout=timeout_seconds)
    finally:
        task.cancel()  # no effect on one that is done
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    return not isinstance(outcome, BaseException)
