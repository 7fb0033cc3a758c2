"""Bodies that are no request, sent to a running server: `python -m tests.gateway.hostile_bodies URL PID… [--number N]`.

Prints what each is answered with, and what the memory of the processes grew by; N documents and N ids of persisted
operations that each come once are sent, too.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import orjson

JSON: Final = {"Content-Type": "application/json"}
MILLION: Final = 1_000_000
_ROLES = '{"query": "{ viewer { roles } }"'

# Name, bytes, headers beside JSON's.
BODIES: Final[tuple[tuple[str, bytes, dict[str, str]], ...]] = (
    ("48 MB", b'{"query": "' + b"x" * (48 * MILLION) + b'"}', {}),
    ("an array 100,000 deep", b"[" * 100_000, {}),
    ("an object 5,000 deep", b'{"query": ' * 5_000 + b"1" + b"}" * 5_000, {}),
    (
        "variables 5,000 deep",
        b'{"query": "{ __typename }", "variables": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        {},
    ),
    ("no UTF-8", b'{"query": "\xff\xfe"}', {}),
    ("an integer of 100,000 digits", _ROLES.encode() + b', "variables": {"a": ' + b"9" * 100_000 + b"}}", {}),
    ("NaN", _ROLES.encode() + b', "variables": {"a": NaN}}', {}),
    ("1e999", _ROLES.encode() + b', "variables": {"a": 1e999}}', {}),
    ("a text", b'"{ viewer { roles } }"', {}),
    ("a number", b"7", {}),
    ("null", b"null", {}),
    ("nothing", b"", {}),
    ("half of it", b'{"query": "{ viewer', {}),
    ("a key twice", b'{"query": "{ viewer { roles } }", "query": "{ __typename }"}', {}),
    ("a query that is a number", b'{"query": 7}', {}),
    ("variables that are an array", _ROLES.encode() + b', "variables": []}', {}),
    ("extensions that are a text", _ROLES.encode() + b', "extensions": "x"}', {}),
    ("persistedQuery that is a text", _ROLES.encode() + b', "extensions": {"persistedQuery": "x"}}', {}),
    ("text/plain", _ROLES.encode() + b"}", {"Content-Type": "text/plain"}),
    ("a form", b"query=%7B__typename%7D", {"Content-Type": "application/x-www-form-urlencoded"}),
    ("a file", b"--b\r\n\r\nx\r\n--b--", {"Content-Type": "multipart/form-data; boundary=b"}),
    ("UTF-16", (_ROLES + "}").encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}),
    ("a gzip bomb", gzip.compress(b"[" * (50 * MILLION)), {"Content-Encoding": "gzip"}),
    ("20,000 operations", b"[" + b",".join([_ROLES.encode() + b"}"] * 20_000) + b"]", {}),
    (
        "50,000 ids",
        orjson.dumps(
            {
                "query": "query($ids: [ID!]!) { jobs(filter: {ids: $ids}) { totalCount } }",
                "variables": {"ids": [f"j{number}" for number in range(50_000)]},
            }
        ),
        {},
    ),
    (
        "a NUL",
        b'{"query": "query($i: ID!) { talent(talentId: $i) { title } }", "variables": {"i": "a\\u0000b"}}',
        {},
    ),
    (
        "half a surrogate pair",
        b'{"query": "query($i: ID!) { talent(talentId: $i) { title } }", "variables": {"i": "\\ud800"}}',
        {},
    ),
)


def answers(client: httpx.Client, url: str) -> Iterator[tuple[str, int, bytes]]:
    """What each body is answered with; status 0 where the connection was ended."""
    for name, body, headers in BODIES:
        try:
            answer = client.post(f"{url}/graphql", content=body, headers=JSON | headers)
            yield name, answer.status_code, answer.content
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError, httpx.LocalProtocolError):
            yield name, 0, b""


def ask_once_each(client: httpx.Client, url: str, first: int, end: int) -> Counter[int]:
    """How often each status came for documents, valid and not, and for ids that nothing is known by."""
    statuses: Counter[int] = Counter()
    for number in range(first, end):
        field = "roles" if number % 2 else "rolez"
        for body in (
            {"query": f"{{ a{number}: viewer {{ {field} }} }}"},
            {"documentId": f"unknown{number}"},
            {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": f"{number:064x}"}}},
        ):
            statuses[client.post(f"{url}/graphql", json=body).status_code] += 1
    return statuses


def resident_bytes(pids: list[int]) -> int:
    """Memory of processes, together."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4_096 for pid in pids)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("pids", nargs="*", type=int)
    parser.add_argument("--number", type=int, default=10_000)
    given = parser.parse_args()
    with httpx.Client(timeout=60) as client:
        ask_once_each(client, given.url, 0, 500)
        begun = resident_bytes(given.pids)
        for name, status, text in answers(client, given.url):
            sys.stdout.write(f"{status:4}  {name:36} {text[:90]!r}\n")
        of_bodies = resident_bytes(given.pids)
        statuses = ask_once_each(client, given.url, 500, 500 + given.number)
        of_once = resident_bytes(given.pids)
    sys.stdout.write(
        f"memory: bodies {(of_bodies - begun) / 1e6:+.1f} MB, asked once {(of_once - of_bodies) / 1e6:+.1f} MB\n"
    )
    sys.stdout.write(f"asked once: {dict(statuses)}\n")


if __name__ == "__main__":
    _main()
