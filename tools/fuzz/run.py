"""`make fuzz`: made-up operations, requests and bytes, as many as SIZE says, from a seed that is printed.

    python tools/fuzz/run.py --size 2000 [--seed 7]

Three tools, one after the other: hypothesis-graphql makes up operations for the schema (tests/gateway),
Schemathesis asks a demo that runs, atheris feeds bytes to what reads documents and bodies. Exit code 1 when one fails.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
OWN = ROOT / ".venv" / "fuzz"
RUNS_OF_BYTES = 100  # for each operation that is made up: they are so much quicker


def main() -> int:
    """Run them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    given = parser.parse_args()
    sys.stdout.write(f"size {given.size}, seed {given.seed}: make fuzz SIZE={given.size} SEED={given.seed}\n")
    sys.stdout.flush()
    _install()
    failed = [
        what for what, run in (("operations", _operations), ("requests", _requests), ("bytes", _bytes)) if run(given)
    ]
    sys.stdout.write(f"seed {given.seed}: {'failed: ' + ', '.join(failed) if failed else 'nothing was found'}\n")
    return int(bool(failed))


def _install() -> None:
    if not (OWN / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", OWN], check=True)
    wanted = ROOT / "tools" / "fuzz" / "requirements.txt"
    pip = [OWN / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", wanted], check=True)


def _operations(given: argparse.Namespace) -> int:
    settings = {"GENERATED_QUERIES": str(given.size), "GENERATED_SEED": str(given.seed)}
    command = [sys.executable, "-m", "pytest", "-q", "tests/gateway/test_generated_queries.py"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False).returncode


def _requests(given: argparse.Namespace) -> int:
    from tests.demo_gateway import demo_gateway

    with tempfile.TemporaryDirectory() as data, demo_gateway(Path(data)) as address:
        command = [OWN / "bin" / "schemathesis", "run", address, "--seed", str(given.seed)]
        command += [
            "--max-examples",
            str(max(1, given.size // 100)),
            "--checks",
            "no_fault_of_ours",
            "--phases",
            "fuzzing",
        ]
        settings = {"SCHEMATHESIS_HOOKS": "faults", "PYTHONPATH": str(ROOT / "tools" / "fuzz")}
        return subprocess.run(command, cwd=data, env={**os.environ, **settings}, check=False).returncode


def _bytes(given: argparse.Namespace) -> int:
    """atheris has its own environment, and finds Tandem and what it needs in ours."""
    paths = os.pathsep.join([str(ROOT), sysconfig.get_paths()["purelib"]])
    with tempfile.TemporaryDirectory() as corpus:
        for number, text in enumerate(_examples()):
            (Path(corpus) / str(number)).write_bytes(text)
        command = [OWN / "bin" / "python", "tools/fuzz/texts.py", f"-seed={given.seed}"]
        command += [f"-runs={given.size * RUNS_OF_BYTES}", "-max_len=20000", "-timeout=10", corpus]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode


def _examples() -> list[bytes]:
    return [
        b'{"query":"query q($n: Int) { jobs(first: $n) { nodes { title } } }","variables":{"n":3},"operationName":"q"}',
        b'query q($n: Int = 3) { a: jobs(filter: { ids: ["j1"] }) { nodes { ...F } } } fragment F on Job { id }',
        b'mutation { recordEvents(input: { events: [{ eventId: "e" }] }) { userErrors { message } } }',
        b'{ talent(talentId: """block "text" """) { recommendedJobs(first: 5) { edges { node { title } } } } } # end',
    ]


if __name__ == "__main__":
    sys.exit(main())
