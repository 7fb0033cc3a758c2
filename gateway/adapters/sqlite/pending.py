"""Records on their way into a database: a file that they are appended to at once, for a tenth of a transaction."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite.database import BUSY_TIMEOUT_MS, FULL, LOCKED
from recommender.errors import UnavailableError

MOST_BYTES: Final = 64_000_000  # some 50,000 lists, while the database takes none; in both files
SLOW_S: Final = 0.02  # an append takes a thousandth of it, waiting for other threads of Python a part
SLOW_FOR_S: Final = 0.1  # so long nothing is tried at once after an append that took longer
LOCKED_S: Final = BUSY_TIMEOUT_MS / 1_000  # no process that works has the file so long, but one that was stopped may
AGAIN_S: Final = 0.002  # between two looks whether it is free
# The framing of RFC 7464: what was cut off lacks its end, and what comes behind it has a beginning.
_BEGIN, _END = b"\x1e", b"\n"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Pending:
    """A file of records (text without control characters) that several processes append to and one at a time empties.

    What is appended survives the process, as a commit does that does not wait for the disk. A record that a full disk
    or a loss of power has cut off was never acknowledged; it is passed over.
    """

    def __init__(self, database: Path, part: str) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.pending")
        self._taken_path = database.with_name(f"{database.name}.pending.taken")
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
            self._append(records, until_s=begun_s)
        except BlockingIOError:
            return False
        finally:
            self._lock.release()
        ended_s = time.monotonic()
        if ended_s - begun_s > SLOW_S:
            self._slow_until_s = ended_s + SLOW_FOR_S
        return True

    def append(self, records: Sequence[bytes], until_s: float) -> None:
        """Append them. until_s: the monotonic time up to which who empties the file is waited for.

        Raises BlockingIOError: it had the file for longer. Raises UnavailableError: the disk is full, or the file is.
        """
        with self._lock:
            self._append(records, until_s)

    def _append(self, records: Sequence[bytes], until_s: float) -> None:
        if self._closed:
            raise UnavailableError(self._part, "it has been closed")
        framed = b"".join([_BEGIN + record + _END for record in records])
        try:
            if self._file is None:
                self._file = self._opened(self._path, os.O_WRONLY | os.O_APPEND)
            _lock(self._file, fcntl.LOCK_SH, until_s)
            try:
                self._check_size(len(framed))
                if os.write(self._file, framed) < len(framed):
                    raise OSError(errno.ENOSPC, "cut off")
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def _opened(self, path: Path, how: int) -> int:
        """Opened, and made if need be: with the owner and permissions of the database, as SQLite makes its own files.

        Root may come first, to look at a report, and others may not read what the database keeps from them.
        """
        with suppress(FileNotFoundError):
            return os.open(path, how | os.O_CLOEXEC)
        like = self._database.stat()
        file = os.open(path, how | os.O_CLOEXEC | os.O_CREAT, like.st_mode & 0o666)
        try:
            os.fchmod(file, like.st_mode & 0o666)
            if os.geteuid() == 0:
                os.fchown(file, like.st_uid, like.st_gid)
        except BaseException:
            os.close(file)
            raise
        return file

    def _check_size(self, more: int) -> None:
        self._unchecked += more
        if self._unchecked > MOST_BYTES / 64:
            if self._size() > MOST_BYTES:
                raise UnavailableError(self._part, f"{self._path} is full: its database takes nothing")
            self._unchecked = 0

    def _size(self) -> int:
        """Bytes of both files; looked at in the order in which records go through them, so that none is overlooked."""
        size = 0
        for path in (self._path, self._taken_path):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take; what is being appended just now is overlooked."""
        with self._failures():
            return self._size() == 0

    @contextmanager
    def taken(self) -> Iterator[list[bytes]]:
        """Every record, in order of arrival. None of them is pending any more once the block has ended well.

        Others append meanwhile: what is taken is first moved to a file of its own. One that was left there, because who
        took it did not come to an end, comes again.
        """
        with self._failures():
            taken = self._opened(self._taken_path, os.O_RDWR | os.O_APPEND)
        try:
            with self._failures():
                until_s = time.monotonic() + LOCKED_S
                _lock(taken, fcntl.LOCK_EX, until_s)
                self._empty_into(taken, until_s)
                text = os.pread(taken, os.fstat(taken).st_size, 0)
            # Zeros are what a loss of power leaves of a file that had grown.
            yield [part[:-1] for part in text.split(_BEGIN) if part.endswith(_END) and b"\0" not in part]
            with self._failures():
                os.ftruncate(taken, 0)
        finally:
            os.close(taken)

    def _empty_into(self, taken: int, until_s: float) -> None:
        file = self._opened(self._path, os.O_RDWR)
        try:
            _lock(file, fcntl.LOCK_EX, until_s)
            text = os.pread(file, os.fstat(file).st_size, 0)
            before = os.fstat(taken).st_size
            if os.write(taken, text) < len(text):
                os.ftruncate(taken, before)  # else every attempt would take what space there is
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
        meaning = str(error.strerror)
        if error.errno in _FULL:
            meaning = FULL
        elif isinstance(error, BlockingIOError):
            meaning = LOCKED
        return UnavailableError(self._part, f"{error.filename or self._path}: {meaning}")


def _lock(file: int, how: int, until_s: float) -> None:
    """Lock a file until it is unlocked or closed. Raises BlockingIOError: others have it, and the time is over."""
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() + AGAIN_S > until_s:
                raise
        time.sleep(AGAIN_S)
