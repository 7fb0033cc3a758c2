"""The hashed locks: they name no address, every file has a hash, and they satisfy pyproject.toml."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUN = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["build"]]
OPTIONAL = PYPROJECT["project"]["optional-dependencies"]
LOCKS = {
    "requirements.lock": RUN,
    "requirements-production.lock": [*RUN, *OPTIONAL["production"], *OPTIONAL["tracing"]],
    "requirements-dev.lock": [*RUN, *OPTIONAL["dev"]],
}
# The oldest Python that is supported and one of the newest: the locks hold for both.
PYTHONS = ("3.11.0", "3.14.0")


def entries(name: str) -> dict[str, list[str]]:
    """The requirement of each entry of a lock, to the hashes it lists."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line.strip())
            found[requirement] = hashes
    return found


def pins(name: str, python: str) -> dict[str, str]:
    """What a lock installs under one version of Python, project name to version."""
    environment = {**default_environment(), "python_full_version": python, "python_version": python.rsplit(".", 1)[0]}
    found: dict[str, str] = {}
    for requirement in map(Requirement, entries(name)):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert requirement.name not in found
            found[requirement.name] = specifier.version
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_host_or_path(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted|@ |/tmp|/root|/home", text)
    assert not re.match(r"-", text)


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_of_a_lock_has_hashes(name: str) -> None:
    assert len(entries(name)) > 40
    for requirement, hashes in entries(name).items():
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_satisfies_the_project(name: str, python: str) -> None:
    locked = pins(name, python)

    for requirement in map(Requirement, LOCKS[name]):
        assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_for_development_holds_the_one_for_running(python: str) -> None:
    assert pins("requirements.lock", python).items() <= pins("requirements-dev.lock", python).items()


def test_everything_that_is_imported_to_run_is_locked_to_run() -> None:
    """What only the tests' libraries bring is there when this is written, and not where it is installed."""
    tops = {
        name.partition(".")[0]
        for package in ("gateway", "recommender")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    brings = packages_distributions()
    locked = {canonicalize_name(name) for name in pins("requirements-production.lock", PYTHONS[0])}
    wanted = tops - sys.stdlib_module_names - {"gateway", "recommender", "__future__"}
    assert {top for top in wanted if not locked & {canonicalize_name(one) for one in brings[top]}} == set()


@pytest.mark.parametrize("folder", ["graphiql", "tests/browser", "tests/clients"])
def test_a_lock_of_npm_names_no_registry_and_has_hashes(folder: str) -> None:
    text = (ROOT / folder / "package-lock.json").read_text(encoding="utf-8")

    assert '"resolved"' not in text
    assert text.count('"integrity": "sha512-') > 30
