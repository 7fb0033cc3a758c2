"""Tables as benchmarks print them and as `make bench` keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

Cell = str | float | int | None


@dataclass
class Table:
    """One table. columns: with their units; rows: a cell for each column, None where nothing was measured."""

    title: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """One more row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(self.columns)} columns, and {len(cells)} cells")
        self.rows.append(list(cells))

    def text(self) -> str:
        """As it is printed: the first column to the left, the others to the right."""
        lines = [list(self.columns), *([shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        body = [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([f"\n{self.title}", *body, *self.notes])

    def markdown(self) -> str:
        """As a page shows it."""
        lines = [list(self.columns), ["---"] + ["---:"] * (len(self.columns) - 1)]
        lines += [[shown(cell) for cell in row] for row in self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(cell: Cell) -> str:
    """A cell in three digits or more; counts whole."""
    match cell:
        case None:
            return "–"
        case float():
            return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:#.3g}".rstrip(".")
        case int():
            return f"{cell:,}"
        case _:
            return cell


def keep(path: Path, tables: Sequence[Table], figures: Mapping[str, Any] | None = None) -> None:
    """Write tables, and figures that plots are made from, as JSON."""
    whole = {"tables": [asdict(table) for table in tables], "figures": figures or {}}
    path.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
