"""What a wheel holds: the code, the data, the licences, and the GraphiQL page although git ignores it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel, built from a copy of the project in which the bundle is one page and one asset."""
    tree = tmp_path_factory.mktemp("tree")
    for package in ("recommender", "gateway"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "built"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    built = tree / "gateway" / "http" / "graphiql" / "built"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<!doctype html>", encoding="utf-8")
    (built / "assets" / "main-abc123.js.gz").write_bytes(b"")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tree / "dist"], cwd=tree, check=True
    )
    (wheel,) = (tree / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_a_wheel_holds_the_graphiql_page(names: set[str]) -> None:
    assert "gateway/http/graphiql/built/index.html" in names
    assert "gateway/http/graphiql/built/assets/main-abc123.js.gz" in names
    assert "gateway/http/graphiql/cdn.js" in names


def test_a_wheel_holds_the_data_of_the_demo_market_with_its_attribution(names: set[str]) -> None:
    assert {"gateway/market/onet.json.gz", "gateway/market/onet.ATTRIBUTION.txt"} <= names


def test_a_wheel_holds_the_licences_and_no_tests(names: set[str]) -> None:
    assert {Path(name).name for name in names if ".dist-info/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"gateway", "recommender"}


def test_a_wheel_installs_the_command(names: set[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)
