"""The GraphQL over HTTP audit and the clients and router that people use, against a running gateway."""

from __future__ import annotations

from tests.clients.programs import run


def test_the_clients_of_frontends_work_and_the_http_audit_finds_nothing(address: str) -> None:
    run("npx", "--no-install", "relay-compiler", "relay.config.json")

    said = run("node", "--test", "--test-reporter=tap", GATEWAY=address)

    # The 61 audits and at least the five clients' own: a file that was not found would pass with nothing run.
    assert int(said.partition("\n# pass ")[2].partition("\n")[0]) >= 61 + 18
