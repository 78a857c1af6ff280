"""TLS and SASL as the settings ask for them, against a real broker that insists on them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from consumer.adapters.kafka.connection import KafkaConnection, kafka_connection
from consumer.adapters.kafka.reader import open_reader
from consumer.adapters.kafka.sender import send_records
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.devstack.free_ports import free_ports
from consumer.devstack.kafka_program import java_environment, prepare_kafka_program
from consumer.devstack.kafka_server import EmbeddedKafka
from consumer.errors import BrokerUnavailable, SettingsInvalid
from consumer.ports import Delivery, Record
from consumer.settings import KafkaSettings
from schemas.topics import Topic

pytestmark = pytest.mark.integration

LISTENERS = {"MUTUAL": "SSL", "PLAIN": "SASL_PLAINTEXT", "PLAINTLS": "SASL_SSL", "SCRAMTLS": "SASL_SSL"}
PASSWORD = "open = sesame"  # noqa: S105, RUF100 - of a broker that lives for seconds
SASL = {"kafka_sasl_username": "worker", "kafka_sasl_password": PASSWORD}
PLAIN_USERS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    f' username="broker" password="unused" user_worker="{PASSWORD}";'
)
SCRAM_USERS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecuredKafka(EmbeddedKafka):
    """The devstack's broker with a listener for each way to be secured; `ports` by listener."""

    ports: dict[str, int]
    files: Path

    def _properties(self, broker_port: int, controller_port: int) -> str:
        own = f"PLAINTEXT://127.0.0.1:{broker_port}"
        secured = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
        settings = {
            "listeners": f"{own},CONTROLLER://127.0.0.1:{controller_port},{secured}",
            "advertised.listeners": f"{own},{secured}",
            "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.files / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.files / "authority.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plain.plain.sasl.jaas.config": PLAIN_USERS,
            "listener.name.plaintls.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plaintls.plain.sasl.jaas.config": PLAIN_USERS,
            "listener.name.scramtls.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scramtls.scram-sha-512.sasl.jaas.config": SCRAM_USERS,
        }
        own_settings = super()._properties(broker_port, controller_port)
        return own_settings + "".join(f"{name}={value}\n" for name, value in settings.items())


@dataclass(frozen=True, slots=True)
class Secured:
    ports: dict[str, int]
    files: Path

    def connection(self, listener: str, **settings: str) -> KafkaConnection:
        given = {
            "kafka_bootstrap_servers": f"127.0.0.1:{self.ports[listener]}",
            "kafka_security_protocol": LISTENERS[listener],
            **({"kafka_ssl_cafile": str(self.files / "authority.pem")} if listener != "PLAIN" else {}),
            **settings,
        }
        return kafka_connection(KafkaSettings(**given))  # type: ignore[arg-type]  # texts, as the environment has them


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    files = tmp_path_factory.mktemp("secured-kafka")
    write_certificates(files)
    broker = SecuredKafka(files, durable=False, throwaway=False, on_event=print)
    broker.files = files
    broker.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    await broker.start()
    try:
        await add_scram_user(broker.bootstrap_servers)
        await create_topics(KafkaConnection(broker.bootstrap_servers), TopicSettings(1))
        yield Secured(broker.ports, files)
    finally:
        await broker.kill()


def write_certificates(files: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files / "authority.pem"))
    for name, password in (("broker", None), ("client", PASSWORD)):
        issued = authority.issue_cert("127.0.0.1")
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        encoded = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption(),
        )
        (files / f"{name}.pem").write_bytes(encoded + chain)


async def add_scram_user(servers: str) -> None:
    where = ("--bootstrap-server", servers, "--entity-type", "users", "--entity-name", "worker")
    change = ("--alter", "--add-config", f"SCRAM-SHA-512=[iterations=4096,password={PASSWORD}]")
    program = await asyncio.to_thread(prepare_kafka_program, print)
    command = program.command("kafka.admin.ConfigCommand", *where, *change)
    process = await asyncio.create_subprocess_exec(*command, env=java_environment(), stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0, told


@pytest.mark.parametrize("listener", LISTENERS)
async def test_a_secured_broker_is_written_to_and_read_from(secured: Secured, listener: str) -> None:
    client = {"kafka_ssl_certfile": str(secured.files / "client.pem"), "kafka_ssl_password": PASSWORD}
    mechanism = {"kafka_sasl_mechanism": "SCRAM-SHA-512"} if listener == "SCRAMTLS" else {}
    connection = secured.connection(listener, **(client if listener == "MUTUAL" else {**SASL, **mechanism}))

    await send_records(connection, [Delivery(Topic.REQUESTED, b"key", listener.encode(), ())])

    read: list[Record] = []
    async with open_reader(connection, [Topic.REQUESTED.value], from_beginning=True) as reader:
        while not await reader.has_caught_up():
            read += await reader.read(1.0)
    assert listener.encode() in {record.value for record in read}


@pytest.mark.parametrize(
    ("listener", "settings"),
    [
        ("MUTUAL", {}),
        ("PLAIN", {**SASL, "kafka_sasl_password": "wrong"}),
        ("SCRAMTLS", {**SASL, "kafka_sasl_password": "wrong", "kafka_sasl_mechanism": "SCRAM-SHA-512"}),
    ],
)
async def test_without_the_right_credentials_the_broker_is_unavailable_and_no_secret_is_told(
    secured: Secured, listener: str, settings: dict[str, str]
) -> None:
    with pytest.raises(BrokerUnavailable) as refused:
        await create_topics(secured.connection(listener, **settings), TopicSettings(1))
    assert "wrong" not in str(refused.value)


async def test_a_key_that_its_password_does_not_open_is_a_wrong_setting(secured: Secured) -> None:
    for password in ({"kafka_ssl_password": "wrong"}, {}):
        with pytest.raises(SettingsInvalid, match="BACKTEST_KAFKA_SSL_") as refused:
            secured.connection("MUTUAL", kafka_ssl_certfile=str(secured.files / "client.pem"), **password)
        assert "wrong" not in str(refused.value)
