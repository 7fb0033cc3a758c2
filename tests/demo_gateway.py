"""A `tandem demo` over a small market, in a process of its own: what the tests of browsers and clients talk to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL_MARKET = ("--talents", "300", "--jobs", "400", "--events", "12000")  # built in three seconds


@contextmanager
def demo_gateway(data: Path, **settings: str) -> Iterator[str]:
    """Its GraphQL address, while it runs with settings of the environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *SMALL_MARKET, "--port", "0", "--data-dir", data],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **settings, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+/graphql", line):
                    yield found[0]
                    break
            else:
                raise AssertionError(f"`tandem demo` ended before it served:\n{''.join(said)}")
        finally:
            process.terminate()
