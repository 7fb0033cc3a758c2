"""Highlights: what is marked is what was searched for, all of it, and no more text than fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recommender.documents import Job
from recommender.highlights import MOST_PIECES, PIECE_CHARACTERS, SCANNED_CHARACTERS, HighlightField, highlights
from recommender.text import terms

TITLE, SKILLS, DESCRIPTION = HighlightField


def job(title: str | None = None, skills: tuple[str, ...] = (), description: str | None = None) -> Job:
    return Job(ordinal=1, job_id="j", title=title, skills=skills, description=description)


def marked(document: Job, query: str) -> list[tuple[HighlightField, str]]:
    """Every piece with its terms in brackets."""
    found = []
    for one in highlights(document, query):
        text, at = "", 0
        for start, end in one.ranges:
            text += f"{one.text[at:start]}[{one.text[start:end]}]"
            at = end
        more = ("…" if one.has_more_before else "", "…" if one.has_more_after else "")
        found.append((one.field, more[0] + text + one.text[at:] + more[1]))
    return found


def test_terms_are_marked_in_each_field_as_they_stand_there() -> None:
    document = job("Senior C++/Node.js Engineer", ("C", "C++", "node.JS"), "We like c++, not C. (Ｎｏｄｅ.js!)")
    assert marked(document, "NODE.js c++") == [
        (TITLE, "Senior [C++]/[Node.js] Engineer"),
        (SKILLS, "[C++]"),
        (SKILLS, "[node.JS]"),
        (DESCRIPTION, "We like [c++], not C. ([Ｎｏｄｅ.js]!)"),
    ]
    assert highlights(document, None) == highlights(document, "  !") == highlights(job(), "go") == []


def test_a_long_text_is_cut_between_words_around_what_was_searched_for() -> None:
    filler = "lorem ipsum " * 30
    found = marked(job(description=f"{filler}Go {filler}and Zürich. {filler}"), "go zurich")
    assert found == [
        (DESCRIPTION, "…lorem ipsum lorem ipsum lorem ipsum [Go]" + " lorem ipsum" * 10 + "…"),
        (DESCRIPTION, "…lorem ipsum lorem ipsum lorem ipsum and [Zürich]." + " lorem ipsum" * 9 + "…"),
    ]


def test_a_term_that_comes_once_is_shown_though_another_fills_every_piece() -> None:
    text = ("go " + "x " * 100) * 20 + "rust"
    found = highlights(job(description=text), "go rust")
    assert len(found) == MOST_PIECES
    assert {found[-1].text[start:end] for start, end in found[-1].ranges} == {"rust"}


def test_only_the_beginning_of_a_very_long_text_is_looked_at_and_no_word_is_cut() -> None:
    text = "x" * (SCANNED_CHARACTERS - 3) + " goldberg go"
    assert highlights(job(description=text), "go") == []


words = st.sampled_from(
    ["go", "Go!", "C++", "c#", ".NET", "node.js", "Zürich", "e\u0301t\u0301e", "日本", "😀", "ﬁn", "\u00ad", "x"]
)
texts = st.lists(words | st.text(max_size=5), max_size=60).flatmap(
    lambda parts: st.sampled_from(["", " ", " , ", "\n"]).map(lambda between: between.join(parts))
)


@given(texts, st.lists(texts, max_size=4), texts, st.lists(words, min_size=1, max_size=5).map(" ".join))
def test_what_is_marked_is_what_was_searched_for_and_all_of_it_is(
    title: str, skills: list[str], description: str, query: str
) -> None:
    wanted = set(terms(query))
    document = job(title, tuple(skills), description)
    found = highlights(document, query)
    for field, field_texts in ((TITLE, [title]), (SKILLS, skills), (DESCRIPTION, [description])):
        pieces = [one for one in found if one.field is field]
        shown: set[str] = set()
        for one in pieces:
            assert len(one.text) <= 2 * PIECE_CHARACTERS
            assert one.ranges
            assert any(one.text in text for text in field_texts)
            for (_, end), (start, _) in zip(one.ranges, one.ranges[1:], strict=False):
                assert end <= start
            for start, end in one.ranges:
                (term,) = terms(one.text[start:end])
                assert term in wanted
                shown.add(term)
        assert len(pieces) <= MOST_PIECES
        said = {term for text in field_texts for term in terms(text)} & wanted
        if len(said) <= MOST_PIECES:
            assert shown == said
