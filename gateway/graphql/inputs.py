"""What inputs have in common: what an absent value is, and how much is too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from strawberry import UNSET

from recommender.errors import BadInputError

MAX_TERMS = 1_000  # in one list of a filter
MAX_TERM = 256  # characters
MAX_QUERY = 1_000  # characters of a text query
MAX_PAGE = 100

_T = TypeVar("_T")


def given(value: _T | None) -> _T | None:
    """The value, with "absent" as None: for inputs where both mean the same."""
    return None if value is UNSET else value


def page_size(first: int | None, default: int, *, name: str = "first") -> int:
    """How many to list. Raises BadInputError outside 1 to 100."""
    wanted = given(first)
    if wanted is None:
        return default
    if not 1 <= wanted <= MAX_PAGE:
        raise BadInputError(f"{name} must be between 1 and {MAX_PAGE}; got {wanted}")
    return wanted


@dataclass(frozen=True, slots=True)
class Window:
    """Which page of a list: `size` items behind a cursor, or those that lead up to one. None: from that end."""

    size: int
    cursor: str | None
    is_backward: bool = False

    @property
    def cursor_name(self) -> str:
        """The argument that it came in."""
        return "before" if self.is_backward else "after"


def window(first: int | None, after: str | None, last: int | None, before: str | None, default: int = 20) -> Window:
    """The page that was asked for. Raises BadInputError for one that goes both ways.

    `first` has a default in the schema, which is why it cannot contradict `last`.
    """
    if given(last) is None:
        if given(before) is not None:
            raise BadInputError("before goes with `last`: how many that lead up to it; with `first` send `after`")
        return Window(page_size(first, default), given(after))
    if given(after) is not None:
        raise BadInputError("after goes with `first`: send `last` with `before`, or neither of the two cursors")
    return Window(page_size(last, default, name="last"), given(before), is_backward=True)


def query_text(query: str | None) -> str | None:
    """The text to search for; None when there is none."""
    text = given(query) or None
    if text is not None and len(text) > MAX_QUERY:
        raise BadInputError(f"query: at most {MAX_QUERY} characters; got {len(text)}")
    return text


def terms(values: Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Strings to compare with; null is none. Raises BadInputError for too many or too long ones."""
    found = tuple(given(values) or ())
    if len(found) > MAX_TERMS:
        raise BadInputError(f"{what}: at most {MAX_TERMS} values; got {len(found)}")
    longest = max((len(value) for value in found), default=0)
    if longest > MAX_TERM:
        raise BadInputError(f"{what}: a value has at most {MAX_TERM} characters; got {longest}")
    return found
