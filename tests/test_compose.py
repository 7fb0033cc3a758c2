"""The Compose file and the Dockerfile: their text, and what of it runs without a Docker engine, run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts
from gateway.cli import COMMANDS
from gateway.settings import PREFIX, Settings, load_settings
from recommender.errors import UnavailableError
from tests.servers import free_port, redis_binary

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("gateway", "compactor", "trainer")
JOBS = ("compactor", "trainer")
SERVERS = sorted(SERVICES.keys() - set(JOBS))
SECRETS = {"ELASTIC_PASSWORD": "a" * 64, "REDIS_PASSWORD": "b" * 64, "TANDEM_SERVICE_TOKEN": "c" * 64}
# A whole version, no moving tag such as `3`, `latest` or none.
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+(-[a-z0-9-]+)?(@sha256:[0-9a-f]{64})?")


def interpolated(text: str, given: Mapping[str, str]) -> str:
    """A text of the file as Compose hands it on: `$$` is a dollar, `${NAME:?…}` and `${NAME:-…}` are variables."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return given[found[1]] if found[2] == ":?" else given.get(found[1], found[3])

    return re.sub(r"\$\$|\$\{([A-Z_]+)(:[?-])([^}]*)\}", value, text)


# ---- The text --------------------------------------------------------------------------------------------------------


def test_it_is_what_the_compose_specification_allows() -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "ok -- validation done\n")


def test_the_services_are_the_gateway_its_stores_and_a_trainer_that_runs_when_asked_and_compacts_first() -> None:
    assert SERVICES.keys() == {*OURS, "elasticsearch", "events", "cache"}
    assert SERVICES["gateway"]["deploy"] == {"replicas": 2}
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["train"]} == set(JOBS)
    assert SERVICES["trainer"]["depends_on"]["compactor"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_whole_version(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


def test_the_stores_have_the_versions_of_the_tests() -> None:
    pom = (ROOT / "tools" / "elasticsearch" / "pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<artifactId>elasticsearch</artifactId>\s*<version>([^<]+)</version>", pom)

    assert version
    assert SERVICES["elasticsearch"]["image"] == f"elasticsearch:{version[1]}"
    redis = {SERVICES[name]["image"].partition(":")[2].partition("-")[0] for name in ("events", "cache")}
    assert len(redis) == 1
    assert f", {redis.pop()} and Valkey" in (ROOT / "docs" / "redis.md").read_text(encoding="utf-8")


def test_the_base_images_have_whole_versions() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert len(stages) == 3
    assert [stage for stage in stages if not PINNED.fullmatch(stage)] == []


def test_the_image_has_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)

    assert version
    assert {SERVICES[name]["image"] for name in OURS} == {f"tandem:{version[1]}"}


def test_only_the_gateway_has_ports_and_they_are_bound_to_loopback() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "gateway": ["127.0.0.1:8000-8001:8000"]
    }
    assert {name: service["networks"] for name, service in SERVICES.items()} == {
        name: ["stores", "outside"] if name in OURS else ["stores"] for name in SERVICES
    }
    assert COMPOSE["networks"]["stores"] == {"internal": True}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_without_privileges(name: str) -> None:
    service = SERVICES[name]

    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) is (name != "elasticsearch")  # which keeps its keystore in its root
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    service = SERVICES[name]

    assert service["cpus"] > 0
    assert re.fullmatch(r"\d+[gm]", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_watched_and_comes_back(name: str) -> None:
    service = SERVICES[name]

    assert service["healthcheck"].keys() == {"test", "interval", "timeout", "retries", "start_period"}
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service


def test_what_tandem_asks_is_healthy_before_it_starts() -> None:
    for name in OURS:
        asked = {urlsplit(url).hostname for url in environment(name).values() if "://" in url}
        waited = {each: how["condition"] for each, how in SERVICES[name]["depends_on"].items() if each not in JOBS}
        assert waited == {each: "service_started" if each == "cache" else "service_healthy" for each in asked}


def test_every_secret_has_to_be_given_and_none_is_in_the_file() -> None:
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?", TEXT))

    assert required == SECRETS.keys()
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_]+)(?:\}|:-)", TEXT)) == {"TANDEM_CORS_ORIGINS"}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|AUTH$", name) and name != "TANDEM_AUTH":
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value)
    assert re.findall(r"://[^/\s]*:([^@\s{]*)@", re.sub(r"\$\{[^}]*\}", "{}", TEXT)) == []


def test_the_file_that_may_hold_the_secrets_is_never_committed() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def environment(name: str) -> dict[str, str]:
    """What a service is told, with the secrets of this test."""
    return {key: interpolated(value, SECRETS) for key, value in SERVICES[name].get("environment", {}).items()}


@pytest.mark.parametrize("name", OURS)
def test_what_tandem_is_told_is_what_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = environment(name) | dict(re.findall(rf"\b({PREFIX}[A-Z_]+)=(\S+)", DOCKERFILE))
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()

    assert told.keys() <= {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert settings.access_problem() is None
    assert settings.auth == ("token" if name == "gateway" else None)
    assert None not in (settings.catalogue_elasticsearch_url, settings.events_redis_url)


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    assert SERVICES[name]["command"][0] in COMMANDS
    shown = re.findall(rf"^#   docker compose run .*? {name}(?: ([a-z]+))?", TEXT, re.MULTILINE)
    assert {word for word in shown if word} <= set(COMMANDS)


def test_every_volume_is_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert used == set(COMPOSE["volumes"])


def test_the_image_ends_without_root_and_holds_what_the_lock_lists() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]

    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "--require-hashes -r requirements-production.lock" in DOCKERFILE
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


# ---- What it starts --------------------------------------------------------------------------------------------------


def healthy(name: str, directory: Path, *, port: int, of_image: int) -> bool:
    """Whether a service's health check passes, run as the engine would, on another port. of_image: its port there."""
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
    command = [interpolated(word, SECRETS).replace(f":{of_image}/", f":{port}/") for word in command]
    # redis-cli has its port nowhere in the text.
    variables = environment(name) | {"REDISCLI_PORT": str(port), "PATH": f"{directory}:/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(command, env=variables, capture_output=True, check=False, timeout=20).returncode == 0


@contextmanager
def started(name: str, directory: Path) -> Iterator[int]:
    """The Redis of a service, run by its own command line on another port and directory; its port."""
    (directory / "redis-server").symlink_to(redis_binary())
    (directory / "redis-cli").write_text(
        f'#!/bin/sh\nexec {shutil.which("redis-cli")} -p "$REDISCLI_PORT" "$@"\n', encoding="utf-8"
    )
    (directory / "redis-cli").chmod(0o755)
    port = free_port()
    shell, option, line = SERVICES[name]["command"]
    line = re.sub(r"--dir \S+", f"--dir {directory} --port {port} --bind 127.0.0.1", interpolated(line, SECRETS))
    variables = environment(name) | {"PATH": f"{directory}:/usr/bin:/bin"}
    process = subprocess.Popen([shell, option, line], env=variables, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if healthy(name, directory, port=port, of_image=6379):
                break
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli, of the health checks, is not installed")
def test_the_redis_of_the_events_is_one_that_tandem_trusts_with_them(tmp_path: Path) -> None:
    url = environment("gateway")["TANDEM_EVENTS_URL"]
    with started("events", tmp_path) as port:
        assert healthy("events", tmp_path, port=port, of_image=6379)
        here = url.replace("@events:6379", f"@127.0.0.1:{port}")
        patient = Timeouts(connect_ms=5_000, read_ms=5_000)
        log = RedisEventLog.open(here, namespace="compose", timeouts=patient)
        assert log.facts.promise == "an acknowledged event is on the disk"
        log.close()
        with pytest.raises(UnavailableError, match="it refuses the user or the password"):
            RedisEventLog.open(here.replace("b" * 64, "x"), namespace="compose", timeouts=patient)
    assert not healthy("events", tmp_path, port=port, of_image=6379)


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli, of the health checks, is not installed")
def test_the_redis_of_the_cache_lets_go_of_what_was_used_least_and_is_refused_for_events(tmp_path: Path) -> None:
    with started("cache", tmp_path) as port:
        assert healthy("cache", tmp_path, port=port, of_image=6379)
        here = environment("gateway")["TANDEM_CACHE_URL"].replace("@cache:6379", f"@127.0.0.1:{port}")
        with pytest.raises(UnavailableError, match="it keeps no append-only file"):
            RedisEventLog.open(here, namespace="compose", timeouts=Timeouts(connect_ms=5_000, read_ms=5_000))
        asked = [str(tmp_path / "redis-cli"), "config", "get", "maxmemory*"]
        variables = environment("cache") | {"REDISCLI_PORT": str(port)}
        answer = subprocess.run(asked, env=variables, capture_output=True, text=True, check=True).stdout.split()
    assert {"536870912", "volatile-lfu"} <= set(answer)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl, of the health check, is not installed")
def test_the_health_check_of_elasticsearch_tells_a_node_that_answers_from_none(
    elasticsearch_url: str, tmp_path: Path
) -> None:
    port = urlsplit(elasticsearch_url).port or 0

    assert healthy("elasticsearch", tmp_path, port=port, of_image=9200)
    assert not healthy("elasticsearch", tmp_path, port=free_port(), of_image=9200)
