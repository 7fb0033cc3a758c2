"""The log: nobody waits for its reader, nothing drowns, and what did not go well is kept."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest
import structlog

from gateway import instruments
from gateway.http import observation
from gateway.logs import QUEUED_LINES, REPEATED, QueuedHandler, Repeats
from tests.gateway.served_market import ServedMarket

QUERY = "{ viewer { roles } }"


def dropped(reason: str) -> float:
    return instruments.LOG_DROPPED.labels(reason)._value.get()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reads, writes = os.pipe()
    yield reads, writes
    os.close(reads)
    os.close(writes)


def record(message: object) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, __file__, 1, message, None, None)


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    handler = QueuedHandler(pipe[1])
    for number in range(100):
        handler.emit(record(f"line {number} …"))
    handler.close()
    assert os.read(pipe[0], 100_000).decode().splitlines() == [f"line {number} …" for number in range(100)]


def test_a_reader_that_has_stopped_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    handler, before = QueuedHandler(pipe[1]), dropped("blocked")
    line = record("x" * 100_000)  # more than a pipe holds
    slowest = 0.0
    for _ in range(QUEUED_LINES + 500):
        start = time.perf_counter()
        handler.emit(line)
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5
    assert 400 <= dropped("blocked") - before <= 500
    handler._lines.queue.clear()  # so that the rest of the test need not read a gigabyte
    handler._lines.put(None)
    os.read(pipe[0], 1_000_000)
    handler.close()


WITHOUT_A_READER = """
    import os, structlog
    from gateway.logs import set_up_logs
    from gateway.settings import Settings
    set_up_logs(Settings(log_format="json"), may_block=False)
    log = structlog.get_logger("test")
    for number in range(3_000):
        log.info("request", number=number, text="x" * 200)
    print("done", flush=True)
"""


def test_a_process_ends_even_if_nobody_reads_its_log(pipe: tuple[int, int]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", dedent(WITHOUT_A_READER)], stdout=subprocess.PIPE, stderr=pipe[1], timeout=30, check=True
    )
    assert ran.stdout == b"done\n"


def test_a_message_that_repeats_is_counted_instead_of_written(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("gateway.logs.time.monotonic", lambda: now[0])
    repeats, before = Repeats(), dropped("repeated")
    written = [repeats.filter(record({"event": "part unavailable"})) for _ in range(REPEATED + 30)]
    assert (sum(written), dropped("repeated") - before) == (REPEATED, 30)
    assert repeats.filter(record({"event": "another"}))
    assert all(repeats.filter(record({"event": "request"})) for _ in range(100))
    now[0] = 11.0
    later = record({"event": "part unavailable"})
    assert repeats.filter(later)
    assert later.msg == {"event": "part unavailable", "not_logged": 30}  # type: ignore[comparison-overlap]


def test_made_up_messages_do_not_pile_up() -> None:
    repeats = Repeats()
    for number in range(3_000):
        repeats.filter(record(f"message {number}"))
    assert len(repeats._seen) <= 1_001


async def logged(market: ServedMarket, query: str, **headers: str) -> list[dict[str, Any]]:
    with structlog.testing.capture_logs() as lines:
        await market.ask(query, **headers)
    return [line for line in lines if line["event"] == "request"]


async def test_what_went_well_is_logged_now_and_then_and_a_failure_always(
    market: ServedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = [await logged(market, QUERY, **{"X-Request-Id": f"id-{number}"}) for number in range(300)]
    levels = [line["log_level"] for lines in quiet for line in lines]
    assert 0 < levels.count("info") < 15
    market.catalogue.failing["get_many"] = ValueError("boom")
    for number in range(5):
        (line,) = await logged(market, '{ talent(talentId: "t1") { title } }', **{"X-Request-Id": f"id-{number}"})
        assert (line["log_level"], line["outcome"], line["status"]) == ("info", "error", 200)
    monkeypatch.setattr(observation, "LOGGED_SHARE", 0)
    (line,) = await logged(market, QUERY)
    assert line["log_level"] == "debug"


async def test_a_line_says_which_trace_and_nothing_of_what_was_asked(market: ServedMarket) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    (line,) = await logged(market, '{ talent(talentId: "s3cret") { title } }', traceparent=traceparent)
    assert line["request_id"] == "0af7651916cd43dd8448eb211c80319c"
    (both,) = await logged(market, QUERY, **{"traceparent": traceparent, "X-Request-Id": "mine"})
    assert (both["request_id"], both["trace_id"]) == ("mine", "0af7651916cd43dd8448eb211c80319c")
    assert "s3cret" not in json.dumps(line)
    assert set(line) == {"event", "log_level", "route", "status", "outcome", "ms", "request_id", "operation"}
