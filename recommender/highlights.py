"""Where a document says what was searched for: short pieces of its texts, with the places of the terms in them."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recommender.documents import Document
from recommender.text import Token, terms, tokens

PIECE_CHARACTERS = 160  # two lines on a telephone
CONTEXT_CHARACTERS = 40  # before the first term of a piece
MOST_PIECES = 8  # of one field
SCANNED_CHARACTERS = 20_000  # of one field: ten times a long description; 8 ms


class HighlightField(enum.Enum):
    """The fields that a text search looks at."""

    TITLE = "TITLE"
    SKILLS = "SKILLS"
    DESCRIPTION = "DESCRIPTION"


@dataclass(frozen=True, slots=True)
class Highlight:
    """A piece of a field, cut between words.

    ranges: the terms in `text`, in order, as offsets in characters, end exclusive. has_more_before, has_more_after:
    whether the field's text goes on there.
    """

    field: HighlightField
    text: str
    ranges: tuple[tuple[int, int], ...]
    has_more_before: bool
    has_more_after: bool


def highlights(document: Document, query: str | None) -> list[Highlight]:
    """The pieces that have terms of the query: title, each skill, description; in reading order.

    Every term that a field has is in one of its pieces, as long as it has no more than MOST_PIECES of them and they
    stand within its first SCANNED_CHARACTERS. Terms are those that the search compares, so every engine gives the same.
    """
    wanted = frozenset(terms(query or ""))
    if not wanted:
        return []
    fields = (
        (HighlightField.TITLE, (document.title or "",)),
        (HighlightField.SKILLS, document.skills),
        (HighlightField.DESCRIPTION, (document.description or "",)),
    )
    return [piece for field, texts in fields for piece in _of_field(field, texts, wanted)]


def _of_field(field: HighlightField, texts: Sequence[str], wanted: frozenset[str]) -> list[Highlight]:
    found: list[tuple[Highlight, frozenset[str]]] = []
    left = SCANNED_CHARACTERS
    for text in texts:
        found += _pieces(field, text, wanted, left)
        left -= len(text)
        if left <= 0:
            break
    chosen: list[int] = []
    missing = set[str]().union(*(said for _, said in found))
    while len(chosen) < min(MOST_PIECES, len(found)):
        # First what says most that no chosen piece says, then what comes first.
        best = max(
            (place for place in range(len(found)) if place not in chosen), key=lambda p: len(found[p][1] & missing)
        )
        chosen.append(best)
        missing -= found[best][1]
    return [found[place][0] for place in sorted(chosen)]


def _pieces(
    field: HighlightField, text: str, wanted: frozenset[str], most: int
) -> Iterator[tuple[Highlight, frozenset[str]]]:
    """Every piece of a text that has a term, with its terms. They don't overlap."""
    words = list(tokens(text[:most]))
    if words and most < len(text) and words[-1].end == most:
        words.pop()  # it may go on
    first, end = 0, 0
    while (hit := next((at for at in range(first, len(words)) if words[at].text in wanted), None)) is not None:
        start, first = _start(words, first, hit, end)
        last = hit
        while last + 1 < len(words) and words[last + 1].end <= start + PIECE_CHARACTERS:
            last += 1
        end = min(words[last].end, start + 2 * PIECE_CHARACTERS)  # one word can be as long as it likes
        if last == len(words) - 1 and len(text) <= start + PIECE_CHARACTERS:
            end = len(text)
        marked = [word for word in words[first : last + 1] if word.text in wanted]
        ranges = tuple((word.start - start, min(word.end, end) - start) for word in marked)
        piece = Highlight(field, text[start:end], ranges, start > 0, end < len(text))
        yield piece, frozenset(word.text for word in marked)
        first = last + 1


def _start(words: Sequence[Token], first: int, hit: int, end: int) -> tuple[int, int]:
    """Where a piece begins, and its first word: at the text's begin, else at a word after the piece before."""
    while words[first].start < words[hit].start - CONTEXT_CHARACTERS:
        first += 1
    return (0 if end == 0 and first == 0 and words[0].start <= CONTEXT_CHARACTERS else words[first].start), first
