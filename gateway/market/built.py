"""What a data directory holds of a demo market: its marker, whether it can be used again, and how it is set aside."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from gateway.market.spec import DAY_MS, MarketSpec
from recommender.errors import TandemError

MARKER = "demo.json"
LOCK = "demo.lock"
REPLACED = "replaced-"
SIGNING_KEYS = "token-key"  # what the names of the files of gateway/signing.py begin with
SCHEMA = 2  # raise it when the generator changes, so that older markets are built anew
STALE_AFTER_DAYS = 7  # one open job in twelve has expired by then, one in four a week later


class DemoDirectoryError(TandemError):
    """The data directory cannot take a demo market. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Built:
    """The marker of a market that was built here.

    sample_talent_id: "" until the files are written. imported: they are in the stores, whole.
    """

    spec: MarketSpec
    sample_talent_id: str = ""
    imported: bool = False

    def problem(self, wanted: MarketSpec) -> str | None:
        """Why this market does not do for the wanted one, in a few words; None when it does."""
        if not self.sample_talent_id:
            return "building it was interrupted"
        if _size(self.spec) != _size(wanted):
            return "it has another size or seed"
        if self.age_days(wanted.end_ms) >= STALE_AFTER_DAYS:
            return f"it is {self.age_days(wanted.end_ms)} days old, and its open jobs are expiring"
        if self.spec.end_ms > wanted.end_ms:
            return "it ends in the future"
        return None

    def age_days(self, now_ms: int) -> int:
        """Whole days since its log ended."""
        return (now_ms - self.spec.end_ms) // DAY_MS


def _size(spec: MarketSpec) -> dict[str, int]:
    return {name: value for name, value in asdict(spec).items() if name != "end_ms"}


def read_marker(directory: Path) -> Built | None:
    """The marker of a directory; None when there is none, or one that this version cannot read."""
    try:
        content: dict[str, Any] = json.loads((directory / MARKER).read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            return None
        return Built(MarketSpec(**content.pop("spec")), **content)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, TandemError):
        return None


def write_marker(directory: Path, built: Built) -> None:
    """Replace the marker, whole or not at all."""
    partial = directory / f"{MARKER}.partial"
    partial.write_text(json.dumps({"schema": SCHEMA, **asdict(built)}, indent=1) + "\n", encoding="utf-8")
    partial.replace(directory / MARKER)


def check_ours(directory: Path) -> None:
    """Raise DemoDirectoryError for a directory with contents that no demo made."""
    if (directory / MARKER).exists() or not directory.exists():
        return
    if _contents(directory):
        raise DemoDirectoryError(
            f"{directory} holds data that the demo did not build, and it will not touch them: "
            "name another directory with --data-dir"
        )


def set_aside(directory: Path, now_ms: int) -> Path | None:
    """Move what a directory holds into a folder of its own inside it; None when it holds nothing."""
    contents = _contents(directory)
    if not contents:
        return None
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    target = directory / f"{REPLACED}{stamp}"
    target.mkdir()
    # The marker goes last: an interrupted move is taken up again, for the directory still counts as the demo's.
    for path in sorted(contents, key=lambda path: path.name == MARKER):
        path.rename(target / path.name)
    return target


def _contents(directory: Path) -> list[Path]:
    kept = (REPLACED, SIGNING_KEYS)  # tokens go on opening the market that replaces another
    return [path for path in sorted(directory.iterdir()) if path.name != LOCK and not path.name.startswith(kept)]


@contextmanager
def use(directory: Path) -> Iterator[Use]:
    """Hold a data directory against another demo that would replace what is in it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a") as file:
        yield Use(directory, file)


class Use:
    """The hold on a data directory: alone while it changes, shared while it serves."""

    def __init__(self, directory: Path, file: IO[str]) -> None:
        self._directory = directory
        self._file = file

    def alone(self) -> None:
        """Keep every other demo out. Raises DemoDirectoryError when one is in."""
        self._take(fcntl.LOCK_EX)

    def shared(self) -> None:
        """Keep out those who want to be alone. Raises DemoDirectoryError when one is at it."""
        self._take(fcntl.LOCK_SH)

    def _take(self, kind: int) -> None:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoDirectoryError(
                f"another demo works with {self._directory}: stop it first, or name another directory with --data-dir"
            ) from None
