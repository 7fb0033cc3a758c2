"""Tokens: which ones speak for whom, and everything else that opens nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.graphql.viewer import ROLES
from gateway.http.auth import build_access
from gateway.http.key_set import FetchedKeys, FileKeys, KeySetError, NoKeysError, fetch, keys_from
from gateway.http.tokens import KEPT, InvalidTokenError, TokenRules, TokenVerifier
from gateway.settings import Settings, load_settings
from gateway.signing import open_signing_key, public_path, sign
from tests.gateway.served_market import close_market, open_market
from tests.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    both_keys,
    claims,
    ec_key,
    jwk,
    key_set,
    publishing,
    rsa_key,
    token,
)

RULES = TokenRules(ISSUER, AUDIENCE, 24 * 3_600)


class Clock:
    """Both clocks, turned by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(tmp_path: Path, clock: Clock) -> TokenVerifier:
    path = tmp_path / "keys.json"
    path.write_bytes(both_keys())
    return TokenVerifier(FileKeys(path, clock), RULES, clock)


def segment(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def signed_by_hand(header: bytes | dict[str, Any], payload: bytes | dict[str, Any]) -> str:
    """A token whose parts no library would write, with a signature that fits."""
    body = f"{segment(header)}.{segment(payload)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(body.encode(), rsa_key())
    return f"{body}.{segment(signature)}"


@pytest.mark.parametrize("role", ROLES)
def test_a_signed_token_speaks_for_its_role_until_it_ends(verifier: TokenVerifier, role: str) -> None:
    for key, kid in ((rsa_key(), "r"), (ec_key(), "e")):
        viewer = verifier.viewer(token(key, kid, role=role, sub="someone"))
        assert (viewer.roles, viewer.subject) == ((role,), "someone")
        assert viewer.until_ms == (NOW + 3_600 + 30) * 1_000


@pytest.mark.parametrize(
    "more",
    [
        {"aud": ["other", AUDIENCE]},
        {"iat": NOW + 29, "exp": NOW + 100},
        {"nbf": NOW + 29},
        {"iat": NOW - 7_200, "exp": NOW - 29},
        {"iat": float(NOW), "exp": NOW + 0.5},
        {"sub": "ä" * 128},
        {"iat": NOW, "exp": NOW + 24 * 3_600},
        {"scope": "whatever", "nested": {"role": "admin"}},
    ],
    ids=str,
)
def test_what_is_right_at_the_edge_is_taken(verifier: TokenVerifier, more: dict[str, Any]) -> None:
    assert verifier.viewer(token(**more)).roles == ("talent",)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"exp": NOW - 31, "iat": NOW - 60}, "expired"),
    ({"exp": None}, "`exp`"),
    ({"exp": "1900000000"}, "`exp`"),
    ({"exp": True}, "`exp`"),
    ({"exp": 10**400}, "`exp`"),
    ({"exp": -1}, "`exp`"),
    ({"iat": None}, "`iat`"),
    ({"iat": NOW + 31, "exp": NOW + 60}, "not valid yet"),
    ({"nbf": NOW + 31}, "not valid yet"),
    ({"nbf": "soon"}, "`nbf`"),
    ({"nbf": None, "iat": NOW, "exp": NOW + 10 * 365 * 86_400}, "TANDEM_TOKEN_HOURS"),
    ({"exp": NOW + 24 * 3_600 + 1}, "TANDEM_TOKEN_HOURS"),
    ({"iat": NOW + 20, "exp": NOW + 10}, "TANDEM_TOKEN_HOURS"),
    ({"aud": None}, "TANDEM_AUDIENCE"),
    ({"aud": "other"}, "TANDEM_AUDIENCE"),
    ({"aud": []}, "TANDEM_AUDIENCE"),
    ({"aud": [[AUDIENCE]]}, "TANDEM_AUDIENCE"),
    ({"aud": {AUDIENCE: 1}}, "TANDEM_AUDIENCE"),
    ({"aud": AUDIENCE + "x"}, "TANDEM_AUDIENCE"),
    ({"iss": None}, "TANDEM_ISSUER"),
    ({"iss": ISSUER.rstrip("/")}, "TANDEM_ISSUER"),
    ({"role": None}, "`role`"),
    ({"role": ["admin"]}, "`role`"),
    ({"role": "Admin"}, "`role`"),
    ({"role": "admin "}, "`role`"),
    ({"role": "root"}, "`role`"),
    ({"role": {"admin": True}}, "`role`"),
    ({"role": 1}, "`role`"),
    ({"sub": None}, "`sub`"),
    ({"sub": ""}, "`sub`"),
    ({"sub": "x" * 257}, "`sub`"),
    ({"sub": "ä" * 129}, "`sub`"),
    ({"sub": "t1\0"}, "`sub`"),
    ({"sub": "t1\n"}, "`sub`"),
    ({"sub": "t1\x7f"}, "`sub`"),
    ({"sub": "t1\x85"}, "`sub`"),
    ({"header": {"crit": ["exp"]}}, "header"),
    ({"header": {"typ": "logout+jwt"}}, "header"),
    ({"kid": "gone"}, "not known here"),
    ({"kid": "e"}, "not known here"),
]


@pytest.mark.parametrize(("more", "why"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_refused_with_its_reason(verifier: TokenVerifier, more: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidTokenError, match=why):
        verifier.viewer(token(**more))


def _none() -> str:
    return f"{segment({'alg': 'none', 'kid': 'r'})}.{segment(claims())}."


def _with_the_public_key_as_secret() -> str:
    public = (
        rsa_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    body = f"{segment({'alg': 'HS256', 'kid': 'r'})}.{segment(claims())}"
    return f"{body}.{segment(hmac.digest(public, body.encode(), hashlib.sha256))}"


def _with_another_payload() -> str:
    parts = token().split(".")
    return f"{parts[0]}.{segment(claims(role='admin'))}.{parts[2]}"


FORGED = {
    "no algorithm": _none,
    "None in capitals": lambda: f"{segment({'alg': 'None', 'kid': 'r'})}.{segment(claims())}.",
    "HS256 by the public key": _with_the_public_key_as_secret,
    "an algorithm that is a list": lambda: f"{segment({'alg': ['RS256'], 'kid': 'r'})}.{segment(claims())}.AA",
    "another's key": lambda: token(rsa_key(1), "r"),
    "another's key in its header": lambda: token(rsa_key(1), "r", {"jwk": jwk(rsa_key(1), "r")}),
    "an address of keys in its header": lambda: token(rsa_key(1), "x", {"jku": "https://evil.example/keys"}),
    "a path as key": lambda: token(rsa_key(1), "../../dev/null"),
    "a key that is no text": lambda: f"{segment({'alg': 'RS256', 'kid': 1})}.{segment(claims())}.AA",
    "another payload": _with_another_payload,
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "two megabytes": lambda: token(more="x" * 2_000_000),
    "a little too long": lambda: token(more="x" * 6_500),
    "five parts": lambda: token() + ".AA.AA",
    "nothing": lambda: "",
    "dots": lambda: "..",
    "no base64": lambda: "\u00e4.b.c",
    "letters beyond ASCII": lambda: token() + "ä",
    "deep JSON in the header": lambda: f"{segment(b'[' * 4_000)}.e30.AA",
    "role twice": lambda: signed_by_hand(
        {"alg": "RS256", "kid": "r"}, json.dumps(claims())[:-1].encode() + b', "role": "admin"}'
    ),
    "algorithm twice": lambda: signed_by_hand(b'{"alg": "none", "alg": "RS256", "kid": "r"}', claims()),
    "NaN": lambda: signed_by_hand({"alg": "RS256", "kid": "r"}, json.dumps(claims(exp=float("nan"))).encode()),
    "infinity": lambda: signed_by_hand({"alg": "RS256", "kid": "r"}, json.dumps(claims(exp=float("inf"))).encode()),
    "half a letter": lambda: signed_by_hand(
        {"alg": "RS256", "kid": "r"}, json.dumps(claims()).replace('"t1"', '"\\ud800"').encode()
    ),
    "a list of claims": lambda: signed_by_hand({"alg": "RS256", "kid": "r"}, b"[1]"),
    "deep JSON as claims": lambda: signed_by_hand({"alg": "RS256", "kid": "r"}, b"[" * 4_000),
    **{
        f"claims in {encoding}": lambda encoding=encoding: signed_by_hand(
            {"alg": "RS256", "kid": "r"}, json.dumps(claims()).encode(encoding)
        )
        for encoding in ("utf-8-sig", "utf-16", "utf-32-le")
    },
    "padding": lambda: token() + "==",
    "a line behind": lambda: token() + "\n",
    "a letter of no alphabet": lambda: token()[:-9] + "!" + token()[-9:],
    "text outside": lambda: signed_by_hand({"alg": "RS256", "kid": "r", "b64": False}, claims()),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_opens_nothing(verifier: TokenVerifier, name: str) -> None:
    forged = FORGED[name]()
    begun = time.process_time()
    with pytest.raises(InvalidTokenError) as refused:
        verifier.viewer(forged)
    assert time.process_time() - begun < 0.1  # whatever it is, it holds nobody up
    assert not forged or forged[:20] not in str(refused.value)


@given(
    st.text(max_size=300)
    | st.lists(st.binary(max_size=60), max_size=4).map(lambda parts: ".".join(map(segment, parts)))
)
def test_whatever_text_comes_is_refused_and_nothing_else(text: str) -> None:
    path = Path("/nonexistent/keys.json")
    keys = FileKeys(path, lambda: 0.0)
    keys._take(both_keys())
    with pytest.raises(InvalidTokenError):
        TokenVerifier(keys, RULES, lambda: NOW).viewer(text)


def test_a_token_without_a_key_id_is_checked_with_the_only_key_there_is(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(jwk(rsa_key(), "a")))
    verifier = TokenVerifier(FileKeys(path, clock), RULES, clock)
    assert verifier.viewer(token(kid=None)).roles == ("talent",)
    path.write_bytes(key_set(jwk(rsa_key(), "a"), jwk(rsa_key(1), "b")))
    clock.now += 100
    with pytest.raises(InvalidTokenError, match="not known here"):
        verifier.viewer(token(kid=None))


def test_a_viewer_is_kept_and_never_longer_than_the_token(
    verifier: TokenVerifier, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []
    checked = verifier._checked
    monkeypatch.setattr(verifier, "_checked", lambda *given: checks.append(1) or checked(*given))
    short = token(exp=NOW + 40)
    for _ in range(5):
        assert verifier.viewer(short).subject == "t1"
    assert len(checks) == 1
    clock.now = NOW + 61.0
    assert verifier.viewer(short).subject == "t1"
    assert len(checks) == 2
    clock.now = NOW + 70.0
    with pytest.raises(InvalidTokenError, match="expired"):
        verifier.viewer(short)


def test_a_key_that_is_taken_back_takes_its_tokens_along(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(both_keys())
    verifier = TokenVerifier(FileKeys(path, clock), RULES, clock)
    good = token()
    assert verifier.viewer(good).roles == ("talent",)
    path.write_bytes(key_set(jwk(ec_key(), "e")))
    clock.now += 2
    assert verifier.viewer(token(ec_key(), "e")).roles == ("talent",)  # which looks at the file again
    with pytest.raises(InvalidTokenError, match="not known here"):
        verifier.viewer(good)


def test_what_is_kept_of_tokens_is_bounded(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = verifier.viewer(token())
    monkeypatch.setattr(verifier, "_checked", lambda *_: (viewer, NOW + 10.0))
    for number in range(KEPT + 500):
        verifier.viewer(f"{number}.a.b")
    assert len(verifier._kept) == KEPT


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [null, 1, {}]}', b"\xff", b"[" * 100_000],
    ids=lambda text: text[:20].decode(errors="replace"),
)
def test_what_is_no_key_set_is_none(text: bytes) -> None:
    with pytest.raises(KeySetError):
        keys_from(text)


def test_only_public_keys_for_signatures_of_a_safe_kind_are_used() -> None:
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505 — refused
    other_curve = ec.generate_private_key(ec.SECP384R1())
    symmetric = {"kty": "oct", "kid": "o", "k": segment(b"x" * 32), "alg": "HS256"}
    unusable = [
        symmetric,
        jwk(small, "small"),
        jwk(other_curve, "curve"),
        jwk(rsa_key(), "enc", use="enc"),
        jwk(rsa_key(), "ops", key_ops=["encrypt"]),
        jwk(rsa_key(), "alg", alg="RS512"),
        jwk(rsa_key(), "private", d="AA"),
        {**jwk(ec_key(), "torn"), "x": "!"},
        {"kty": "RSA", "kid": "empty"},
        {**jwk(rsa_key(), "list"), "kid": ["r"]},
    ]
    assert list(keys_from(key_set(*unusable, jwk(rsa_key(), "r", alg="RS256")))) == [("r", "RS256")]
    with pytest.raises(KeySetError, match="no public key"):
        keys_from(key_set(*unusable))


def test_keys_of_two_kinds_may_share_an_id_or_have_none() -> None:
    for kid in ("one", None):
        found = keys_from(key_set(jwk(rsa_key(), kid), jwk(ec_key(), kid)))
        assert set(found) == {(kid, "RS256"), (kid, "ES256")}


def test_a_provider_that_sends_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.key_set.TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        begun = time.monotonic()
        with pytest.raises((OSError, HTTPException, KeySetError)):
            keys_from(fetch(f"http://127.0.0.1:{server.getsockname()[1]}/keys.json", time.monotonic))
        assert time.monotonic() - begun < 2
        dripping.join()


async def followed(
    keys: FetchedKeys, cooldown_seconds: float = 0.05, every_seconds: float = 0.05
) -> asyncio.Task[None]:
    return asyncio.create_task(keys.follow(every_seconds=every_seconds, cooldown_seconds=cooldown_seconds))


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def test_keys_change_while_tokens_are_checked(clock: Clock) -> None:
    with publishing(key_set(jwk(rsa_key(), "old"))) as provider:
        keys = FetchedKeys(lambda: fetch(provider.url, time.monotonic), clock)
        verifier = TokenVerifier(keys, RULES, clock)
        following = await followed(keys)
        await until(lambda: not keys.is_empty)
        assert verifier.viewer(token(kid="old")).roles == ("talent",)
        provider.text = key_set(jwk(rsa_key(), "old"), jwk(rsa_key(1), "new"))
        await until(lambda: keys.generation == 2)
        assert verifier.viewer(token(rsa_key(1), "new")).roles == ("talent",)
        assert verifier.viewer(token(kid="old")).roles == ("talent",)
        provider.text = key_set(jwk(rsa_key(1), "new"))
        await until(lambda: keys.generation == 3)
        with pytest.raises(InvalidTokenError, match="not known here"):
            verifier.viewer(token(kid="old"))
        following.cancel()


@pytest.mark.parametrize("broken", ["down", "hangs up", "500", "no keys", "elsewhere", "endless"])
async def test_a_provider_that_is_down_for_an_hour_locks_nobody_out(clock: Clock, broken: str) -> None:
    with publishing(both_keys()) as provider:
        keys = FetchedKeys(lambda: fetch(provider.url, time.monotonic), clock)
        verifier = TokenVerifier(keys, RULES, clock)
        following = await followed(keys)
        await until(lambda: not keys.is_empty)
        url = provider.url
        match broken:
            case "down":
                provider.url = "http://127.0.0.1:1/keys.json"
            case "hangs up":
                provider.text = None
            case "500":
                provider.status = 500
            case "no keys":
                provider.text = b'{"keys": []}'
            case "elsewhere":
                provider.status, provider.headers = 302, {"Location": url}
            case "endless":
                provider.text = b" " * 1_000_001
        asked = provider.asked
        clock.now += 3_600
        if broken != "down":
            await until(lambda: provider.asked >= asked + 2)
        assert verifier.viewer(token(iat=int(clock.now), exp=int(clock.now) + 60)).roles == ("talent",)
        clock.now += 24 * 3_600
        with pytest.raises(NoKeysError):
            verifier.viewer(token(iat=int(clock.now), exp=int(clock.now) + 60))
        provider.url, provider.text, provider.status, provider.headers = url, both_keys(), 200, {}
        await until(lambda: keys._read_at == clock.now)
        assert verifier.viewer(token(iat=int(clock.now), exp=int(clock.now) + 61)).roles == ("talent",)
        following.cancel()


async def test_ten_thousand_unknown_keys_are_one_fetch_and_hold_nobody_up(clock: Clock) -> None:
    with publishing(both_keys()) as provider:
        keys = FetchedKeys(lambda: fetch(provider.url, time.monotonic), clock)
        verifier = TokenVerifier(keys, RULES, clock)
        following = await followed(keys, cooldown_seconds=0.2, every_seconds=60.0)
        await until(lambda: not keys.is_empty)
        await asyncio.sleep(0.3)  # the cool-down of the first fetch
        flood = [f"{segment({'alg': 'RS256', 'kid': str(number)})}.e30.AA" for number in range(10_000)]
        slowest = 0.0
        begun = time.monotonic()
        for number, one in enumerate(flood):
            start = time.process_time()
            with pytest.raises(InvalidTokenError, match="not known here"):
                verifier.viewer(one)
            slowest = max(slowest, time.process_time() - start)
            if number % 100 == 0:
                await asyncio.sleep(0)
        took = time.monotonic() - begun
        await asyncio.sleep(0.05)
        assert 2 <= provider.asked <= 2 + took / 0.2 + 1
        assert slowest < 0.05
        assert len(verifier._kept) == 0
        following.cancel()


async def test_nobody_waits_while_keys_are_fetched(tmp_path: Path) -> None:
    with publishing(None) as provider:
        settings = Settings(auth="jwt", jwks_url=provider.url, issuer=ISSUER, audience=AUDIENCE)
        market = await open_market(tmp_path, settings)
        ask = {"query": "{ viewer { roles } }"}
        response = await market.client.post("/graphql", json=ask, headers={"Authorization": f"Bearer {token()}"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert "no token can be checked now" in response.text
        assert (await market.client.post("/graphql", json=ask)).status_code == 401
        await close_market(market)


HEADERS: list[list[tuple[str, str]]] = [
    [],
    [("Authorization", "")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer  ")],
    [("Authorization", "Basic dDE6eA==")],
    [("Authorization", "Bearer {0}"), ("Authorization", "Bearer {0}")],
    [("Authorization", "Bearer {0},Bearer {0}")],
    [("Authorization", "{0}")],
    [("X-Authorization", "Bearer {0}")],
    [("Cookie", "token={0}; Authorization=Bearer {0}")],
    [("X-Forwarded-Authorization", "Bearer {0}"), ("X-User", "admin"), ("X-Role", "admin")],
    [("Authorization", "Bearer {0}\t{0}")],
]


@pytest.fixture
def jwt_settings(tmp_path: Path) -> Settings:
    path = tmp_path / "keys.json"
    path.write_bytes(both_keys())
    return Settings(auth="jwt", jwks_url=path.as_uri(), issuer=ISSUER, audience=AUDIENCE)


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_a_token_counts_in_one_header_alone(
    tmp_path: Path, jwt_settings: Settings, headers: list[tuple[str, str]]
) -> None:
    access = build_access(jwt_settings, now_seconds=lambda: NOW)
    market = await open_market(tmp_path, jwt_settings, access=access)
    good = token()
    sent = httpx.Headers([(name, value.format(good)) for name, value in headers])
    ask = {"query": "{ viewer { roles } }"}
    for address in ("/graphql", f"/graphql?access_token={good}&token={good}&Authorization=Bearer%20{good}"):
        response = await market.client.post(address, json=ask, headers=sent)
        assert response.status_code == 401, response.text
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert good not in response.text
    response = await market.client.post("/graphql", json=ask, headers={"Authorization": f"bearer {good}"})
    assert response.json() == {"data": {"viewer": {"roles": ["talent"]}}}
    await close_market(market)


async def test_the_metrics_are_for_staff(tmp_path: Path, jwt_settings: Settings) -> None:
    market = await open_market(tmp_path, jwt_settings, access=build_access(jwt_settings, now_seconds=lambda: NOW))
    for role in ROLES:
        response = await market.client.get("/metrics", headers={"Authorization": f"Bearer {token(role=role)}"})
        assert response.status_code == (403 if role in ("talent", "client") else 200)
    await close_market(market)


# ---- The key in the data directory -----------------------------------------------------------------------------------


async def test_open_takes_tokens_of_its_own_key_and_refuses_every_other(tmp_path: Path) -> None:
    settings = Settings(auth="open", data_dir=tmp_path)
    market = await open_market(tmp_path, settings)
    key = open_signing_key(settings)
    now = int(time.time())

    async def roles(**headers: str) -> Any:
        response = await market.client.post("/graphql", json={"query": "{ viewer { roles } }"}, headers=headers)
        return response.json()["data"]["viewer"]["roles"] if response.status_code == 200 else response.status_code

    good = sign(key, settings, role="client", subject="c1", now_seconds=now, lifetime_seconds=600)
    assert await roles() == ["engineer"]
    assert await roles(Authorization=f"Bearer {good}") == ["client"]
    old = sign(key, settings, role="client", subject="c1", now_seconds=now - 7_200, lifetime_seconds=600)
    assert await roles(Authorization="") == ["engineer"]  # what an app sends that has no token yet
    for bad in (good + "x", old, token(), "Bearer", "Basic x"):
        assert await roles(Authorization=f"Bearer {bad}" if "." in bad else bad) == 401
    await close_market(market)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    first = open_signing_key(settings)
    assert open_signing_key(settings).jwk == first.jwk
    path = settings.data_dir / "token-key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in settings.data_dir.iterdir()) == ["token-key.pem", "token-keys.json"]
    assert "d" not in json.loads(public_path(settings).read_text())["keys"][0]
    path.chmod(0o640)
    with pytest.raises(Exception, match="chmod 600"):
        open_signing_key(settings)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(Exception, match="is no key"):
        open_signing_key(settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/keys",
        "ftp://127.0.0.1/keys",
        "keys.json",
        "file://host/keys",
        "https://",
        "https://[::1/keys",
        "data:application/json,{}",
    ],
)
def test_keys_come_by_tls_or_from_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_JWKS_URL", url)
    with pytest.raises(Exception, match=r"^TANDEM_JWKS_URL: allowed is "):
        load_settings()
    monkeypatch.setenv("TANDEM_JWKS_URL", "http://localhost:8080/keys")
    assert load_settings().jwks_path is None
