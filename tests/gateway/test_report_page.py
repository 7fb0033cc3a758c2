"""The page beside a model: its figures are those of the JSON, its texts are text, and it goes with the model."""

from __future__ import annotations

import asyncio
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.report.page import METRICS, NAMES, page
from gateway.report.plots import Series, Whisker, lines, whiskers
from gateway.settings import load_settings
from gateway.wiring import stores
from recommender.documents import Kind, Patch
from tests.gateway.test_train_and_evaluate import market

HOSTILE = "<img src=//x onerror=alert(1)> \"&'</style><script>alert(1)</script>"

Tables = list[tuple[str, list[list[str]]]]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small market whose jobs have categories, one of them written to break a page."""
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))

    async def write() -> None:
        async with stores(load_settings()) as opened:
            await opened.events.append(market())
            await opened.catalogue.upsert(
                Kind.JOB, [Patch(f"j{j}", {"category": HOSTILE if j % 2 else "Design"}) for j in range(24)]
            )

    asyncio.run(write())


def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Any]]:
    """The page and the JSON of one `tandem evaluate`."""
    fill(tmp_path, monkeypatch)
    made, told = tmp_path / "report.html", tmp_path / "report.json"
    assert run("evaluate", "--html", str(made), "--json", str(told), "--k", "5", "--k", "10") == 0
    return made, json.loads(told.read_bytes())


def figures_of(tables: Tables, document: dict[str, Any]) -> int:
    """How many figures of the JSON stand in the tables where they belong; none may be another."""
    found = 0
    directions = [document, document["talents_for_jobs"]]
    lists = [(caption, rows) for caption, rows in tables if caption.startswith("Lists of")]
    for place, (caption, rows) in enumerate(lists):
        direction, k = directions[place * 2 // len(lists)], int(caption.split()[-1])
        names = {NAMES[name]: name for name in direction["metrics"]}
        shown = [name for heading in rows[0][1:] for name, label in METRICS.items() if label == heading]
        for row in rows[1:]:
            for metric, cell in zip(shown, row[1:], strict=True):
                value = direction["metrics"][names[row[0]]][f"{metric}@{k}"]
                interval = direction["intervals"][names[row[0]]].get(f"{metric}@{k}")
                places = 2 if metric == "novelty" else 4
                ends = f" {interval[0]:.3f}–{interval[1]:.3f}" if interval else ""
                assert cell == f"{value:.{places}f}{ends}"
                found += 1
    segments = [rows for caption, rows in tables if caption == "Segments"]
    for direction, rows in zip(directions, segments, strict=True):
        k = direction["exposure"]["k"]
        told = [row for row in direction["segments"] if row["by"] != "length"]
        for row, cells in zip(told, rows[1:], strict=True):
            low, high = row["intervals"]["served"][f"recall@{k}"]
            assert cells[1:3] == [row["name"], f"{row['asked']:,}"]
            assert cells[3] == f"{row['metrics']['served'][f'recall@{k}']:.4f} {low:.3f}–{high:.3f}"
            found += 1
    return found


class Read(HTMLParser):
    """Tables of a page, its tags, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: Tables = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._into = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._into = tag if tag in ("td", "th", "caption", "small") else ""
        if tag == "table":
            self.tables.append(("", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag != "small":
            self._into = ""

    def handle_data(self, data: str) -> None:
        if self._into == "caption":
            self.tables[-1] = (self.tables[-1][0] + data, self.tables[-1][1])
        elif self._into:
            self.tables[-1][1][-1][-1] += data


def test_its_figures_are_those_of_the_json_and_its_texts_are_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, document = evaluated(tmp_path, monkeypatch)
    text = made.read_text()
    read = Read(text)
    assert figures_of(read.tables, document) > 40
    assert not read.tags & {"script", "img", "link", "iframe", "object", "form", "a"}
    assert not read.attributes & {"src", "href", "onerror", "onload", "action"}
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|//x onerror=alert\(1\)>", text)
    assert [point["share"] for point in document["learning_curve"]] == [0.125] * 2 + [0.25] * 2 + [0.5] * 2 + [1.0] * 2
    whole = document["learning_curve"][-2]
    assert whole["value"] == document["metrics"]["served"]["recall@10"]


def test_training_puts_it_beside_the_model_and_retirement_takes_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, monkeypatch)
    monkeypatch.setenv("TANDEM_MODELS_KEPT", "1")
    assert run("models", "report") == 1
    assert run("train") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert run("models", "report") == 0
    path = Path(capsys.readouterr().out.strip())
    assert f"The report is in {path}." in told
    read = Read(path.read_text())
    manifest = json.loads((path.parent / "manifest.json").read_bytes())
    recall = manifest["metrics"]["served"]["recall@20"]
    (row,) = [row for row in read.tables[1][1] if row[0] == "served"]
    assert (read.tables[1][0], row[1].split()[0]) == ("Lists of 20", f"{recall:.4f}")
    assert path.parent.name in path.read_text()
    assert "t17" not in path.read_text()  # of people it holds counts
    assert run("doctor") == 0  # and no checksum is of it
    assert run("train", "--no-evaluate", "--force") == 0
    assert not path.parent.exists()
    assert run("models", "report") == 0
    assert "Nothing was measured" in Path(capsys.readouterr().out.splitlines()[-1]).read_text()
    assert run("models", "report", "elsewhere") == 1
    assert "there is no model 'elsewhere'" in capsys.readouterr().err


def test_a_calibration_is_drawn_when_there_is_one() -> None:
    document: dict[str, Any] = {"metrics": {}}
    assert "Calibration" not in page("x", document)
    shown = page("x", {**EMPTY, "calibration": {"talents": [{"predicted": 0.1, "observed": 0.2, "pairs": 9}]}})
    assert "Calibration, talents" in shown


EMPTY: dict[str, Any] = {
    "split": "random",
    "cut": None,
    "train_events": 1,
    "test_events": 1,
    "metrics": {"served": {"recall@5": 0.5, "ndcg@5": 0.5}},
    "intervals": {"served": {"recall@5": [0.4, 0.6], "ndcg@5": [0.4, 0.6]}},
    "talents": {"asked": 1, "could_be_asked": 1, "left_out": 0},
    "jobs": 1,
    "exposure": {"k": 5, "share_held_by_least_shown": {}},
    "served_against_best": {},
    "served_against_today": {},
    "segments": [],
    "talents_for_jobs": {"metrics": {}},
    "recipe": {},
}


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.3, 1.0, 7.0, 123456.0])
def test_a_plot_of_any_size_has_ticks_and_stays_in_its_frame(value: float) -> None:
    drawn = lines("t", "x", "y", [Series("a", [0.0, value], [0.0, value], [0.0, 0.0], [0.0, value])])
    drawn += whiskers("t", [Whisker("a", value, 0.0, value)])
    numbers = [float(number) for pair in re.findall(r'points="([^"]*)"', drawn) for number in re.split("[ ,]", pair)]
    assert all(0 <= number <= 460 for number in numbers)
    assert drawn.count("<text") >= 5
    assert "nan" not in drawn
