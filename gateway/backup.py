"""Everything that is kept in files, copied to one directory while it is in use, and put back from there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.adapters.disk import sync, write_through
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.version import version
from recommender.errors import TandemError, UnavailableError

if TYPE_CHECKING:
    from gateway.settings import Settings

FORMAT: Final = 1
MANIFEST: Final = "BACKUP.json"
UNFINISHED: Final = ".unfinished"  # behind the name of a directory that is being written
_CHUNK: Final = 1 << 20
_ATTEMPTS: Final = 5  # to copy the models: one may be retired meanwhile

_log = structlog.get_logger("tandem.backup")

# What is done, how far it is and how much there is of it.
Show = Callable[[str, int, int], None]


class BackupError(TandemError):
    """A backup cannot be made, or cannot be put back: the text says which file and what to do."""


@dataclass(frozen=True, slots=True)
class _Part:
    """name: in the backup. place: where it is here; a directory of files or one database."""

    name: str
    place: Path
    is_database: bool


def _parts(settings: Settings) -> list[_Part]:
    """What is kept in files, in the order in which it is copied: what refers to others first."""
    parts = [_Part("models", settings.models_path, False)]
    if settings.events_redis_url is None:
        parts.append(_Part("events.db", settings.events_path, True))
    else:
        parts.append(_Part("archive", settings.archive_path, False))
    if settings.catalogue_elasticsearch_url is None:
        parts.append(_Part("catalogue.db", settings.catalogue_path, True))
    parts.append(_Part("serving.db", settings.serving_log_path, True))
    return parts


def elsewhere(settings: Settings) -> list[str]:
    """What is kept on servers, whose own tools copy it: a line for each."""
    lines = []
    if settings.catalogue_elasticsearch_url is not None:
        lines.append(
            f"documents: a snapshot of {settings.namespace}.* by Elasticsearch, with its global state left out"
        )
    if settings.events_redis_url is not None:
        lines.append(f"events: the append-only file of Redis, or its dump, with the keys {{{settings.namespace}*}}")
    return lines


def back_up(settings: Settings, out: Path, show: Show, made_at_ms: int) -> int:
    """Copy every file into a new directory; its size in bytes. Others may write meanwhile.

    Models are copied before what they refer to, each database as it was at one moment. Raises BackupError.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BackupError(f"{out} is there already; name a directory that is not")
    there = [part for part in _parts(settings) if part.place.exists()]
    if settings.serving_log_path.exists():
        _move_served(settings)
    if not any(part.is_database or part.name == "archive" for part in there):
        raise BackupError(f"no data in {settings.data_dir}: set TANDEM_DATA_DIR to the one to back up")
    unfinished = out.with_name(out.name + UNFINISHED)
    if unfinished.exists():
        shutil.rmtree(unfinished)  # of a run that was cut off
    unfinished.mkdir(parents=True)
    try:
        for part in there:
            _copy(part, unfinished / part.name, show)
        files = {
            str(path.relative_to(unfinished)): {"bytes": path.stat().st_size, "sha256": _digest(path)}
            for path in _shown(sorted(_files(unfinished)), "Checking", show)
        }
        described = {"format": FORMAT, "version": version(), "made_at_ms": made_at_ms, "files": files}
        write_through(unfinished / MANIFEST, (json.dumps(described, indent=2) + "\n").encode())
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
        sync(out.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return sum(file["bytes"] for file in files.values())


def _move_served(settings: Settings) -> None:
    """Have in the serving log what waits beside it, unless it may not be written, or cannot be."""
    try:
        with closing(SqliteServingLog.open(settings.serving_log_path, days=settings.serving_log_days)) as log:
            log.move()
    except UnavailableError as error:
        _log.warning("the last served lists are not in the backup", reason=str(error))


def restore(settings: Settings, source: Path, show: Show) -> int:
    """Put a backup where the settings point to, after every checksum was verified; its size in bytes.

    Raises BackupError for a backup that is not whole, and where something is in its place already.
    """
    files = _verified(source, show)
    parts = [part for part in _parts(settings) if (source / part.name).exists()]
    unplaced = {name.partition("/")[0] for name in files} - {part.name for part in parts}
    if unplaced:
        raise BackupError(
            f"{source} holds {', '.join(sorted(unplaced))}, which these settings keep on a server; unset "
            "TANDEM_CATALOGUE_URL or TANDEM_EVENTS_URL to restore into files"
        )
    for part in parts:
        ends = ("", "-wal", "-shm", ".pending", ".pending.taken") if part.is_database else ()
        logs = [part.place.with_name(part.place.name + end) for end in ends]
        taken = next((path for path in logs if path.exists()), None)
        if taken is None and part.place.is_dir() and any(part.place.iterdir()):
            taken = part.place
        if taken is not None:
            raise BackupError(f"{taken} is there already, and a restore overwrites nothing: move it away")
    for part in parts:
        begun = part.place.with_name(part.place.name + UNFINISHED)
        begun.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(begun, ignore_errors=True)
        begun.unlink(missing_ok=True)
        _copy_files(source / part.name, begun, f"Restoring {part.name}", show)
        if part.place.is_dir():
            part.place.rmdir()
        begun.rename(part.place)
        sync(part.place.parent)
    return sum(file["bytes"] for file in files.values())


def _verified(source: Path, show: Show) -> dict[str, dict[str, Any]]:
    """The files of a backup, each as its manifest says. Raises BackupError."""
    try:
        described = json.loads((source / MANIFEST).read_bytes())
        files: dict[str, dict[str, Any]] = described["files"]
        made_by = described["format"]
    except FileNotFoundError:
        raise BackupError(f"{source} is no backup: it has no {MANIFEST}; `tandem backup --out DIR` makes one") from None
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{source / MANIFEST} is torn or altered; take another backup") from None
    if made_by != FORMAT:
        raise BackupError(f"{source} has format {made_by}, and this version reads {FORMAT}; restore with the one of it")
    for name in _shown(sorted(files), "Verifying", show):
        path = source / name
        if not path.resolve().is_relative_to(source.resolve()) or not path.is_file():
            raise BackupError(f"{path} is missing; take another backup")
        if path.stat().st_size != files[name]["bytes"] or _digest(path) != files[name]["sha256"]:
            raise BackupError(f"{path} was cut short or altered (checksum); take another backup")
    return files


def _copy(part: _Part, target: Path, show: Show) -> None:
    title = f"Copying {part.name}"
    if part.is_database:
        from gateway.adapters.sqlite.backup import copy_database

        copy_database(part.place, target, lambda done, total: show(title, done, total))
        return
    for attempt in range(_ATTEMPTS):
        try:
            _copy_files(part.place, target, title, show)
            return
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
            shutil.rmtree(target, ignore_errors=True)


def _copy_files(source: Path, target: Path, title: str, show: Show) -> None:
    """A file, or a directory without what begins with a dot: locks, and what is being written."""
    if source.is_file():
        shutil.copyfile(source, target)
        sync(target)
        return
    target.mkdir()
    # Pointers first: what they name is published before them, so that it is there when its turn comes.
    for path in _shown(sorted(_files(source), key=lambda path: (len(path.parts), path)), title, show):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        sync(copy)


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(name.startswith(".") for name in path.relative_to(folder).parts)
    ]


def _shown(things: list[Any], title: str, show: Show) -> Iterator[Any]:
    for done, thing in enumerate(things):
        show(title, done, len(things))
        yield thing
    show(title, len(things), len(things))


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
