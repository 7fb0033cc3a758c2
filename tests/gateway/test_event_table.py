"""The page about events says what the program does."""

from __future__ import annotations

from pathlib import Path

from recommender.events import RULES, EventType

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_page_of_the_documentation_has_the_rules_of_the_program() -> None:
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    expected = []
    for kind in EventType:
        rule = RULES[kind]
        hides = [
            name for name, on in (("job", rule.hides_job_from_talent), ("talent", rule.hides_talent_from_job)) if on
        ]
        expected.append(
            [
                kind.value,
                rule.actor.value.lower() if rule.actor else "either",
                f"{rule.weight:g}",
                rule.undoes.value if rule.undoes else "-",
                ", ".join(hides) or "-",
            ]
        )
    assert [[row[0], *row[2:]] for row in rows] == expected
    assert all(row[1] for row in rows)
