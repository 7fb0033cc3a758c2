"""Habits that no linter knows: where things lie, what they are called, and that the docs speak of files that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("recommender", "gateway")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROSE = (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md")))
# Libraries of many files, in either package: they have no single home.
AT_HOME_ANYWHERE = {"numpy", "scipy", "pyroaring", "orjson", "structlog"}
IMPORTED_AS = {"pyjwt": "jwt", "strawberry_graphql": "strawberry"}
ONET = (
    "This product includes information from the O*NET 29.2 Database by the U.S. Department of Labor, Employment and "
    "Training Administration (USDOL/ETA). Used under the CC BY 4.0 license. O*NET® is a trademark of USDOL/ETA. The "
    "Tandem project has modified all or some of this information. USDOL/ETA has not approved, endorsed, or tested "
    "these modifications."
)


def tracked() -> list[str]:
    """The files of the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("a source archive does not say what was committed")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_begins_by_saying_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_file_is_a_drawer_for_everything() -> None:
    assert [path for path in SOURCES if path.stem in {"utils", "util", "helpers", "common", "misc", "base"}] == []


def test_every_folder_of_code_is_a_package() -> None:
    assert [folder for folder in {path.parent for path in SOURCES} if not (folder / "__init__.py").is_file()] == []


def test_every_library_has_a_home() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {Requirement(each).name.lower().replace("-", "_") for each in project["dependencies"]}
    contracts = (ROOT / ".importlinter").read_text(encoding="utf-8")
    protected = set(re.findall(r"^    (\w+)$|^protected_modules = (\w+)$", contracts, re.MULTILINE))
    homes = {name for pair in protected for name in pair if name}

    assert {IMPORTED_AS.get(name, name) for name in names} - AT_HOME_ANYWHERE <= homes


def test_no_bundle_and_no_third_party_program_is_committed() -> None:
    suspects = re.compile(r"(^|/)(node_modules|dist|build|built|vendor)/|\.min\.(js|css)$|\.(gz|whl|woff2?|so)$")

    found = [name for name in tracked() if suspects.search(name)]
    earlier = re.compile(r"tests/earlier/model-schema-\d+\.tar\.gz")  # data directories as earlier versions wrote them

    assert [name for name in found if not earlier.fullmatch(name)] == ["gateway/market/onet.json.gz"]


def test_no_committed_file_is_larger_than_a_reader_can_bear() -> None:
    locks = {
        "requirements.lock",
        "requirements-dev.lock",
        "graphiql/package-lock.json",
        "tests/browser/package-lock.json",
        "tests/clients/package-lock.json",
    }
    sizes = {name: (ROOT / name).stat().st_size for name in tracked() if (ROOT / name).is_file() and name not in locks}

    assert {name: size for name, size in sizes.items() if size > 300_000} == {}


@pytest.mark.parametrize("name", ["NOTICE", "gateway/market/onet.ATTRIBUTION.txt"])
def test_the_attribution_of_onet_is_word_for_word(name: str) -> None:
    assert ONET in " ".join((ROOT / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("document", PROSE, ids=lambda path: path.name)
def test_a_document_speaks_of_files_that_exist(document: Path) -> None:
    named = re.findall(r"`((?:recommender|gateway|tests|docs|graphiql|tools)/[\w./-]*)`", document.read_text("utf-8"))
    made = {"gateway/http/graphiql/built"}

    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name.split("-")[0] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]

    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert len(numbers) == len(set(numbers))


def test_the_changelog_has_what_is_not_released_yet_or_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert heads[0] in {"Unreleased", version}


def test_the_readme_names_the_command_that_ci_runs() -> None:
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
