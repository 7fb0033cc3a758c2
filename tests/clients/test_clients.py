"""The GraphQL over HTTP audit and the clients and router that people use, against a running gateway."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.demo_gateway import demo_gateway

HERE = Path(__file__).parent
COMPILE_SECONDS = 60
RUN_SECONDS = 120


def run(*command: str, timeout: int, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_clients_of_frontends_work_and_the_http_audit_finds_nothing(tmp_path: Path) -> None:
    run("npx", "--no-install", "relay-compiler", "relay.config.json", timeout=COMPILE_SECONDS)

    with demo_gateway(tmp_path, TANDEM_FEDERATION="Talent.id,Job.id") as address:
        said = run("node", "--test", "--test-reporter=tap", timeout=RUN_SECONDS, GATEWAY=address)

    # The 61 audits and at least the five clients' own: a file that was not found would pass with nothing run.
    assert int(said.partition("\n# pass ")[2].partition("\n")[0]) >= 61 + 18
