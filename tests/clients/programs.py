"""Runs the programs of others: compilers, generators, and Node's tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
STEP_SECONDS = 300  # a loaded machine, and jars that are fetched


def run(*words: str | Path, directory: Path = HERE, **environment: str) -> str:
    """What it printed. Fails with that when the program does."""
    done = subprocess.run(
        words,
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
