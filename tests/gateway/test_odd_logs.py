"""The oddest logs go all the way: imported, tuned on, trained on twice, measured, exported and served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cli import main
from gateway.cli.serve import build_services
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.settings import Settings, load_settings
from gateway.wiring import stores

Pairs = list[tuple[str, str]]

LOGS: dict[str, Pairs] = {
    "one event for each talent": [(f"t{n}", f"j{n % 12}") for n in range(60)],
    "one event for each talent and job": [(f"t{n}", f"j{n}") for n in range(60)],
    "one job": [(f"t{n}", "j0") for n in range(60)],
    "one talent": [("t0", f"j{n}") for n in range(40)],
    "everybody did everything, with equal weights": [(f"t{n}", f"j{m}") for n in range(30) for m in range(12)],
    "a single event": [("t0", "j0")],
}
QUERY = """{ talent(talentId: "t0") { recommendedJobs(first: 5) { edges { node { jobId } score } } }
  new: talent(talentId: "idle") { recommendedJobs(first: 50) { edges { node { jobId } score } } }
  job(jobId: "j0") { recommendedTalents(first: 5) { edges { node { talentId } score } } } }"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def written(path: Path, pairs: Pairs, times: str) -> list[str]:
    """Files with those events, an idle talent and a job that nobody looked at; the arguments that import them."""
    at = {
        "at one moment": lambda n: "2026-01-01T00:00:00Z",
        "a minute apart": lambda n: f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z",
        "without times": lambda n: "",
    }[times]
    rows = [f"VIEW,{talent},{job},{at(n)}" for n, (talent, job) in enumerate(pairs)]
    files = {
        "events": ["type,talent_id,job_id,occurred_at", *rows],
        "talents": ["talent_id,skills", "idle,go", "t0,go;sql"],
        "jobs": ["job_id,skills", "unseen,go", "j0,go"],
    }
    arguments = ["import"]
    for name, lines in files.items():
        (path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        arguments += [f"--{name}", str(path / f"{name}.csv")]
    return arguments


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("one event for each talent", "a minute apart"),
        ("one event for each talent", "without times"),
        ("one event for each talent and job", "at one moment"),
        ("one job", "a minute apart"),
        ("one job", "without times"),
        ("one talent", "without times"),
        ("everybody did everything, with equal weights", "a minute apart"),
        ("a single event", "a minute apart"),
    ],
)
def test_an_odd_log_breaks_nothing(
    name: str, times: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    assert run(*written(tmp_path, LOGS[name], times)) == 0
    assert run("train") == 0
    capsys.readouterr()
    for command in (["evaluate", "--html", str(tmp_path / "o.html")], ["tune", "--minutes", "0"]):
        code = run(*command)
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tandem:")]
        # Too little to measure is said in a line; nothing else may go wrong.
        assert (code, len(told)) in ((0, 0), (1, 1))
        assert all("too little" in line or "nothing can be measured" in line for line in told)
    assert run("train") == 0
    capsys.readouterr()
    assert run("models", "list", "--json") == 0
    assert [model["is_current"] for model in json.loads(capsys.readouterr().out)] == [False, True]
    for kind in ("talents", "jobs"):
        out = tmp_path / f"{kind}.jsonl"
        assert run("export", "--for", kind, "--k", "5", "--out", str(out)) == 0
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert all(-1e6 < row["score"] < 1e6 for row in rows)
    answer = asyncio.run(served())
    assert "errors" not in answer
    found = answer["data"]["new"]["recommendedJobs"]["edges"]
    # Among equals the order is one of rounding: float32 factors.
    best = {edge["node"]["jobId"] for edge in found if edge["score"] > found[0]["score"] - 1e-6}
    assert best & {"unseen", "j0"}


async def served() -> dict[str, Any]:
    async with stores(load_settings()) as opened:
        services = build_services(opened)
        services.recommender.refresh_model()
        app = build_app(services, build_access(Settings(auth="open")))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            answer: dict[str, Any] = (await client.post("/graphql", json={"query": QUERY})).json()
            return answer
