"""The failures that the domain knows, each the fault of one party. The gateway maps them to answers in one table."""

from __future__ import annotations

from collections.abc import Mapping


class TandemError(Exception):
    """Base of every failure that is expected and has a text fit for its reader."""


class BadInputError(TandemError):
    """The caller's fault. The text says what was allowed and what came."""


class RefusedDocumentsError(BadInputError):
    """Documents that an index cannot hold. `reasons` are by id, the first thousand of `count`."""

    def __init__(self, count: int, reasons: Mapping[str, str]) -> None:
        name, why = next(iter(reasons.items()))
        super().__init__(f"{count:,} documents cannot be indexed, such as {name!r}: {why}")
        self.count = count
        self.reasons = reasons


class ConflictError(TandemError):
    """The same event id came again with other content."""


class UnavailableError(TandemError):
    """A dependency cannot answer now. `part` is its port: "catalogue", "event log", "model store"."""

    def __init__(self, part: str, why: str = "") -> None:
        super().__init__(f"{part} is unavailable" + (f": {why}" if why else ""))
        self.part = part


class AwayError(UnavailableError):
    """The dependency does not answer now, and nothing says that it will not by itself: worth waiting for."""


class NoModelError(TandemError):
    """There is no published model yet."""


class ModelRefusedError(TandemError):
    """A model on disk is torn, altered, of another schema or not finite: it must not serve."""


class CursorExpiredError(TandemError):
    """A cursor's pins can no longer be honoured: it is older than 24 hours or its model is gone."""
