"""Folding for filters and tokens for search."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.text import MAX_TERM_CHARACTERS, fold, terms, tokens


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Straße", "STRASSE"),
        ("ẞ", "ß"),
        ("caf\u00e9", "cafe\u0301"),
        ("CAF\u00c9", "cafe\u0301"),
        ("İ", "i\u0307"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("\u212b", "å"),
    ],
)
def test_strings_that_a_person_takes_for_equal_fold_alike(left: str, right: str) -> None:
    assert fold(left) == fold(right)


def test_folding_keeps_accents_because_filters_compare_values_not_searches() -> None:
    assert fold("resume") != fold("résumé")


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_folding_ignores_the_form_of_composition(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C++ / C# developer", ["c++", "c#", "developer"]),
        ("C/C++", ["c", "c++"]),
        (".NET, ASP.NET and C#.NET", [".net", "asp.net", "and", "c#"]),
        ("Node.js. Vue.js!", ["node.js", "vue.js"]),
        ("(node.js)", ["node.js"]),
        ("HTML+CSS", ["html", "css"]),
        ("5+ years", ["5", "years"]),
        ("CompTIA A+", ["comptia", "a+"]),
        ("wait...what", ["wait", "what"]),
        ("state-of-the-art", ["state", "of", "the", "art"]),
        ("Straße STRASSE", ["strasse"]),
        ("cafe\u0301s CAFÉS", ["cafes"]),
        ("İstanbul", ["istanbul"]),
        ("\u210cello ﬃ Ⅳ", ["hello", "ffi", "iv"]),
        ("co\u00adoperate", ["cooperate"]),
        ("#1 ++ ... _ . ''", ["1"]),
        ("软件", ["软", "件"]),
        ("हिन्दी", ["हिनदी"]),
        ("⑴", ["1"]),
        ("\ufdfa", terms("\ufdfa")),
        ("", []),
    ],
)
def test_terms_of_real_words(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_tokens_point_at_the_original_text() -> None:
    text = "Wir suchen: Cafe\u0301-Leitung (Großküche)"
    assert [text[token.start : token.end] for token in tokens(text)] == [
        "Wir",
        "suchen",
        "Cafe\u0301",
        "Leitung",
        "Großküche",
    ]


def test_endless_words_are_cut_alike_in_documents_and_queries() -> None:
    assert terms("x" * 1_000) == ["x" * MAX_TERM_CHARACTERS]


@given(st.text())
def test_tokens_and_terms_agree(text: str) -> None:
    assert list(dict.fromkeys(token.text for token in tokens(text))) == terms(text)
    assert all(0 <= token.start < token.end <= len(text) for token in tokens(text))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_term_holds_nothing_that_an_engine_could_split_or_fold(text: str) -> None:
    for term in terms(text):
        assert all(char.isalnum() or char in "_.+#" or unicodedata.category(char)[0] == "M" for char in term)
        assert terms(term) == [term]


@given(st.text())
def test_the_form_of_composition_does_not_change_terms(text: str) -> None:
    assert terms(unicodedata.normalize("NFD", text)) == terms(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(codec="ascii")))
def test_case_does_not_change_terms(text: str) -> None:
    assert terms(text.upper()) == terms(text.lower())
