"""The log: one form for our own lines and a library's."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

from gateway.logs import set_up_logs
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, sys
import structlog
from gateway.logs import set_up_logs
from gateway.settings import load_settings

set_up_logs(load_settings(log_format=sys.argv[1], log_level="info"))
log = structlog.get_logger("tandem.test")
log.debug("too little to say")
log.info("list served", talent_id="t1", took_ms=1.5)
logging.getLogger("a.library").warning("slow: %s", "disk")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("request failed")
"""


def _lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_has_a_line_per_event_with_its_fields() -> None:
    ours, theirs, failed = (json.loads(line) for line in _lines("json"))
    assert (ours["event"], ours["level"], ours["talent_id"], ours["took_ms"]) == ("list served", "info", "t1", 1.5)
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("slow: disk", "warning")
    assert failed["event"] == "request failed"
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_auto_is_json_where_there_is_no_terminal() -> None:
    assert json.loads(_lines("auto")[0])["event"] == "list served"


def test_console_is_for_people() -> None:
    lines = _lines("console")
    assert "list served" in lines[0]
    assert "talent_id" in lines[0]
    assert not lines[0].startswith("{")


def test_the_client_of_elasticsearch_writes_no_line_for_every_round_trip() -> None:
    client = logging.getLogger("elastic_transport")
    before = client.level
    try:
        set_up_logs(Settings(log_level="info"))
        assert not logging.getLogger("elastic_transport.transport").isEnabledFor(logging.INFO)
        set_up_logs(Settings(log_level="debug"))
        assert logging.getLogger("elastic_transport.transport").isEnabledFor(logging.DEBUG)
    finally:
        client.setLevel(before)
