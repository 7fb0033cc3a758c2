"""docs/clients.md: its app is generated, compiled and run, and its manifest is what a gateway answers to."""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.clients import page
from tests.clients.programs import HERE, run
from tests.processes import Server, tandem

APP = HERE / "guide" / "__generated__"
GENERATOR = HERE / "python" / ".venv" / "bin" / "ariadne-codegen"
TALENT = "tal-000001"


@pytest.fixture(scope="module")
def built_app() -> Path:
    """The directory of the page's app, its types generated and its files compiled, strictly."""
    shutil.rmtree(APP, ignore_errors=True)
    assert len(list(page.written(APP, ".graphql", ".ts"))) > 10
    run(*page.command("npx", "graphql-codegen"), directory=APP)
    run("npx", "--no-install", "tsc", "--project", "guide/tsconfig.json")
    return APP


def test_every_block_is_a_file_or_a_command_that_the_tests_run() -> None:
    assert {Path(name).suffix for name in page.files()} == {".graphql", ".graphqls", ".ts", ".toml", ".py"}
    assert [words[:2] for words in page.commands()] == [
        ["npm", "install"],
        ["npm", "install"],
        ["npx", "graphql-codegen"],
        ["ariadne-codegen", "client"],
    ]


def test_the_packages_that_the_page_installs_are_those_it_is_tested_with() -> None:
    packages = [word for words in page.commands() if words[0] == "npm" for word in words[2:] if "@" in word]
    tested = json.loads((HERE / "package.json").read_text())["devDependencies"]
    assert [package for package in packages if package not in {f"{name}@{tested[name]}" for name in tested}] == []
    assert len(packages) == 10


def test_the_app_does_what_the_page_says(built_app: Path, address: str) -> None:
    said = run("node", "--test", "--test-reporter=tap", "guide/guide.mjs", GATEWAY=address)
    assert "\n# pass 13\n" in said


def test_a_gateway_that_trusts_the_manifest_answers_nothing_else(built_app: Path, address: str, data: Path) -> None:
    trusted = {
        "TANDEM_OPERATIONS": "trusted",
        "TANDEM_TRUSTED_DOCUMENTS": str(built_app / "generated" / "persisted-documents.json"),
    }
    server = Server(data, TANDEM_AUTH="token", TANDEM_SERVICE_TOKEN="quite-secret-for-a-test", **trusted)
    settings = {"GATEWAY": f"{server.url}/graphql", "TOKEN": "quite-secret-for-a-test", "TALENT": TALENT}
    try:
        run("node", "--test", "--test-reporter=tap", "guide/trusted.mjs", **settings)
    finally:
        server.stop()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's client for Python, generated anew."""
    assert GENERATOR.is_file(), "the generator is not installed; `make clients` does it"
    assert sorted(page.written(tmp_path, ".graphql", ".toml", ".py")) == [
        "example.py",
        "operations.graphql",
        "pyproject.toml",
    ]
    run(GENERATOR, *page.command("ariadne-codegen")[1:], directory=tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import tandem_client  # type: ignore[import-not-found]

    return tandem_client


def test_the_example_for_python_runs(client: Any, tmp_path: Path, address: str, data: Path) -> None:
    token = tandem(data, "token", "--role", "service", "--sub", "guide").stdout.strip()
    said = run(sys.executable, "example.py", address, token, TALENT, directory=tmp_path)
    assert re.fullmatch(r"1 job-\d+ .+\n1 event recorded\n", said)


async def test_the_client_for_python_is_typed_both_ways(client: Any, address: str) -> None:
    async with client.TandemClient(address) as tandem:
        pay = client.BudgetFilter(type="HOURLY", currency="USD", min=Decimal("1.50"), max=Decimal("9000"))
        answer = await tandem.job_list(TALENT, filter_=client.JobFilter(budget=pay))
        row = answer.talent.recommended_jobs.edges[0]
        assert (type(row.rank), type(row.node.skills)) == (int, list)
        assert isinstance(row.reasons[0].kind, client.ReasonKind)
        event = client.EventInput(
            eventId=str(uuid4()),
            actor=client.Side.TALENT,
            type=client.EventType.SAVE,
            talentId=TALENT,
            jobId="nothing",
            occurredAt=datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        )
        refused = (await tandem.record_events([event])).record_events.user_errors
        assert refused[0].code is client.UserErrorCode.UNKNOWN_ID
        with pytest.raises(client.GraphQLClientGraphQLMultiError) as problem:
            await tandem.job_list(TALENT, filter_=client.JobFilter(skills=client.TermFilter(any=["x"] * 1_001)))
        assert problem.value.errors[0].extensions["code"] == "BAD_USER_INPUT"
