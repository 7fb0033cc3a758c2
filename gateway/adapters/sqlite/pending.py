"""Records on their way into a database: a file that they are appended to at once, for a tenth of a transaction."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recommender.errors import UnavailableError

MOST_BYTES: Final = 64_000_000  # some 50,000 lists, while the database takes none
SLOW_S: Final = 0.02  # an append takes a thousandth of it, waiting for other threads of Python a part
SLOW_FOR_S: Final = 0.1  # so long nothing is tried at once after an append that took longer
# The framing of RFC 7464: what was cut off lacks its end, and what comes behind it has a beginning.
_BEGIN, _END = b"\x1e", b"\n"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Pending:
    """A file of records (text without control characters) that several processes append to and one at a time empties.

    What is appended survives the process, as a commit does that does not wait for the disk. A record that a full disk
    or a loss of power has cut off was never acknowledged; it is passed over.
    """

    def __init__(self, path: Path, part: str) -> None:
        self._path = path
        self._taken_path = path.with_name(f"{path.name}.taken")
        self._part = part
        self._lock = threading.Lock()
        self._file: int | None = None
        self._closed = False
        self._slow_until_s = 0.0
        self._unchecked = 0  # bytes appended since the size was looked at

    def close(self) -> None:
        """Append no more. May be called twice."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def append_at_once(self, records: Sequence[bytes]) -> bool:
        """Append them, unless that would wait for who empties the file or for a slow disk; whether it was done.

        Raises UnavailableError, see `append`.
        """
        begun_s = time.monotonic()
        if (begun_s < self._slow_until_s and not self._closed) or not self._lock.acquire(blocking=False):
            return False
        try:
            self._append(records, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            self._lock.release()
        ended_s = time.monotonic()
        if ended_s - begun_s > SLOW_S:
            self._slow_until_s = ended_s + SLOW_FOR_S
        return True

    def append(self, records: Sequence[bytes]) -> None:
        """Append them, however long that takes. Raises UnavailableError: the disk is full, or the file is."""
        with self._lock:
            self._append(records, fcntl.LOCK_SH)

    def _append(self, records: Sequence[bytes], lock: int) -> None:
        if self._closed:
            raise UnavailableError(self._part, "it has been closed")
        framed = b"".join([_BEGIN + record + _END for record in records])
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, lock)
            try:
                self._check_size(self._file, len(framed))
                if os.write(self._file, framed) < len(framed):
                    raise OSError(errno.ENOSPC, "cut off")
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def _check_size(self, file: int, more: int) -> None:
        self._unchecked += more
        if self._unchecked > MOST_BYTES / 64:
            if os.fstat(file).st_size > MOST_BYTES:
                raise UnavailableError(self._part, f"{self._path} is full: its database takes nothing")
            self._unchecked = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not any(path.exists() and path.stat().st_size for path in (self._path, self._taken_path))

    @contextmanager
    def taken(self) -> Iterator[list[bytes]]:
        """Every record, in order of arrival. None of them is pending any more once the block has ended well.

        Others append meanwhile: what is taken is first moved to a file of its own. One that was left there, because who
        took it did not come to an end, comes again.
        """
        with self._failures():
            taken = os.open(self._taken_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with self._failures():
                fcntl.flock(taken, fcntl.LOCK_EX)
                self._empty_into(taken)
                text = os.pread(taken, os.fstat(taken).st_size, 0)
            # Zeros are what a loss of power leaves of a file that had grown.
            yield [part[:-1] for part in text.split(_BEGIN) if part.endswith(_END) and b"\0" not in part]
            with self._failures():
                os.ftruncate(taken, 0)
        finally:
            os.close(taken)

    def _empty_into(self, taken: int) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = os.pread(file, os.fstat(file).st_size, 0)
            if os.write(taken, text) < len(text):
                raise OSError(errno.ENOSPC, "cut off")
            os.ftruncate(file, 0)
        finally:
            os.close(file)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> UnavailableError:
        meaning = "the disk is full; free some space" if error.errno in _FULL else str(error.strerror)
        return UnavailableError(self._part, f"{self._path}: {meaning}")
