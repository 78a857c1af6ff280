"""What people deploy with: docker-compose.yml, the Dockerfile, and the locks that the image is made from."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.devstack.containers import KAFKA_IMAGE, POSTGRES_IMAGE
from consumer.devstack.kafka_jars import KAFKA_VERSION, read_lock
from consumer.settings import ApiSettings, Settings, load_settings, unknown_variables

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file with what its anchors stand for: as Docker reads it, where Docker is, else as YAML does."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        command = [docker, "compose", "--file", str(COMPOSE_FILE), "config", "--format", "json", "--no-interpolate"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        read: dict[str, Any] = json.loads(result.stdout)
        return read
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return parsed


def test_compose_has_the_servers_the_one_shot_the_worker_and_the_api(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"kafka", "postgres", "migrate", "worker", "api"}


def test_servers_are_those_that_the_tests_run_on(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["image"] == KAFKA_IMAGE == f"apache/kafka:{KAFKA_VERSION}"
    assert compose["services"]["postgres"]["image"] == POSTGRES_IMAGE
    assert any(jar.artifact == "kafka_2.13" and jar.version == KAFKA_VERSION for jar in read_lock())


def test_kafka_is_one_node_in_kraft_mode_that_makes_no_topics(compose: dict[str, Any]) -> None:
    environment = compose["services"]["kafka"]["environment"]
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert str(environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]) == "false"
    assert int(environment["KAFKA_MESSAGE_MAX_BYTES"]) >= 8 * 1024 * 1024
    cluster_id = re.fullmatch(r"\$\{KAFKA_CLUSTER_ID:-(.*)\}", environment["CLUSTER_ID"])
    assert cluster_id is not None
    assert len(base64.urlsafe_b64decode(cluster_id[1] + "==")) == 16


@pytest.mark.parametrize("service", ["kafka", "postgres"])
def test_servers_are_watched_and_no_one_is_root(compose: dict[str, Any], service: str) -> None:
    assert compose["services"][service]["healthcheck"]["test"][0] == "CMD"
    assert compose["services"][service]["user"] not in ("root", "0", 0)


def test_the_image_runs_as_an_ordinary_user_and_is_watched() -> None:
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE) == ["backtest"]
    assert re.search(r"^HEALTHCHECK .*\\\n\s+CMD \[.*/healthz", last_stage, re.MULTILINE)


def test_the_workers_health_check_is_python_that_compiles() -> None:
    command = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert command is not None
    program, option, code = json.loads(command[1])
    assert (program, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")


@pytest.mark.parametrize("service", ["migrate", "worker", "api"])
def test_our_containers_can_do_no_more_than_they_need(compose: dict[str, Any], service: str) -> None:
    settings = compose["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in settings, "the image says who"


def test_the_worker_waits_for_its_servers_and_the_migration(compose: dict[str, Any]) -> None:
    services = compose["services"]
    waits = {name: what["condition"] for name, what in services["worker"]["depends_on"].items()}
    assert waits == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "kafka": "service_healthy",
    }
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["migrate"]["restart"] == "no"


def test_the_worker_accepts_the_settings_that_it_is_given(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(re.findall(r"(BACKTEST_[A-Z_]+)=(\S+)", DOCKERFILE))
    for name, value in {**given, **compose["services"]["worker"]["environment"]}.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))

    settings = load_settings(Settings)

    assert unknown_variables() == {}
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    assert settings.http_port == 8080


@pytest.mark.parametrize("service", ["migrate", "worker", "api"])
def test_a_password_of_any_characters_leaves_the_database_url_whole(compose: dict[str, Any], service: str) -> None:
    environment = compose["services"][service]["environment"]
    assert "POSTGRES_PASSWORD" not in environment["BACKTEST_DATABASE_URL"]
    assert environment["PGPASSWORD"] == compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]


def test_the_api_accepts_the_settings_that_it_is_given_and_is_closed(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(re.findall(r"(BACKTEST_[A-Z_]+)=(\S+)", DOCKERFILE))
    for name, value in {**given, **compose["services"]["api"]["environment"]}.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))

    settings = load_settings(ApiSettings)

    assert unknown_variables() == {}
    assert (settings.api_host, settings.api_port) == ("0.0.0.0", 8080)
    assert settings.tokens()
    assert compose["services"]["api"]["depends_on"].keys() == {"migrate", "postgres"}  # Kafka may be away


def test_data_lie_in_named_volumes(compose: dict[str, Any]) -> None:
    used = {volume_name(volume) for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"]) == {"kafka-data", "postgres-data", "market-data", "artifacts"}


def test_published_ports_are_for_this_machine_alone(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    for port in published:
        host = port["host_ip"] if isinstance(port, dict) else port.split(":")[0]
        assert host == "127.0.0.1"


def test_the_runtime_lock_is_part_of_the_lock_that_is_tested() -> None:
    tested, shipped = pins("requirements/dev.txt"), pins("requirements/runtime.txt")
    assert shipped
    assert shipped.items() <= tested.items()
    for name in ("bootstrap", "build"):
        assert pins(f"requirements/{name}.txt").items() <= tested.items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = {normalised(requirement) for requirement in project["project"]["dependencies"]}
    assert wanted <= set(pins("requirements/runtime.txt"))
    development = [one for one in project["dependency-groups"]["dev"] if isinstance(one, str)]
    extras = project["project"]["optional-dependencies"]["devstack"]
    assert {normalised(requirement) for requirement in (*development, *extras)} <= set(pins("requirements/dev.txt"))


def test_setup_after_a_changed_lock_uninstalls_nobodys_strategies() -> None:
    recipes = (REPOSITORY / "Makefile").read_text()
    assert "uv pip install" in recipes
    assert re.findall(r"pip (?:sync|uninstall)|--exact", recipes) == []


def test_the_image_is_made_from_hashed_locks_alone() -> None:
    installs = re.findall(r"pip install (.*?)(?:\\\n|\n| &&)", DOCKERFILE)
    assert installs
    for options in installs:
        assert "--require-hashes" in options or "--no-index" in options


def volume_name(volume: str | dict[str, Any]) -> str:
    return str(volume["source"]) if isinstance(volume, dict) else volume.split(":")[0]


def pins(lock: str) -> dict[str, str]:
    """Package name to version and marker, of every line that pins one."""
    lines = (REPOSITORY / lock).read_text().splitlines()
    found = (re.match(r"([a-z0-9._-]+)(?:\[.*?\])?==(.*?)\s*\\?$", line) for line in lines)
    return {match[1]: match[2].split(" ;")[0] for match in found if match}


def normalised(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()
