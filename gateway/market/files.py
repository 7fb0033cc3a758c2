"""Writes a market as the three files that `tandem import` reads."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.market.documents import ROWS, Row, event_rows, job_rows, talent_rows
from gateway.market.market import Market

Format = Literal["parquet", "csv", "jsonl"]

_MOMENT = pa.timestamp("ms", tz="UTC")
_KINDS: dict[str, Any] = {
    "skills": pa.list_(pa.string()), "hourly_rate": pa.int64(), "available": pa.bool_(), "created_at": _MOMENT,
    "years_experience": pa.int64(), "remote": pa.bool_(), "budget_min": pa.int64(), "budget_max": pa.int64(),
    "posted_at": _MOMENT, "expires_at": _MOMENT, "contract_months": pa.int64(), "occurred_at": _MOMENT,
    "value": pa.float64(),
}  # fmt: skip
TALENT_COLUMNS = (
    "talent_id", "title", "description", "skills", "category", "country", "hourly_rate", "currency", "level",
    "available", "created_at", "name", "timezone", "years_experience",
)  # fmt: skip
JOB_COLUMNS = (
    "job_id", "client_id", "title", "description", "skills", "category", "country", "remote", "budget_type",
    "budget_min", "budget_max", "currency", "level", "status", "posted_at", "expires_at", "client_name", "industry",
    "contract_months",
)  # fmt: skip
EVENT_COLUMNS = (
    "event_id", "actor", "type", "talent_id", "job_id", "occurred_at", "value", "recommendation_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MarketFiles:
    """Where a market's three files are."""

    talents: Path
    jobs: Path
    events: Path


def files_in(directory: Path, form: Format = "parquet") -> MarketFiles:
    """The files' names in a directory, whether they are there or not."""
    return MarketFiles(*(directory / f"{name}.{form}" for name in ("talents", "jobs", "events")))


def write_market(market: Market, directory: Path, form: Format = "parquet") -> MarketFiles:
    """Write the three files into a directory, which is made. The same market gives the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = files_in(directory, form)
    _write(paths.talents, TALENT_COLUMNS, _batches(talent_rows(market)), form)
    _write(paths.jobs, JOB_COLUMNS, _batches(job_rows(market)), form)
    _write(paths.events, EVENT_COLUMNS, event_rows(market), form)
    return paths


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, ROWS)):
        yield batch


def _write(path: Path, columns: tuple[str, ...], batches: Iterable[list[Row]], form: Format) -> None:
    if form == "parquet":
        schema = pa.schema([(name, _KINDS.get(name, pa.string())) for name in columns])
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    elif form == "jsonl":
        with path.open("wb") as file:
            for batch in batches:
                file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            _write_csv(file, columns, batches)


def _write_csv(file: TextIO, columns: tuple[str, ...], batches: Iterable[list[Row]]) -> None:
    writer = csv.writer(file)
    writer.writerow(columns)
    for batch in batches:
        writer.writerows([[_cell(row[name]) for name in columns] for row in batch])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)
