"""Highlights of a search: pieces of text with ranges, so that every client marks them as it likes."""

from __future__ import annotations

import strawberry

from recommender import highlights as domain
from recommender.documents import Document
from recommender.highlights import HighlightField


@strawberry.type(description="A stretch of a text, e.g. `{ start: 0, end: 3 }` is `C++` in `C++ engineer`.")
class TextRange:
    """In UTF-16 code units, which JavaScript, Kotlin, Java and Swift's NSString count."""

    start: int = strawberry.field(description="Its first UTF-16 code unit, from 0, e.g. for `text.slice(start, end)`.")
    end: int = strawberry.field(description="The UTF-16 code unit behind its last, e.g. `3`.")


@strawberry.type(
    description="Where a document says what was searched for: plain text and ranges, no markup, "
    'e.g. `{ field: TITLE, text: "C++ engineer", ranges: [{ start: 0, end: 3 }] }`.'
)
class Highlight:
    """Becomes from recommender.highlights.Highlight."""

    field: HighlightField = strawberry.field(description="Which field the text is of, e.g. `DESCRIPTION`.")
    text: str = strawberry.field(description="The title, a skill, or a piece of them or of the description, e.g. `…`.")
    ranges: list[TextRange] = strawberry.field(description="The words of the query in it, in order, e.g. one or more.")
    has_more_before: bool = strawberry.field(description="Whether text is left out before, e.g. to show an ellipsis.")
    has_more_after: bool = strawberry.field(description="Whether text is left out behind, e.g. to show an ellipsis.")


def highlights_from(document: Document, query: str | None) -> list[Highlight]:
    """The highlights of a document for a query."""
    return [
        Highlight(
            field=one.field,
            text=one.text,
            ranges=[TextRange(start=_utf16(one.text, start), end=_utf16(one.text, end)) for start, end in one.ranges],
            has_more_before=one.has_more_before,
            has_more_after=one.has_more_after,
        )
        for one in domain.highlights(document, query)
    ]


def _utf16(text: str, at: int) -> int:
    """A place in characters as one in UTF-16 code units: characters beyond U+FFFF take two."""
    return at if text.isascii() else len(text[:at].encode("utf-16-le")) // 2
