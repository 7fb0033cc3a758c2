"""How the log looks: constant messages with fields on stderr, for a person on a terminal, as JSON elsewhere."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from typing import Final, TextIO

import structlog

from gateway import instruments
from gateway.settings import Settings

QUEUED_LINES: Final = 10_000  # some megabytes; more are dropped, and counted
FLUSH_SECONDS: Final = 1.0  # that the end of the process waits for whoever reads stderr
REPEATED: Final = 20  # lines of one message in one window; the next one that is written says how many were not
WINDOW_SECONDS: Final = 10.0
KEPT_MESSAGES: Final = 1_000
ALWAYS: Final = "request"  # a line for each request that did not go well is what one looks for


def set_up_logs(settings: Settings, *, may_block: bool = True) -> None:
    """Send our own log and that of every library to stderr in one form. Called once, by a command.

    may_block: False for who must not wait for the reader of stderr.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    descriptor = None if may_block else _descriptor(sys.stderr)
    handler = logging.StreamHandler(sys.stderr) if descriptor is None else QueuedHandler(descriptor)
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # At info the client of Elasticsearch writes a line for every round trip, several for a request; as a warning, one
    # for every failure, beside the error that says more about it.
    logging.getLogger("elastic_transport").setLevel(level if level <= logging.DEBUG else max(level, logging.ERROR))


def _descriptor(stream: TextIO) -> int | None:
    """What to write to; None for a stream that is no file, which makes nobody wait."""
    try:
        return stream.fileno()
    except OSError:
        return None


class QueuedHandler(logging.Handler):
    """Writes lines on a thread of its own, so that nobody waits for a reader that has stopped; what is too much is
    dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(QUEUED_LINES)
        # A daemon, and past Python's own buffers: a pipe that nobody reads must not keep the process from ending.
        self._writer = threading.Thread(target=self._write, name="tandem-log", daemon=True)
        self._writer.start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        try:
            self._lines.put_nowait(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except queue.Full:
            instruments.LOG_DROPPED.labels("blocked").inc()
        except Exception:  # noqa: BLE001 — as every handler does
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, but not for long. May be called twice."""
        atexit.unregister(self.close)
        try:
            self._lines.put(None, timeout=FLUSH_SECONDS)
        except queue.Full:
            pass
        else:
            self._writer.join(FLUSH_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            while line:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except BlockingIOError:  # somebody made the pipe non-blocking
                    time.sleep(0.01)
                except OSError:  # the reader is gone for good
                    instruments.LOG_DROPPED.labels("blocked").inc()
                    break


class Repeats(logging.Filter):
    """Keeps one message from drowning the others: so many lines of it in a window, and then how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], list[float]] = {}  # when its window began, lines in it, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        fields = record.msg if isinstance(record.msg, dict) else {}
        message = str(fields.get("event", record.msg))
        if message == ALWAYS:
            return True
        now = time.monotonic()
        if len(self._seen) > KEPT_MESSAGES:
            self._seen.clear()
        seen = self._seen.setdefault((record.name, message), [now, 0, 0])
        if now - seen[0] > WINDOW_SECONDS:
            seen[0], seen[1] = now, 0
        seen[1] += 1
        if seen[1] > REPEATED:
            seen[2] += 1
            instruments.LOG_DROPPED.labels("repeated").inc()
            return False
        if seen[2]:
            fields["not_logged"] = int(seen[2])
            seen[2] = 0
        return True
