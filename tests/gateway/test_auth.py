"""Who is let in, who is not, and that a refusal names the setting that opens the door."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.http.auth import build_access
from gateway.settings import Settings, SettingsError
from tests.gateway.served_market import close_market, open_market

QUERY = {"query": "{ viewer { roles } }"}
BROWSER = {"Accept": "text/html"}


async def answer(
    path: Path, settings: Settings, base_url: str = "http://127.0.0.1:8000", **headers: str
) -> httpx.Response:
    market = await open_market(path, settings, base_url)
    try:
        return await market.client.post("/graphql", json=QUERY, headers=headers)
    finally:
        await close_market(market)


async def test_without_the_setting_everybody_is_refused(tmp_path: Path) -> None:
    market = await open_market(tmp_path, Settings(auth=None))
    for response in (
        await market.client.post("/graphql", json=QUERY),
        await market.client.post("/graphql", json=QUERY, headers={"Authorization": "Bearer x"}),
        await market.client.get("/graphql", headers=BROWSER),
        await market.client.get("/metrics"),
    ):
        assert response.status_code == 401
        error = response.json()["errors"][0]
        assert error["extensions"] == {"code": "UNAUTHENTICATED"}
        assert "TANDEM_AUTH" in error["message"]
    assert (await market.client.get("/livez")).status_code == 200
    assert (await market.client.get("/readyz")).status_code == 200
    await close_market(market)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.8.9.1"])
async def test_open_answers_this_machine_as_an_engineer(tmp_path: Path, host: str) -> None:
    response = await answer(tmp_path, Settings(auth="open"), Host=host)
    assert response.json() == {"data": {"viewer": {"roles": ["engineer"]}}}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "10.0.0.1", "[::2]:80"]
)
async def test_open_refuses_a_name_that_was_bent_to_this_machine(tmp_path: Path, host: str) -> None:
    response = await answer(tmp_path, Settings(auth="open"), Host=host)
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
    assert "TANDEM_AUTH" in response.json()["errors"][0]["message"]


def test_open_is_for_loopback_hosts_alone() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Settings(auth="open", host="0.0.0.0")  # noqa: S104 — refused


TOKEN = Settings(auth="token", service_token="sésame")


async def test_who_has_the_token_is_the_service(tmp_path: Path) -> None:
    market = await open_market(tmp_path, TOKEN, "http://anything.example")
    for scheme in ("Bearer", "bearer"):
        headers = {b"Authorization": f"{scheme} sésame".encode()}
        response = await market.client.post("/graphql", json=QUERY, headers=list(headers.items()))  # type: ignore[arg-type]
        assert response.json() == {"data": {"viewer": {"roles": ["service"]}}}
    await close_market(market)


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer sesame", "Basic sesame", "sésame", "Bearer sésame2"]
)
async def test_who_has_not_is_refused(tmp_path: Path, value: str) -> None:
    market = await open_market(tmp_path, TOKEN)
    response = await market.client.post("/graphql", json=QUERY, headers=[(b"Authorization", value.encode())])  # type: ignore[list-item]
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
    assert "TANDEM_SERVICE_TOKEN" in response.json()["errors"][0]["message"]
    assert "sésame" not in response.text
    assert (await market.client.get("/metrics")).status_code == 401
    await close_market(market)


@pytest.mark.parametrize("second", ["Bearer sésame", "Bearer x", ""])
async def test_the_token_comes_in_one_header(tmp_path: Path, second: str) -> None:
    market = await open_market(tmp_path, TOKEN)
    for values in (("Bearer sésame", second), (second, "Bearer sésame")):
        headers = [(b"Authorization", value.encode()) for value in values]
        response = await market.client.post("/graphql", json=QUERY, headers=headers)  # type: ignore[arg-type]
        assert response.status_code == 401
        assert "more than one" in response.text
    await close_market(market)


async def test_the_page_opens_without_the_token_that_a_browser_cannot_send(tmp_path: Path) -> None:
    market = await open_market(tmp_path, TOKEN)
    assert (await market.client.get("/graphql", headers=BROWSER)).status_code == 200
    await close_market(market)


async def test_a_refused_request_is_not_even_read(tmp_path: Path) -> None:
    market = await open_market(tmp_path, Settings(auth=None))
    response = await market.client.post("/graphql", content=b"x" * 5_000_000, headers={"Content-Type": "text/plain"})
    assert response.status_code == 401
    await close_market(market)


@pytest.mark.parametrize("settings", [{"auth": "token"}, {"auth": "jwt"}])
def test_settings_under_which_nobody_could_enter_are_refused_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="TANDEM_"):
        build_access(Settings(**settings))


async def test_only_listed_origins_are_allowed_to_ask_from_a_page(tmp_path: Path) -> None:
    market = await open_market(tmp_path, Settings(auth="open", cors_origins=("https://app.example.com",)))
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization, tandem-consistency-token",
    }
    allowed = await market.client.options("/graphql", headers={**preflight, "Origin": "https://app.example.com"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    refused = await market.client.options("/graphql", headers={**preflight, "Origin": "https://evil.example"})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    answered = await market.client.post("/graphql", json=QUERY, headers={"Origin": "https://app.example.com"})
    assert answered.headers["access-control-allow-origin"] == "https://app.example.com"
    await close_market(market)
