"""The supervisor of `tandem serve`: processes that die again and again are begun later and later."""

from __future__ import annotations

import os
import signal
import socket
from itertools import pairwise
from pathlib import Path

from gateway.cli.supervisor import FIRST_PAUSE_SECONDS, Supervisor
from tests.dying_worker import work


def test_a_process_that_dies_again_and_again_is_begun_later_and_later(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def ended(_place: int) -> None:
        if len(begun.read_text().split()) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    supervisor = Supervisor(1, work, (str(tmp_path),), leave_seconds=10.0, grace_seconds=0.0, on_end=ended)
    supervisor.run(socket.create_server(("127.0.0.1", 0)), lambda: None)
    times = [float(line) for line in begun.read_text().split()]
    pauses = [after - before for before, after in pairwise(times)]
    assert len(pauses) == 3
    assert pauses[1] >= FIRST_PAUSE_SECONDS
    assert pauses[2] >= 2 * FIRST_PAUSE_SECONDS
