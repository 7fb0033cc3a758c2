"""What inputs have in common: what an absent value is, and how much is too much."""

from __future__ import annotations

from collections.abc import Sequence
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
