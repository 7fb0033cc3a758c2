"""The report in a real Chromium: it asks nobody for anything, runs nothing and shows the figures of the JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_graphiql_in_chromium import HERE, SCREENSHOTS, WALK_SECONDS
from tests.gateway.test_report_page import HOSTILE, evaluated, figures_of


def opened(page: Path) -> dict[str, Any]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    finished = subprocess.run(
        [shutil.which("node") or "node", HERE / "report.mjs", page, SCREENSHOTS / "report.png"],
        capture_output=True,
        text=True,
        timeout=WALK_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, Any] = json.loads(finished.stdout)
    return seen


def test_the_report_shows_the_figures_of_the_json_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, document = evaluated(tmp_path, monkeypatch)
    seen = opened(page)
    assert seen["requests"] == [page.as_uri()]
    assert (seen["consoleErrors"], seen["dialogs"]) == ([], [])
    assert seen["light"] == ["rgb(28, 32, 36)", "rgb(255, 255, 255)"]
    assert seen["dark"] == ["rgb(237, 238, 240)", "rgb(17, 19, 21)"]
    assert seen["overflow"] == 0  # on a telephone
    tables = [(table["caption"], table["rows"]) for table in seen["tables"]]
    assert figures_of(tables, document) > 40
    assert HOSTILE in {row[1] for caption, rows in tables if caption == "Segments" for row in rows}
    assert "Learning curve of the served score" in seen["figures"]
