"""The text of the Compose file and the Dockerfile; no Docker engine is needed to read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import COMMANDS
from gateway.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES = sorted(COMPOSE["services"])
# A whole version, no moving tag such as `3`, `latest` or none.
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+(-[a-z0-9-]+)?(@sha256:[0-9a-f]{64})?")


def test_the_services_are_the_gateway_and_a_trainer_that_runs_when_asked_and_compacts_first() -> None:
    assert SERVICES == ["compactor", "gateway", "trainer"]
    assert COMPOSE["services"]["trainer"]["profiles"] == ["train"]
    assert COMPOSE["services"]["compactor"]["profiles"] == ["train"]
    assert COMPOSE["services"]["trainer"]["depends_on"] == {
        "compactor": {"condition": "service_completed_successfully"}
    }
    assert "profiles" not in COMPOSE["services"]["gateway"]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_whole_version(name: str) -> None:
    assert PINNED.fullmatch(COMPOSE["services"][name]["image"])


def test_the_base_images_have_whole_versions() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert len(stages) == 3
    assert [stage for stage in stages if not PINNED.fullmatch(stage)] == []


def test_the_image_has_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)

    assert version
    assert {COMPOSE["services"][name]["image"] for name in SERVICES} == {f"tandem:{version[1]}"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_bound_to_loopback(name: str) -> None:
    assert [port for port in COMPOSE["services"][name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_without_privileges_and_writes_to_its_volume_alone(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["cpus"] > 0
    assert re.fullmatch(r"\d+g", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_the_gateway_is_watched_and_comes_back() -> None:
    gateway = COMPOSE["services"]["gateway"]

    assert "http://127.0.0.1:8000/readyz" in gateway["healthcheck"]["test"][-1]
    assert gateway["restart"] == "unless-stopped"


def test_the_gateway_is_closed_and_its_token_is_not_in_the_file() -> None:
    environment = COMPOSE["services"]["gateway"]["environment"]

    assert environment["TANDEM_AUTH"] == "token"
    assert environment["TANDEM_SERVICE_TOKEN"].startswith("${TANDEM_SERVICE_TOKEN:?")


def test_every_variable_is_a_setting() -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", DOCKERFILE)) | set(COMPOSE["services"]["gateway"]["environment"])

    assert named <= {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    assert COMPOSE["services"][name]["command"][0] in COMMANDS


def test_every_volume_is_declared() -> None:
    used = {volume.split(":")[0] for name in SERVICES for volume in COMPOSE["services"][name]["volumes"]}

    assert used == set(COMPOSE["volumes"])


def test_the_image_ends_without_root_and_holds_what_the_lock_lists() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]

    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    assert "npm ci" in DOCKERFILE


def test_everything_the_image_copies_passes_the_ignore_file() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source.strip("/").split("/")[0]
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }

    assert "*" in lines
    assert copied == allowed
