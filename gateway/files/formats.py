"""Which format a file has, by its suffix, and how it is opened."""

from __future__ import annotations

from pathlib import Path

from gateway.files.csv_table import CsvTable
from gateway.files.json_lines_table import JsonLinesTable
from gateway.files.table import Table
from recommender.errors import BadInputError

SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json lines",
    ".parquet": "parquet",
}


def open_table(path: Path, required: tuple[str, ...], wanted: frozenset[str] | None = None) -> Table:
    """Open a file and read its header.

    required: columns that a header must have; JSON Lines has no header, there each row is checked.
    wanted: the columns that will be looked at, None for all.
    Raises BadInputError with the file's name when it cannot be opened or used.
    """
    name = path.name.lower()
    gzipped = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise BadInputError(
            f"{path}: the format of a file is told by its suffix; allowed: {', '.join(SUFFIXES)}, each also with .gz"
        )
    if path.is_dir():
        raise BadInputError(f"{path} is a directory; name the files in it")
    try:
        match SUFFIXES[suffix]:
            case "csv":
                return CsvTable(path, required, gzipped=gzipped)
            case "parquet":
                # Imported here: pyarrow takes a tenth of a second, which a CSV need not wait for.
                from gateway.files.parquet_table import ParquetTable

                return ParquetTable(path, required, gzipped=gzipped, wanted=wanted)
            case _:
                return JsonLinesTable(path, gzipped=gzipped)
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInputError(f"{path}: it cannot be opened ({error.strerror or error})") from error
