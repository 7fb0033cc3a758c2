"""Tandem's commands as processes of their own: run one to its end, or keep a server up."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 150  # a loaded machine imports numpy slowly
STOP_SECONDS = 20


def environment(data: Path, **settings: str) -> dict[str, str]:
    """The environment of a process: this one's, but of Tandem's settings only the given ones."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
    at_once = {"TANDEM_START_WAIT_SECONDS": "0"}  # what cannot begin says so now
    return {**own, "TANDEM_DATA_DIR": str(data), "OPENBLAS_NUM_THREADS": "1", **at_once, **settings}


def tandem(data: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Server:
    """`tandem serve` in a process of its own; port 0 takes a free one. files: how many it may have open.

    stderr: where its log goes, instead of to whoever ends it.
    """

    def __init__(
        self, data: Path, *, port: int = 0, files: int | None = None, stderr: int | None = None, **settings: str
    ) -> None:
        within = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
        # A file and not a pipe: nobody reads while it runs, and a full pipe would hold up what it logs.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop` or `kill`
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment(data, **settings),
            stdout=subprocess.PIPE,
            stderr=self._log if stderr is None else stderr,
            text=True,
        )
        self.banner = self._first_line()
        self.url = re.findall(r"http://[^/]+", self.banner)[0]

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            if not ready.select(START_SECONDS):
                self.process.kill()
                raise AssertionError(f"the server said nothing but what it logged: {self._ended()[1][-2_000:]}")
        line = self.process.stdout.readline()
        assert line, self._ended()[1]
        return line

    def stop(self) -> tuple[int, str]:
        """Ask it to stop; its exit code and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Kill it as a crash would, with SIGKILL."""
        self.process.kill()
        self._ended()

    def _ended(self) -> tuple[int, str]:
        code = self.process.wait(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.seek(0)
        with self._log:
            return code, self._log.read()
