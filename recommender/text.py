"""How text becomes comparable: folding for filters, tokens for search. Every engine stores these tokens as they are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Longer words are cut, in documents and in queries alike: engines refuse or cut terms of some kilobytes.
MAX_TERM_CHARACTERS = 128


def fold(text: str) -> str:
    """The form in which strings are compared: NFC, casefolded, NFC again (casefolding can denormalise)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@dataclass(frozen=True, slots=True)
class Token:
    """A searchable term and where it stands in the original text (end exclusive)."""

    text: str
    start: int
    end: int


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_" or unicodedata.category(char).startswith("M")


def _fold_character(char: str) -> str:
    """What one character contributes to terms: word characters, one of `.+#`, a space (a boundary) or nothing."""
    if char in ".+#":
        return char
    category = unicodedata.category(char)
    if category == "Cf" and char != "\u200b":
        return ""  # soft hyphens and joiners stand inside words; only the zero-width space divides
    if not _in_word(char):
        return " "
    folded, before = char, ""
    while folded != before:  # ℌ decomposes to a capital, ﬃ and ẞ fold to several: until nothing changes any more
        before, folded = folded, unicodedata.normalize("NFKD", folded.casefold())
    kept = "".join(part for part in folded if _in_word(part) and not unicodedata.combining(part))
    # Chinese and Japanese put no spaces between words: each ideograph and kana is a term of its own.
    return f" {kept} " if _is_ideograph(char) else kept


def _is_ideograph(char: str) -> bool:
    return (
        "\u3040" <= char <= "\u30ff"
        or "\u3400" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or char >= "\U00020000"
    )


class _FoldTable(dict[int, str]):
    """`str.translate` table that learns each character at first sight. Bounded by the size of Unicode."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = folded = _fold_character(chr(codepoint))
        return folded


_FOLDED = _FoldTable()

# In folded text everything but a space and `.+#` belongs to a word. A leading dot (.net) and single inner dots
# (node.js) do too, and after a letter (not a digit: "5+ years") `++`, `#`, and a `+` that ends a word (c++, c#, a+).
_WORD = re.compile(r"(?:(?<!\.)\.)?[^ .+#]+(?:\.[^ .+#]+)*(?:(?<![0-9])(?:\+\++|#|\+(?![^ .+#])))?")


def _is_term(word: str) -> bool:
    return bool(word.strip("._"))


def tokens(text: str) -> Iterator[Token]:
    """Terms of a text in order: NFKD-folded without combining marks; keeps `c++ c# .net node.js` whole.

    Source: the token rules are ours, so that engines which store them as opaque terms find the same documents.
    """
    pieces = [_FOLDED[ord(char)] for char in text]
    origin = [place for place, piece in enumerate(pieces) for _ in piece]
    for match in _WORD.finditer("".join(pieces)):
        if _is_term(match[0]):
            end = origin[match.end() - 1] + 1
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1  # marks that folding dropped still belong to the word that is shown
            yield Token(match[0][:MAX_TERM_CHARACTERS], origin[match.start()], end)


def terms(text: str) -> list[str]:
    """The distinct terms of a text, in order of first sight."""
    words = dict.fromkeys(_WORD.findall(text.translate(_FOLDED)))
    return list(dict.fromkeys(word[:MAX_TERM_CHARACTERS] for word in words if _is_term(word)))
