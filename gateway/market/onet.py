"""The occupations that the market trades in: a subset of the O*NET 29.2 Database (see onet.ATTRIBUTION.txt)."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib.resources import files

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Occupation:
    """One occupation. zone: O*NET's job zone, 1 (little preparation) to 5; related: places in the list of all."""

    code: str
    name: str
    category: str
    zone: int
    titles: tuple[str, ...]
    tools: tuple[tuple[str, int], ...]  # name and how much it is in demand
    tasks: tuple[str, ...]
    related: tuple[int, ...]


def load_occupations() -> tuple[Occupation, ...]:
    """Every occupation of the subset, by category, the most wanted of each category first."""
    content = json.loads(gzip.decompress(files(__package__).joinpath("onet.json.gz").read_bytes()))
    if content["schema"] != SCHEMA:
        raise ValueError(f"onet.json.gz has schema {content['schema']}, this version reads {SCHEMA}")
    return tuple(
        Occupation(
            code=row["code"],
            name=row["name"],
            category=row["category"],
            zone=row["zone"],
            titles=tuple(row["titles"]),
            tools=tuple((name, weight) for name, weight in row["tools"]),
            tasks=tuple(row["tasks"]),
            related=tuple(row["related"]),
        )
        for row in content["occupations"]
    )
