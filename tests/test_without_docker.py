"""The commands of docs/production.md, run one after the other as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

from tests.elasticsearch_server import launcher
from tests.servers import free_port, redis_binary

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
TALENTS, JOBS = 30, 20


def _blocks() -> list[str]:
    section = PAGE.partition("\n## Without Docker\n")[2]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def _write_market(directory: Path) -> None:
    talents = "".join(f"t{n},Talent {n}\n" for n in range(TALENTS))
    jobs = "".join(f"j{n},c{n % 5},Job {n}\n" for n in range(JOBS))
    events = "".join(f"t{n % TALENTS},j{(7 * n) % JOBS},APPLY,{1_700_000_000 + 3_600 * n}\n" for n in range(150))
    (directory / "talents.csv").write_text("talent_id,title\n" + talents, encoding="utf-8")
    (directory / "jobs.csv").write_text("job_id,client_id,title\n" + jobs, encoding="utf-8")
    (directory / "events.csv").write_text("talent_id,job_id,type,occurred_at\n" + events, encoding="utf-8")


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_commands_without_docker_lead_from_nothing_to_recommendations(
    elasticsearch_url: str, namespace: str, tmp_path: Path
) -> None:
    install, start, use, serve, stop = _blocks()
    ports = {"9200": str(urlsplit(elasticsearch_url).port), "6379": str(free_port()), "8000": str(free_port())}

    def here(text: str) -> str:
        return re.sub(r"\b(9200|6379|8000)\b", lambda found: ports[found[0]], text)

    # The session's Elasticsearch was started by the same launcher: its lines are only read here.
    launched = [line for line in (start + stop).splitlines() if "run.py" in line]
    assert launched == [f"python3 tools/elasticsearch/run.py {word} --port 9200" for word in ("start", "stop")]
    assert callable(launcher().start)
    assert install == ".venv/bin/pip install --no-deps --require-hashes -r requirements-production.lock\n"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "redis-server").symlink_to(redis_binary())
    (programs / "tandem").write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n', encoding="utf-8")
    (programs / "tandem").chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TANDEM_NAMESPACE": namespace,
        # A loaded machine is slow, and that is not what this is about.
        "TANDEM_CATALOGUE_TIMEOUT_MS": "10000",
        "TANDEM_EVENTS_TIMEOUT_MS": "10000",
    }

    def run(text: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", here(text)], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    _write_market(tmp_path)
    run("".join(line for line in start.splitlines(keepends=True) if "run.py" not in line))
    try:
        doctor = run(use)
        assert re.search(rf"OK    catalogue .* {TALENTS} talents, {JOBS} jobs, {JOBS} of them open", doctor)
        assert re.search(r"OK    event log .* 150 events.*; an acknowledged event is on the disk", doctor)
        told = "".join(line for line in use.splitlines(keepends=True) if line.startswith("export "))
        with (tmp_path / "serve.log").open("wb") as log:
            gateway = subprocess.Popen(
                ["sh", "-e", "-c", here(f"{told}exec {serve}")], cwd=tmp_path, env=variables, stdout=log, stderr=log
            )
        try:
            _wait_for(f"http://127.0.0.1:{ports['8000']}/readyz", gateway)
            _check_health(ports["8000"])
            query = 'query { talent(talentId: "t1") { recommendedJobs(first: 5) { edges { node { jobId } } } } }'
            answer = httpx.post(f"http://127.0.0.1:{ports['8000']}/graphql", json={"query": query}, timeout=30)
            assert len(answer.json()["data"]["talent"]["recommendedJobs"]["edges"]) == 5
        finally:
            gateway.terminate()
            assert gateway.wait() == 0
    finally:
        if shutil.which("redis-cli"):
            run("".join(line for line in stop.splitlines(keepends=True) if "run.py" not in line))
        else:
            _shut_down(int(ports["6379"]))


def _check_health(port: str) -> None:
    """The gateway's own health check, of the Compose file, tells one that answers from none."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    _, _, *words = services["gateway"]["healthcheck"]["test"]

    def passes(port: str) -> bool:
        command = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in words)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert passes(port)
    assert not passes(str(free_port()))


def _shut_down(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"SHUTDOWN\r\n")
        connection.recv(1)
