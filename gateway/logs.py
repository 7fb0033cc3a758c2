"""How the log looks: constant messages with fields on stderr, for a person on a terminal, as JSON elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog

from gateway.settings import Settings


def set_up_logs(settings: Settings) -> None:
    """Send our own log and that of every library to stderr in one form. Called once, by a command."""
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
    handler = logging.StreamHandler(sys.stderr)
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
