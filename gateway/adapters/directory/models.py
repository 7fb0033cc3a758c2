"""The model store as a directory: one folder per version; `CURRENT` names the one that serves, `PINNED` holds it.

A version is a folder with `arrays.safetensors` and `manifest.json`. It is written under a temporary name, brought to
the disk and renamed, so that it is there whole or not at all; `CURRENT` is replaced the same way. `report.html` comes
into the folder later, for people; nothing reads it, and no checksum is of it.

The arrays are mapped, not read: all processes of a machine share one copy of them in its memory.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors

from gateway.adapters.directory.erased import ROWS, row_of, without_row
from gateway.adapters.disk import sync, write_through
from recommender.documents import Kind
from recommender.errors import BadInputError, ModelRefusedError, UnavailableError
from recommender.events import Emphasis
from recommender.features import FeatureSpace
from recommender.hidden_pairs import MEANINGS, HiddenPairs
from recommender.model import SCHEMA, ClientsInterest, Descriptions, Hyperparameters, Manifest, Model, Neighbours, Side

PART = "model store"
ARRAYS = "arrays.safetensors"
MANIFEST = "manifest.json"
REPORT = "report.html"
CURRENT = "CURRENT"
PINNED = "PINNED"
LOCK = ".lock"
TEMPORARY = ".tmp-"
REPLACED = ".replaced-"  # and then a version whose place another takes

# What an operator can do about what the system refuses most.
_FULL = "the disk is full; free some space, or set TANDEM_MODELS_URL to a place that has some"
_DENIED = "permission denied; change the owner, or set TANDEM_MODELS_URL to a place that may be written"
_MEANINGS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL) | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), _DENIED
)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DTYPES = {"ordinals": np.dtype(np.uint32), "factors": np.dtype(np.float32), "popularity": np.dtype(np.float32)}
_OF_NEIGHBOURS = {"starts": np.dtype(np.int64), "columns": np.dtype(np.int32), "strengths": np.dtype(np.float32)}
_OF_DESCRIPTIONS = {"starts": np.dtype(np.int64), "columns": np.dtype(np.int32), "values": np.dtype(np.float32)}
_OF_SPACE = {"names": np.dtype(np.uint8), "weights": np.dtype(np.float32)}
_OF_HIDDEN = {
    "talents": np.dtype(np.uint32),
    "jobs": np.dtype(np.uint32),
    "what": np.dtype(np.uint8),
    "by_job": np.dtype(np.int32),
}
_OF_CODES = {"codes": np.dtype(np.int8), "scales": np.dtype(np.float32)}
# The schemas whose models have none; they are read as such.
_BEFORE_NEIGHBOURS, _BEFORE_CONTENT, _BEFORE_CODES, _BEFORE_HIDDEN = 1, 2, 3, 4
# The numbers of safetensors that a model is made of.
_STORED_AS: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_LINE = 64  # bytes of a cache line: a row of 64 codes that begins at one is fetched at once
_FINITE_AT_ONCE = 2**20  # numbers that are looked at together, so that looking makes no copy of an array
_OF_CLIENTS = ("clients.talents", "clients.jobs", "suited.talents", "suited.jobs")  # the fields of ClientsInterest
_ADVICE = "promote another version with `tandem models promote VERSION`, or train again with `tandem train`"


class DirectoryModelStore:
    """`recommender.ports.ModelStore` over a directory of a local or shared disk.

    kept: how many of the newest versions stay; the current one always does, beside them.
    Everything raises UnavailableError when the directory cannot be read or written.
    """

    def __init__(self, path: Path | str, *, kept: int = 10) -> None:
        self.path = Path(path)
        self._kept = kept

    def close(self) -> None:
        """Nothing is held open between calls."""

    def versions(self) -> list[str]:
        """See the port. A version whose manifest cannot be read counts as the oldest."""
        with _failures():
            if not self.path.is_dir():
                return []
            found = [
                (_trained_at_ms(folder), folder.name)
                for folder in self.path.iterdir()
                if _VERSION.fullmatch(folder.name) and (folder / MANIFEST).is_file()
            ]
        return [name for _, name in sorted(found)]

    def current(self) -> str | None:
        """See the port. Raises ModelRefusedError when the pointer itself is damaged."""
        try:
            with _failures():
                version = (self.path / CURRENT).read_bytes().strip().decode("ascii", errors="replace")
        except FileNotFoundError:
            return None
        if not _VERSION.fullmatch(version):
            raise ModelRefusedError(f"{self.path / CURRENT} names no version; {_ADVICE}")
        return version

    def is_pinned(self) -> bool:
        """Whether a publication leaves the pointer where it is."""
        return (self.path / PINNED).exists()

    def manifest(self, version: str) -> Manifest:
        """What a version says of itself, its own checksum verified, its arrays unread. Raises as `load` does."""
        return _manifest(version, _document(version, self._folder(version)))

    def load(self, version: str) -> Model:
        """See the port. The arrays are the file itself, read-only, after its checksum was verified.

        A published version never changes: whoever overwrites its file in place changes what is served, or ends those
        who serve it. One that is removed stays readable for whoever has loaded it.
        """
        try:
            return self._load(version)
        except (KeyError, ModelRefusedError):
            # An erasure may just have put another into its place; once nobody writes it is what it is.
            with self._settled():
                return self._load(version)

    def _load(self, version: str) -> Model:
        folder = self._folder(version)
        document = _document(version, folder)
        manifest = _manifest(version, document)
        arrays = _arrays(version, folder / ARRAYS, document)
        talents, jobs = (_side(name, arrays, manifest.schema) for name in ("talents", "jobs"))
        clients = None
        if manifest.of_clients is not None:
            clients = ClientsInterest(*(_side(name, arrays, manifest.schema) for name in _OF_CLIENTS))
        hidden = HiddenPairs.none()
        if manifest.schema > _BEFORE_HIDDEN:
            hidden = HiddenPairs(**{part: arrays[f"hidden.{part}"] for part in _OF_HIDDEN})
        model = Model(manifest=manifest, talents=talents, jobs=jobs, clients=clients, hidden=hidden)
        _check(model)
        return model

    def publish(self, model: Model, *, make_current: bool = True) -> None:
        """See the port. Raises ModelRefusedError, and writes nothing, for a model that could not be loaded again."""
        version = model.manifest.version
        if not _VERSION.fullmatch(version):
            raise BadInputError(
                f"a version is 1 to 128 of A-Z a-z 0-9 . _ -, beginning with none of . _ -; got {version!r}"
            )
        _check(model)
        with self._locked():
            self._sweep()
            if (self.path / version).exists():
                raise BadInputError(f"model {version} is published already, and a published model never changes")
            self._write(model)
            if make_current and not self.is_pinned():
                self._replace(CURRENT, version)
            self._retire()

    def promote(self, version: str, *, pin: bool = False) -> None:
        """See the port."""
        self.load(version)
        with self._locked():
            if pin:
                # First, so that no publication slips in between and a crash here leaves a pointer that stands still.
                self._replace(PINNED, version)
            self._replace(CURRENT, version)
            if not pin:
                (self.path / PINNED).unlink(missing_ok=True)

    def erase(self, kind: Kind, ordinal: int, own_id: str) -> int:
        """Publish every version anew without what it learnt of one talent or job, under new checksums; how many.

        Who serves one of them has zeros in the place of the row at once, and the rest from its next loading on. A
        report that names the id goes. A version that cannot be loaded is left alone: nobody can serve it.
        """
        count = 0
        with self._locked():
            self._sweep()
            for version in self.versions():
                folder = self.path / version
                report = folder / REPORT
                if report.is_file() and own_id in report.read_text():
                    report.unlink()
                with suppress(ModelRefusedError):
                    model = self._load(version)
                    left = without_row(model, kind, ordinal)
                    if left is not model:
                        self._exchange(left, ordinal, kind)
                        count += 1
        return count

    def write_report(self, version: str, page: str) -> Path:
        """Put a page for people beside a version's arrays, in place of one that is there; it goes when they go.

        Raises KeyError for a version that is not there (any more).
        """
        with self._locked():
            self._replace(f"{self._folder(version).name}/{REPORT}", page.rstrip("\n"))
        return self.path / version / REPORT

    def report(self, version: str) -> Path | None:
        """Where the page of a version is; None when it has none. Raises KeyError for a version that is not there."""
        path = self._folder(version) / REPORT
        return path if path.is_file() else None

    def _folder(self, version: str) -> Path:
        if not _VERSION.fullmatch(version) or not (self.path / version).is_dir():
            raise KeyError(version)
        return self.path / version

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over all processes. The lock goes with its process."""
        with _failures():
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """While nobody writes; at once where nobody ever has."""
        with ExitStack() as opened:
            with suppress(OSError):
                lock = opened.enter_context((self.path / LOCK).open("rb"))
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _exchange(self, model: Model, ordinal: int, kind: Kind) -> None:
        """Put a model into the place of its version. Whatever breaks off, one of the two is there; see `_sweep`."""
        version = model.manifest.version
        old, folder = self.path / f"{REPLACED}{version}", self.path / version
        report = folder / REPORT
        text = report.read_bytes() if report.is_file() else None
        folder.rename(old)
        self._write(model)
        if text is not None:
            write_through(folder / REPORT, text)
        _blank(old / ARRAYS, kind, ordinal)
        shutil.rmtree(old)

    def _sweep(self) -> None:
        """Remove what a publication that died has left: under the lock, nobody else is writing."""
        for old in self.path.glob(f"{REPLACED}*"):
            folder = self.path / old.name.removeprefix(REPLACED)
            if folder.exists():
                shutil.rmtree(old)
            else:
                old.rename(folder)
        for left in self.path.glob(f"{TEMPORARY}*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _write(self, model: Model) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.path))
        try:
            arrays = _named(model)
            data = _file_of(arrays)
            write_through(temporary / ARRAYS, data)
            write_through(temporary / MANIFEST, _encoded(_described(model.manifest, arrays, data)))
            temporary.chmod(0o755)  # mkdtemp gives it to its owner alone; another user may serve
            sync(temporary)
            temporary.rename(self.path / model.manifest.version)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync(self.path)

    def _replace(self, name: str, text: str) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=self.path)
        os.close(descriptor)
        try:
            write_through(Path(temporary), f"{text}\n".encode())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.path / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync(self.path)

    def _retire(self) -> None:
        """Remove versions beyond the newest `kept`, except the current one."""
        with suppress(ModelRefusedError):  # a damaged pointer: keep everything until it is mended
            current = self.current()
            for version in self.versions()[: -self._kept]:
                if version != current:
                    # Renamed first: a version is there whole or not at all on its way out, too.
                    gone = self.path / f"{TEMPORARY}{version}"
                    (self.path / version).rename(gone)
                    shutil.rmtree(gone)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn the operating system's refusals into ours; a missing file is the caller's to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        text = _MEANINGS.get(error.errno or 0, error.strerror or str(error))
        raise UnavailableError(PART, f"{subject}{text}") from error


def _refused(version: str, why: str) -> ModelRefusedError:
    return ModelRefusedError(f"model {version} is refused: {why}; {_ADVICE}")


def _check(model: Model) -> None:
    """Refuse a model whose numbers cannot be served."""
    version, of_clients = model.manifest.version, model.manifest.of_clients
    if (of_clients is None) != (model.clients is None):
        raise _refused(version, "the clients' interest must be in its manifest and in its arrays, or in neither")
    for hyper in (model.manifest.hyperparameters, of_clients or model.manifest.hyperparameters):
        numbers = (hyper.history, *hyper.calibration, *hyper.talent_calibration)
        if not all(math.isfinite(number) for number in numbers) or hyper.history < 0:
            raise _refused(version, "its calibration holds numbers that are not finite")
    for name, side in _sides(model).items():
        how = of_clients if name in _OF_CLIENTS else model.manifest.hyperparameters
        rows = len(side.ordinals)
        width = side.factors.shape[-1] if how is None or name.startswith("suited.") else how.factors
        for part, array, shape in (
            ("ordinals", side.ordinals, (rows,)),
            ("factors", side.factors, (rows, width)),
            ("popularity", side.popularity, (rows,)),
        ):
            if array.shape != shape or array.dtype != _DTYPES[part]:
                raise _refused(
                    version,
                    f"{name}.{part} must be {_DTYPES[part]} of shape {shape}, and is {array.dtype} of {array.shape}",
                )
        if rows > 1 and not bool(np.all(side.ordinals[1:] > side.ordinals[:-1])):
            raise _refused(version, f"{name}.ordinals are not ascending")
        if not _is_finite(side.popularity):
            raise _refused(version, f"{name}.popularity holds numbers that are not finite")
        _check_codes(version, name, side)
        _check_neighbours(version, name, side.neighbours, rows)
        _check_content(version, name, side)
    _check_hidden(version, model.hidden)
    if model.clients is not None:
        widths = [side.factors.shape[1] for name, side in _sides(model).items() if name.startswith("suited.")]
        if len(set(widths)) > 1:
            raise _refused(version, f"suited.talents and suited.jobs must be of one width, and are of {widths}")


def _check_hidden(version: str, hidden: HiddenPairs) -> None:
    """Refuse pairs that could not be looked up, or that nothing is meant by."""
    found = {part: getattr(hidden, part).dtype for part in _OF_HIDDEN}
    shapes = {getattr(hidden, part).shape for part in _OF_HIDDEN}
    if found != _OF_HIDDEN or shapes != {(len(hidden),)}:
        raise _refused(version, f"hidden must be {_OF_HIDDEN} of one length, and is {found}")
    by_job = hidden.by_job
    if not bool(np.all(hidden.talents[1:] >= hidden.talents[:-1])) or not bool(np.all(hidden.what < MEANINGS)):
        raise _refused(version, "hidden holds pairs out of order, or of an event that there is not")
    if not bool(np.all((by_job >= 0) & (by_job < len(hidden)))) or not bool(
        np.all(hidden.jobs[by_job[1:]] >= hidden.jobs[by_job[:-1]])
    ):
        raise _refused(version, "hidden.by_job does not put its pairs in the order of jobs")


def _sides(model: Model) -> dict[str, Side]:
    """Everything that has rows, by the name it is stored under."""
    found = {"talents": model.talents, "jobs": model.jobs}
    if model.clients is not None:
        of_clients = (getattr(model.clients, of.name) for of in fields(model.clients))
        found |= dict(zip(_OF_CLIENTS, of_clients, strict=True))
    return found


def _check_codes(version: str, name: str, side: Side) -> None:
    """Refuse factors that are not finite and codes of other rows. How far the codes are off is found on the way."""
    if side.codes is not None:
        arrays: tuple[npt.NDArray[Any], ...] = side.codes
        for (part, dtype), array in zip(_OF_CODES.items(), arrays, strict=True):
            shape = side.factors.shape if part == "codes" else side.ordinals.shape
            if array.dtype != dtype or array.shape != shape:
                raise _refused(
                    version, f"{name}.{part} must be {dtype} of shape {shape}, and is {array.dtype} of {array.shape}"
                )
    try:
        _ = side.coarse
    except ValueError:
        raise _refused(version, f"{name}.factors holds numbers that are not finite") from None


def _is_finite(array: npt.NDArray[np.floating[Any]]) -> bool:
    flat = array.reshape(-1)
    return all(
        bool(np.isfinite(flat[start : start + _FINITE_AT_ONCE]).all()) for start in range(0, len(flat), _FINITE_AT_ONCE)
    )


def _check_neighbours(version: str, name: str, neighbours: Neighbours, rows: int) -> None:
    """Refuse rows that lead outside the side, or that take away."""
    starts, columns, strengths = neighbours.starts, neighbours.columns, neighbours.strengths
    found = {part: getattr(neighbours, part).dtype for part in _OF_NEIGHBOURS}
    if found != _OF_NEIGHBOURS or not starts.ndim == columns.ndim == strengths.ndim == 1:
        raise _refused(version, f"{name}.neighbours must be {_OF_NEIGHBOURS} in one dimension each, and are {found}")
    if len(starts) != rows + 1 and not (len(starts) == 1 and not len(columns)):
        raise _refused(version, f"{name}.neighbours.starts must count {rows + 1}, and count {len(starts)}")
    if (
        starts[0] != 0
        or not bool(np.all(starts[1:] >= starts[:-1]))
        or not int(starts[-1]) == len(columns) == len(strengths)
        or not bool(np.all((columns >= 0) & (columns < rows)))
    ):
        raise _refused(version, f"{name}.neighbours are no rows of a sparse matrix of {rows} × {rows}")
    if not bool(np.all((strengths > 0) & np.isfinite(strengths))):
        raise _refused(version, f"{name}.neighbours.strengths must be finite and above 0")


def _check_content(version: str, name: str, side: Side) -> None:
    """Refuse a mask of another length, and descriptions that are no rows of their space."""
    rows, said = len(side.ordinals), side.descriptions
    if side.learnt is not None and (side.learnt.shape != (rows,) or side.learnt.dtype != np.bool_):
        raise _refused(version, f"{name}.learnt must be a mask of {rows} rows")
    if side.lent is not None and not (
        side.lent.shape == side.factors.shape and side.lent.dtype == np.float32 and _is_finite(side.lent)
    ):
        raise _refused(version, f"{name}.lent must be finite float32 of shape {side.factors.shape}")
    found = {part: getattr(said, part).dtype for part in _OF_DESCRIPTIONS}
    if found != _OF_DESCRIPTIONS or said.space.weights.dtype != np.float32:
        raise _refused(version, f"{name}.descriptions must be {_OF_DESCRIPTIONS}, and are {found}")
    if len(said.starts) == 1 and not len(said.columns):
        return
    features = len(said.space.names)
    if (
        len(said.starts) != rows + 1
        or features != len(said.space.weights)
        or said.starts[0] != 0
        or not bool(np.all(said.starts[1:] >= said.starts[:-1]))
        or not int(said.starts[-1]) == len(said.columns) == len(said.values)
        or not bool(np.all((said.columns >= 0) & (said.columns < features)))
    ):
        raise _refused(version, f"{name}.descriptions are no rows of a sparse matrix of {rows} × {features}")
    numbers = (said.values, said.space.weights, np.array(said.strength))
    if not all(bool(np.isfinite(part).all()) for part in numbers):
        raise _refused(version, f"{name}.descriptions hold numbers that are not finite")


def _names(schema: int, has_clients: bool) -> list[str]:
    """The arrays of a model of that schema, with or without an interest of the clients'."""
    parts = [*_DTYPES]
    if schema > _BEFORE_NEIGHBOURS:
        parts += [f"neighbours.{part}" for part in _OF_NEIGHBOURS]
    if schema > _BEFORE_CONTENT:
        parts += [
            "learnt",
            "lent",
            *(f"descriptions.{part}" for part in (*_OF_DESCRIPTIONS, *_OF_SPACE, "strength", "until")),
        ]
    if schema > _BEFORE_CODES:
        parts += [*_OF_CODES]
    sides = ("talents", "jobs", *(_OF_CLIENTS if has_clients else ()))
    hidden = [f"hidden.{part}" for part in _OF_HIDDEN] if schema > _BEFORE_HIDDEN else []
    return [f"{side}.{part}" for side in sides for part in parts] + hidden


def _named(model: Model) -> dict[str, npt.NDArray[Any]]:
    """A model's arrays by name, contiguous."""
    named: dict[str, npt.NDArray[Any]] = {}
    for name, side in _sides(model).items():
        said = side.descriptions
        of_side = {
            **{part: getattr(side, part) for part in _DTYPES},
            **{f"neighbours.{part}": getattr(side.neighbours, part) for part in _OF_NEIGHBOURS},
            "learnt": side.is_learnt,
            **{f"descriptions.{part}": getattr(said, part) for part in _OF_DESCRIPTIONS},
            "lent": np.zeros((0, side.factors.shape[1]), np.float32) if side.lent is None else side.lent,
            "descriptions.names": np.frombuffer("\0".join(said.space.names).encode(), dtype=np.uint8),
            "descriptions.weights": said.space.weights,
            "descriptions.strength": np.array([said.strength]),
            "descriptions.until": np.array([said.until], np.int64),
            "codes": side.coarse.codes,
            "scales": side.coarse.scales,
        }
        named |= {f"{name}.{part}": np.ascontiguousarray(array) for part, array in of_side.items()}
    named |= {f"hidden.{part}": np.ascontiguousarray(getattr(model.hidden, part)) for part in _OF_HIDDEN}
    return {name: named[name] for name in _names(model.manifest.schema, model.clients is not None)}


def _side(name: str, arrays: Mapping[str, npt.NDArray[Any]], schema: int) -> Side:
    side = Side(arrays[f"{name}.ordinals"], arrays[f"{name}.factors"], arrays[f"{name}.popularity"])
    if schema > _BEFORE_NEIGHBOURS:
        of_neighbours = {part: arrays[f"{name}.neighbours.{part}"] for part in _OF_NEIGHBOURS}
        side = replace(side, neighbours=Neighbours(**of_neighbours))
    if schema > _BEFORE_CONTENT:
        lent = arrays[f"{name}.lent"]
        learnt, names = arrays[f"{name}.learnt"], arrays[f"{name}.descriptions.names"].tobytes().decode()
        space = FeatureSpace(names.split("\0") if names else (), arrays[f"{name}.descriptions.weights"])
        parts = {part: arrays[f"{name}.descriptions.{part}"] for part in _OF_DESCRIPTIONS}
        strength = float(arrays[f"{name}.descriptions.strength"][0])
        side = replace(
            side,
            learnt=None if learnt.all() else learnt,
            lent=lent if len(lent) else None,
            descriptions=Descriptions(
                space, **parts, strength=strength, until=int(arrays[f"{name}.descriptions.until"][0])
            ),
        )
    if schema > _BEFORE_CODES:
        side = replace(side, codes=(arrays[f"{name}.codes"], arrays[f"{name}.scales"]))
    return side


def _file_of(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The arrays as safetensors, with so much said besides that the codes begin at a cache line."""
    data = safetensors.save(dict(arrays), {"align": ""})
    header, begin = _header(data)
    codes = [said["data_offsets"][0] for said in header.values() if said.get("dtype") == "I8"]
    lacking = -(begin + min(codes, default=-begin)) % _LINE
    return safetensors.save(dict(arrays), {"align": "." * lacking}) if lacking else data


def _header(data: bytes | mmap.mmap) -> tuple[dict[str, Any], int]:
    """What a file of safetensors says of its arrays by name, and where the first of them begins."""
    begin = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:begin]), begin


def _described(manifest: Manifest, arrays: Mapping[str, npt.NDArray[Any]], data: bytes) -> dict[str, Any]:
    """The manifest as it is stored, without its own checksum."""
    return {
        "schema": manifest.schema,
        "version": manifest.version,
        "trained_at_ms": manifest.trained_at_ms,
        "as_of_ms": manifest.as_of_ms,
        "watermark": manifest.watermark,
        "events": manifest.events,
        "hyperparameters": asdict(manifest.hyperparameters),
        "of_clients": None if manifest.of_clients is None else asdict(manifest.of_clients),
        "started_from": manifest.started_from,
        "is_without": manifest.is_without,
        # JSON has no NaN: a metric without a value is null.
        "metrics": {
            group: {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
            for group, values in manifest.metrics.items()
        },
        "files": {ARRAYS: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}},
        "arrays": {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in arrays.items()},
    }


def _encoded(described: dict[str, Any]) -> bytes:
    return (json.dumps(described | {"sha256": _digest(described)}, indent=2) + "\n").encode()


def _digest(described: Mapping[str, Any]) -> str:
    """Checksum of a manifest's content, whatever its layout."""
    return hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _document(version: str, folder: Path) -> dict[str, Any]:
    """The stored manifest, verified against its own checksum."""
    try:
        with _failures():
            document = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise _refused(version, f"its {MANIFEST} is missing") from None
    except (ValueError, RecursionError):
        raise _refused(version, f"its {MANIFEST} is torn or altered") from None
    if not isinstance(document, dict):
        raise _refused(version, f"its {MANIFEST} is torn or altered")
    if document.get("schema") not in range(_BEFORE_NEIGHBOURS, SCHEMA + 1):
        raise _refused(version, f"it has schema {document.get('schema')!r} and this version reads schema {SCHEMA}")
    claimed = document.pop("sha256", None)
    if claimed != _digest(document):
        raise _refused(version, f"its {MANIFEST} was altered (checksum)")
    return document


def _manifest(version: str, document: Mapping[str, Any]) -> Manifest:
    if document.get("version") != version:
        raise _refused(version, f"its {MANIFEST} is of version {document.get('version')!r}")
    try:
        return Manifest(
            version=version,
            trained_at_ms=document["trained_at_ms"],
            as_of_ms=document["as_of_ms"],
            watermark=document["watermark"],
            events=document["events"],
            hyperparameters=_hyperparameters(document["hyperparameters"]),
            metrics={
                group: {name: math.nan if value is None else value for name, value in values.items()}
                for group, values in document["metrics"].items()
            },
            schema=document["schema"],
            of_clients=_hyperparameters(of_clients) if (of_clients := document.get("of_clients")) else None,
            started_from=document.get("started_from"),
            is_without=document.get("is_without", False),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _refused(version, f"its {MANIFEST} was written by another version of Tandem ({error})") from error


def _hyperparameters(stored: Mapping[str, Any]) -> Hyperparameters:
    """JSON has no tuples, and a model from before neighbours no likeness, as one from before tuning no emphasis."""
    read: dict[str, Any] = dict(stored)
    for name in ("likeness", "calibration", "talent_calibration"):
        if name in read:
            read[name] = tuple(read[name])
    if "emphasis" in read:
        read["emphasis"] = Emphasis(**read["emphasis"])
    return Hyperparameters(**read)


def _arrays(version: str, path: Path, document: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file, after its length and checksum."""
    try:
        with _failures():
            data = _mapped(path)
    except FileNotFoundError:
        raise _refused(version, f"its {ARRAYS} is missing") from None
    try:
        claimed, described = document["files"][ARRAYS], document["arrays"]
        if len(data) != claimed["bytes"]:
            raise _refused(version, f"its {ARRAYS} is torn: {len(data)} bytes of {claimed['bytes']}")
        if hashlib.sha256(data).hexdigest() != claimed["sha256"]:
            raise _refused(version, f"its {ARRAYS} was altered (checksum)")
        header, begin = _header(data)
        arrays = {
            name: np.frombuffer(
                data, _STORED_AS[said["dtype"]], math.prod(said["shape"]), begin + said["data_offsets"][0]
            ).reshape(said["shape"])
            for name, said in header.items()
            if name != "__metadata__"
        }
        shapes = {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in arrays.items()}
        if shapes != described or any(
            name not in arrays for name in _names(document["schema"], document.get("of_clients") is not None)
        ):
            raise _refused(version, f"its {ARRAYS} does not hold the arrays of its {MANIFEST}")
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(version, f"its {ARRAYS} was written by another version of Tandem ({error})") from error
    return arrays


def _mapped(path: Path) -> bytes | mmap.mmap:
    """A file as it lies in the machine's memory; a copy where its file system maps nothing."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return file.read()


def _blank(path: Path, kind: Kind, ordinal: int) -> None:
    """Write zeros over the rows of one ordinal, in the very file that is mapped by who serves it."""
    with path.open("r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as data:
        header, begin = _header(data)
        sides = {name.rpartition(".")[0] for name in header if name.endswith(f"{kind.value}s.ordinals")}
        for side in sides:
            first, last = header[f"{side}.ordinals"]["data_offsets"]
            row = row_of(np.frombuffer(data[begin + first : begin + last], np.dtype("<u4")), ordinal)
            for said in (header.get(f"{side}.{part}") for part in ROWS):
                if row is not None and said is not None and said["shape"][0]:
                    first, last = said["data_offsets"]
                    size = (last - first) // said["shape"][0]
                    at = begin + first + row * size
                    data[at : at + size] = bytes(size)


def _trained_at_ms(folder: Path) -> int:
    try:
        return int(json.loads((folder / MANIFEST).read_bytes())["trained_at_ms"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return -1
