"""The rejects file: every row that was not taken, with its place and the reason, as JSON Lines."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from gateway.files.table import Row
from gateway.files.values import json_bytes

_SAMPLES = 5


class Rejects:
    """Writes rejected rows as they come. The file is there only when there is one; one of an earlier run goes first.

    path: None writes nothing and only remembers the first ones.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self.samples: list[str] = []
        self._file: IO[bytes] | None = None
        if path is not None:
            path.unlink(missing_ok=True)

    def add(self, file: Path, line: int, reason: str, row: Any) -> None:
        """Write one: `row` as it stood in the file, an object of its columns where it could be read that far."""
        self.count += 1
        if len(self.samples) < _SAMPLES:
            self.samples.append(f"{file}:{line}: {reason}")
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb")
        if isinstance(row, Row):
            row = dict(zip(row.columns, row.values, strict=True))
        self._file.write(json_bytes({"file": str(file), "line": line, "reason": reason, "row": row}) + b"\n")

    def close(self) -> None:
        """Flush and close. May be called twice."""
        if self._file is not None:
            self._file.close()
