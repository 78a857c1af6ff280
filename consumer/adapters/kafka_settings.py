"""Settings -> KafkaConnection; apart from the composition root, which commands that only use Kafka need not load."""

from pathlib import Path

from pydantic import SecretStr

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.errors import SettingsInvalid
from consumer.settings import KafkaSettings


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
