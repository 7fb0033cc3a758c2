"""The Makefile: what it lists, what it says when something is missing, and that a second run does nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# What the recipes call, Python, Node and Chromium apart.
TOOLS = ("make", "sh", "cat", "cmp", "rm", "echo", "awk", "printf", "touch", "chmod", "mkdir")

# Stands in for an interpreter: `-m venv` makes a directory in which pip only writes down what it was asked.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info*) exit {too_old} ;;
  *"run.py lacks") echo {server_lacks} ;;
  "-m venv .venv")
    mkdir -p .venv/bin
    printf '#!/bin/sh\\ncase "$*" in *-m*pip*) echo "$*" >> pip-calls ;; esac\\n' > .venv/bin/python
    chmod +x .venv/bin/python
    exit {venv_status} ;;
esac
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that an installation reads, and a PATH that holds make and little else."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"the tests of the Makefile need {tool}"
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def put_python(
    tree: Path, *, version: str = "3.11.9", too_old: int = 0, venv_status: int = 0, server_lacks: str = ""
) -> None:
    path = tree / "bin" / "python3"
    text = FAKE_PYTHON.format(version=version, too_old=too_old, venv_status=venv_status, server_lacks=server_lacks)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def make(tree: Path, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(tree / "bin"), "HOME": str(tree), "CI": ci}
    return subprocess.run(
        [tree / "bin" / "make", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def pip_calls(tree: Path) -> list[str]:
    calls = tree / "pip-calls"
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


def test_make_alone_lists_every_command(tree: Path) -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) +\S", make(tree).stdout, re.MULTILINE))
    internal = {"check-parts", "page-if-possible"}

    assert listed == set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)) - internal
    assert listed >= {"help", "demo", "test"}


def test_an_installation_checks_every_hash_and_builds_nothing_from_source(tree: Path) -> None:
    put_python(tree)

    finished = make(tree, "install")

    assert finished.returncode == 0, finished.stderr
    assert "Making .venv with Python 3.11.9." in finished.stdout
    (locked,) = [call for call in pip_calls(tree) if call.endswith(" -r requirements.lock")]
    assert "--only-binary :all: --require-hashes" in locked
    assert pip_calls(tree)[-1].endswith("--no-deps --no-build-isolation -e .")


def test_a_second_installation_does_nothing_and_says_so(tree: Path) -> None:
    put_python(tree)
    make(tree, "install")
    calls = pip_calls(tree)

    finished = make(tree, "install")

    assert finished.stdout == ".venv already holds what requirements.lock lists.\n"
    assert pip_calls(tree) == calls


def test_what_development_installed_serves_the_demo_too(tree: Path) -> None:
    put_python(tree)
    make(tree, "install-dev")
    calls = pip_calls(tree)

    assert make(tree, "install").stdout == ".venv already holds what requirements.lock lists.\n"
    assert pip_calls(tree) == calls


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed_again(tree: Path, changed: str) -> None:
    put_python(tree)
    make(tree, "install")
    calls = len(pip_calls(tree))
    with (tree / changed).open("a", encoding="utf-8") as file:
        file.write("# changed\n")

    make(tree, "install")

    assert len(pip_calls(tree)) == 2 * calls


def test_a_python_that_is_too_old_is_named(tree: Path) -> None:
    put_python(tree, version="3.9.2", too_old=1)

    finished = make(tree, "install")

    assert finished.returncode != 0
    assert "Tandem needs Python 3.11 or newer; 'python3' is Python 3.9.2." in finished.stderr
    assert "make PYTHON=" in finished.stderr
    assert not (tree / ".venv").exists()


def test_a_machine_without_python_is_told_what_to_do(tree: Path) -> None:
    finished = make(tree, "demo")

    assert finished.returncode != 0
    assert "Tandem needs Python 3.11 or newer, and there is no 'python3' here." in finished.stderr


def test_half_a_virtual_environment_is_not_left_behind(tree: Path) -> None:
    put_python(tree, venv_status=1)

    finished = make(tree, "install")

    assert finished.returncode != 0
    assert "apt-get install python3-venv" in finished.stderr
    assert not (tree / ".venv").exists()


def test_in_ci_a_missing_browser_or_node_fails_at_once(tree: Path) -> None:
    put_python(tree)

    finished = make(tree, "test", ci="true")

    assert finished.returncode != 0
    assert "CI must run everything, and Node 20.19 or newer with npm and Chromium is missing." in finished.stderr
    assert pip_calls(tree) == []


def put_tools(tree: Path, *more: str) -> None:
    """The tools for development, each of which finds nothing wrong, and more programs on the PATH."""
    make(tree, "install-dev")
    tools = [tree / ".venv" / "bin" / name for name in ("ruff", "mypy", "lint-imports", "pytest", "tandem")]
    for path in (*tools, *(tree / "bin" / name for name in more)):
        path.write_text("#!/bin/sh\n", encoding="utf-8")
        path.chmod(0o755)


def test_elsewhere_what_was_not_run_is_in_the_last_lines(tree: Path) -> None:
    put_python(tree)
    put_tools(tree)

    finished = make(tree, "test")

    assert finished.returncode == 0, finished.stderr
    *_, programs, alerts, what, how = finished.stdout.splitlines()
    assert programs.startswith("NOT RUN, for want of curl redis-cli: tests of the health checks")
    assert alerts.startswith("NOT RUN, for want of promtool: tests of when each alert fires.")
    assert what.startswith("NOT RUN, for want of Node 20.19 or newer with npm and Chromium: the bundling")
    assert how.startswith("To run it: ")
    assert how.endswith("'make wheel clients browser'.")


def test_without_a_jdk_the_last_line_says_what_was_not_run_and_how_to_run_it(tree: Path) -> None:
    put_python(tree, server_lacks="a JDK from 21 on")
    put_tools(tree, "curl", "promtool", "redis-cli")

    *_, last = make(tree, "test").stdout.splitlines()

    assert last.startswith("NOT RUN, for want of a JDK from 21 on: every test on a real Elasticsearch. To run them: ")
    assert last.endswith("or name a running one by ELASTICSEARCH_TEST_URL=elasticsearch://host:port; then 'make unit'.")


def test_ci_calls_what_the_readme_calls() -> None:
    run = ROOT / ".ci" / "run"

    assert os.access(run, os.X_OK)
    assert run.read_text(encoding="utf-8").rstrip().endswith("\nmake test")
    assert "export CI=true" in run.read_text(encoding="utf-8")
