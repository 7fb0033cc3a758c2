"""What is made of a document is made once, and no more of it is kept than is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from gateway.graphql.remembered import MOST, remembered


@dataclass(frozen=True)
class Source:
    number: int


def test_a_thing_is_made_once_of_an_object_and_anew_of_its_equal() -> None:
    made = remembered(lambda source: SimpleNamespace(number=source.number))
    first, equal = Source(1), Source(1)
    assert made(first) is made(first)
    assert made(first) is not made(equal)
    assert made(first) == made(equal)


def test_what_came_first_goes_first() -> None:
    count = 0

    @remembered
    def made(source: Source) -> SimpleNamespace:
        nonlocal count
        count += 1
        return SimpleNamespace(number=source.number)

    sources = [Source(number) for number in range(MOST + 1)]
    assert [made(source).number for source in sources] == list(range(MOST + 1))
    assert [made(sources[-1]).number, made(sources[0]).number, count] == [MOST, 0, MOST + 2]
