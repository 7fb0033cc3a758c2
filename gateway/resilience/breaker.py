"""When a dependency is asked and when it is left alone: a state machine without a clock."""

from __future__ import annotations

import enum
from typing import Final

IN_A_ROW: Final = 5  # failures that open it
RECENT: Final = 20  # outcomes that are remembered
MOST_OF_RECENT: Final = 10  # failures among them that open it, too: of a dependency that answers now and then


class State(enum.Enum):
    """Of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one question that no request waits for is under way


class Breaker:
    """Opens on failures, and closes when a probe has succeeded. What was asked before it opened no longer counts."""

    def __init__(self, *, in_a_row: int = IN_A_ROW, most_of_recent: int = MOST_OF_RECENT) -> None:
        self.state = State.CLOSED
        self._row = (1 << in_a_row) - 1
        self._most = most_of_recent
        self._failures = 0  # a bit per outcome, the newest the lowest

    @property
    def is_closed(self) -> bool:
        """Whether the dependency may be asked."""
        return self.state is State.CLOSED

    def succeed(self) -> None:
        """It has answered."""
        self._failures = self._failures << 1 & (1 << RECENT) - 1

    def fail(self) -> bool:
        """It has not; whether that was one failure too many."""
        if self.state is not State.CLOSED:
            return False
        self._failures = (self._failures << 1 | 1) & (1 << RECENT) - 1
        if self._failures & self._row == self._row or self._failures.bit_count() >= self._most:
            self.state = State.OPEN
        return self.state is State.OPEN

    def begin_probe(self) -> None:
        """It is asked once."""
        self.state = State.HALF_OPEN

    def end_probe(self, *, succeeded: bool) -> None:
        """It has answered that question, or it has not."""
        self.state = State.CLOSED if succeeded else State.OPEN
        self._failures = 0
