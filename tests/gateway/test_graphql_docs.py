"""docs/graphql.md: every example runs, and every answer shown is the answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.graphql.errors import CODES, INTERNAL
from tests.gateway.served_market import ServedMarket

TEXT = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(graphql|graphql stream|json variables|json answer)\n(.*?)^```$", re.M | re.S)


@dataclass
class Example:
    """A query, and the variables and answer that follow it."""

    query: str
    variables: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None


def examples() -> list[Example]:
    found: list[Example] = []
    for kind, text in BLOCK.findall(TEXT):
        if kind == "graphql":
            found.append(Example(text))
        elif kind == "json variables":
            found[-1].variables = json.loads(text)
        elif kind == "json answer":
            found[-1].answer = json.loads(text)
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.query.split("(")[0].strip("{ \n")[:30])
async def test_the_example_runs_and_answers_as_shown(service_market: ServedMarket, example: Example) -> None:
    answer = await service_market.ask(example.query, example.variables)
    if example.answer is None:
        assert "errors" not in answer
        assert all(value is not None for value in answer["data"].values())
    else:
        assert answer == example.answer


def test_there_are_examples_and_every_block_is_one() -> None:
    assert len(examples()) == TEXT.count("```graphql\n") >= 12
    assert TEXT.count("```") == 2 * len(BLOCK.findall(TEXT))


def test_every_code_is_in_the_table() -> None:
    assert {code for code in [*CODES.values(), INTERNAL] if f"`{code}`" not in TEXT} == set()
