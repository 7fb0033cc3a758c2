"""How text becomes comparable: folding for filters, tokens for search. Every engine stores these tokens as they are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass


def fold(text: str) -> str:
    """The form in which strings are compared: NFC, casefolded, NFC again (casefolding can denormalise)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@dataclass(frozen=True, slots=True)
class Token:
    """A searchable term and where it stands in the original text (end exclusive)."""

    text: str
    start: int
    end: int


# A leading dot (.net), inner dots (node.js), inner plus and hash, and trailing + and # (c++, c#, f#) belong to a word.
_WORD = re.compile(r"\.?\w+(?:[.+#]+\w+)*[+#]*", re.UNICODE)


def tokens(text: str) -> Iterator[Token]:
    """Terms of a text in order: NFKD-folded without combining marks; keeps `c++ c# .net node.js` whole.

    Source: the token rules are ours, so that engines which store them as opaque terms find the same documents.
    """
    for match in _WORD.finditer(text):
        term = "".join(
            char for char in unicodedata.normalize("NFKD", match[0].casefold()) if not unicodedata.combining(char)
        )
        if term.strip("._"):
            yield Token(term, match.start(), match.end())


def terms(text: str) -> list[str]:
    """The distinct terms of a text, in order of first sight."""
    return list(dict.fromkeys(token.text for token in tokens(text)))
