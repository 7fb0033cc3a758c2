"""`tandem serve` as an operator meets it: import, train, serve, ask, change the model, stop; and what it says when it
cannot start."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import ROOT, Server, tandem


def write_market(folder: Path) -> None:
    """Two tastes: even talents like even jobs, odd ones odd jobs."""
    folder.mkdir(exist_ok=True)
    (folder / "talents.csv").write_text(
        "talent_id,title,skills,hourly_rate,currency\n"
        + "".join(f"t{n},Talent {n},{'Go;SQL' if n % 2 else 'Figma;CSS'},{30 + n},USD\n" for n in range(20))
    )
    (folder / "jobs.csv").write_text(
        "job_id,client_id,title,skills,status\n"
        + "".join(f"j{n},c{n % 3},Job {n},{'Go' if n % 2 else 'Figma'},open\n" for n in range(30))
    )
    pairs = [(t, (2 * k + t) % 30, k) for t in range(20) for k in range(8)]
    (folder / "events.csv").write_text(
        "event_id,type,talent_id,job_id,occurred_at\n"
        + "".join(
            f"e{t}-{k},{('view', 'save', 'apply')[k % 3].upper()},t{t},j{j},2026-01-{10 + k}T0{t % 10}:00:00Z\n"
            for t, j, k in pairs
        )
    )


def trained_market(folder: Path, *options: str) -> Path:
    """A data directory with the little market and a model of it, made by the commands. options: of `tandem train`."""
    write_market(folder)
    data = folder / "data"
    files = [f"--{name}={folder / name}.csv" for name in ("talents", "jobs", "events")]
    imported = tandem(data, "import", *files)
    assert imported.returncode == 0, imported.stderr
    learnt = tandem(data, "train", *options)
    assert learnt.returncode == 0, learnt.stderr
    return data


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def server(trained: Path) -> Iterator[Server]:
    started = Server(trained, TANDEM_AUTH="open")
    yield started
    if started.process.poll() is None:
        started.stop()


QUERY = """query($id: ID!) { talent(talentId: $id) { title recommendedJobs(first: 5) {
  totalCount strategy exactness model { version }
  edges { rank score recommendationId node { jobId title status } reasons { text } } } } }"""


def ask(url: str, query: str, variables: dict[str, object] | None = None) -> dict:  # type: ignore[type-arg]
    response = httpx.post(f"{url}/graphql", json={"query": query, "variables": variables}, timeout=20)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert "errors" not in answer, answer
    return answer["data"]  # type: ignore[no-any-return]


def test_who_sends_too_much_reads_why(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    client = http.client.HTTPConnection(host, int(port), timeout=20)  # reads nothing before it has sent everything
    client.request("POST", "/graphql", b" " * 20_000_000, {"Content-Type": "application/json"})
    answer = client.getresponse()
    assert (answer.status, b"at most 1000000 bytes" in answer.read()) == (413, True)


def test_from_files_to_recommendations_to_events_to_a_new_model(server: Server, trained: Path) -> None:
    assert "an engineer who may read all and write events" in server.banner
    assert httpx.get(f"{server.url}/readyz").json()["status"] == "ready"
    page = ask(server.url, QUERY, {"id": "t1"})["talent"]["recommendedJobs"]
    ids = [edge["node"]["jobId"] for edge in page["edges"]]
    applied = {"j5", "j11"}  # k = 2 and 5
    assert len(ids) == 5
    assert page["totalCount"] == 28
    assert (page["strategy"], page["exactness"]) == ("COLLABORATIVE", "EXACT")
    assert not applied & set(ids)
    assert sum(int(job[1:]) % 2 for job in ids) == 5  # the taste of the odd ones
    assert all(edge["reasons"] for edge in page["edges"])

    record = """mutation($e: [EventInput!]!) { recordEvents(input: { events: $e }) { acceptedCount token } }"""
    events = [
        {
            "eventId": "live-1",
            "actor": "TALENT",
            "type": "DISMISS",
            "talentId": "t1",
            "jobId": ids[0],
            "recommendationId": page["edges"][0]["recommendationId"],
        }
    ]
    assert ask(server.url, record, {"e": events})["recordEvents"]["acceptedCount"] == 1
    again = ask(server.url, QUERY, {"id": "t1"})["talent"]["recommendedJobs"]
    assert ids[0] not in [edge["node"]["jobId"] for edge in again["edges"]]

    assert tandem(trained, "train").returncode == 0
    deadline = time.monotonic() + 20
    while (newest := ask(server.url, QUERY, {"id": "t1"})["talent"]["recommendedJobs"])["model"] == page["model"]:
        assert time.monotonic() < deadline, "the new model was not picked up"
        time.sleep(0.2)
    assert newest["model"]["version"] != page["model"]["version"]

    # An import beside the running server is seen by its next query.
    more = trained.parent / "more.csv"
    more.write_text("job_id,title,skills,status\nj0,Job 0,Figma,closed\nnew,Brand new,Go,open\n")
    assert tandem(trained, "import", f"--jobs={more}").returncode == 0
    seen = ask(server.url, '{ a: job(jobId: "new") { title } b: job(jobId: "j0") { status } jobs { totalCount } }')
    assert seen == {"a": {"title": "Brand new"}, "b": {"status": "CLOSED"}, "jobs": {"totalCount": 30}}

    code, stderr = server.stop()
    assert (code, "Traceback" in stderr) == (0, False), stderr


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_port_in_use_is_one_clear_line(trained: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = tandem(trained, "serve", "--port", str(taken.getsockname()[1]), TANDEM_AUTH="open")
    assert "port is in use" in one_line(done)


def test_no_data_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "nothing"
    assert "tandem import" in one_line(tandem(data, "serve", "--port", "0", TANDEM_AUTH="open"))
    assert not data.exists()


def test_no_model_is_one_clear_line(tmp_path: Path) -> None:
    write_market(tmp_path)
    assert tandem(tmp_path / "data", "import", f"--talents={tmp_path / 'talents.csv'}").returncode == 0
    assert "tandem train" in one_line(tandem(tmp_path / "data", "serve", "--port", "0", TANDEM_AUTH="open"))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"TANDEM_AUTH": "token"}, "TANDEM_SERVICE_TOKEN"),
        ({"TANDEM_AUTH": "jwt"}, "TANDEM_JWKS_URL and TANDEM_ISSUER and TANDEM_AUDIENCE"),
        ({"TANDEM_AUTH": "open", "TANDEM_HOST": "0.0.0.0"}, "loopback"),  # noqa: S104 — refused
        ({"TANDEM_AUTH": "sesame"}, "TANDEM_AUTH"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(trained: Path, settings: dict[str, str], names: str) -> None:
    assert names in one_line(tandem(trained, "serve", "--port", "0", **settings))


def test_the_schema_command_prints_writes_and_checks(tmp_path: Path) -> None:
    printed = tandem(tmp_path, "schema")
    assert printed.stdout == (ROOT / "schema.graphql").read_text(encoding="utf-8")
    out = tmp_path / "out.graphql"
    assert tandem(tmp_path, "schema", "--out", str(out)).returncode == 0
    assert tandem(tmp_path, "schema", "--check", str(out)).returncode == 0
    out.write_text("type Query { a: Int }")
    assert "is not the served schema" in one_line(tandem(tmp_path, "schema", "--check", str(out)))
