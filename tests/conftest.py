"""What holds for every test: in CI none is skipped, and none leaves its log set up for the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
import structlog

from gateway.logs import QueuedHandler
from tests.elasticsearch_server import elasticsearch_url, kept_namespace, namespace

__all__ = ["elasticsearch_url", "kept_namespace", "namespace"]

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _unskipped((yield))


def _unskipped(report: Report) -> Report:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"Skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    # A command run in the test's process sets up the log of the whole process, on a stderr that ends with the test.
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers.copy():
        if type(handler) in (logging.StreamHandler, QueuedHandler):
            root.removeHandler(handler)
    structlog.reset_defaults()
