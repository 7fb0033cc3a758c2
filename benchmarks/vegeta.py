"""Open-model load by vegeta: requests go out when they are due, whether or not answers have come.

A latency runs from the moment a request was due, so a stall of the server, or of vegeta itself, is in it.
"""

from __future__ import annotations

import base64
import gzip
import os
import resource
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

INSTALL = "go install github.com/tsenart/vegeta/v12@latest"
TIMEOUT_SECONDS = 10
GZIP = b"\x1f\x8b"
CLOSED = 0  # rate: as many as so many clients get, each waiting for its answer


class NoVegetaError(Exception):
    """The text says what to do."""


@dataclass(frozen=True)
class Request:
    """What is sent. body: of a POST; empty: a GET."""

    url: str
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        """As vegeta reads it."""
        target: dict[str, Any] = {"method": "GET", "url": self.url}
        headers = dict(self.headers)
        if self.body:
            target |= {"method": "POST", "body": base64.b64encode(orjson.dumps(self.body)).decode()}
            headers["Content-Type"] = "application/json"
        target["header"] = {name: [value] for name, value in headers.items()}
        return orjson.dumps(target, option=orjson.OPT_APPEND_NEWLINE)


@dataclass
class Outcome:
    """What came of one attack.

    latencies_ms: of those that were answered well, from the moment they were due. late_ms: how late vegeta itself sent.
    faults: everything else, by what it was. found: what `read` made of the good answers.
    """

    sent: int
    seconds: float
    latencies_ms: npt.NDArray[np.float64]
    late_ms: npt.NDArray[np.float64]
    faults: Counter[str]
    found: list[Any]
    generator_cpu_seconds: float

    @property
    def good(self) -> int:
        """How many were answered well."""
        return len(self.latencies_ms)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    def quantile(self, share: float) -> float:
        """Latency in milliseconds; of the failed ones nothing is known, so it counts them as the longest."""
        place = int(np.ceil(share * self.sent)) - 1
        return float(np.sort(self.latencies_ms)[place]) if place < self.good else float("inf")


def vegeta_binary(named: str | None = None) -> str:
    """The one that is named, on the PATH, or where Go installs it. Raises NoVegetaError."""
    places = [named, shutil.which("vegeta")]
    places += [str(Path(os.environ[name], *inside)) for name, inside in _GO if name in os.environ]
    places.append(str(Path.home() / "go" / "bin" / "vegeta"))
    for place in places:
        if place is not None and os.access(place, os.X_OK):
            return place
        if place is not None and place == named:
            raise NoVegetaError(f"there is no program at {named}")
    raise NoVegetaError(f"vegeta is needed for load and is not on the PATH: {INSTALL}, or name one by --vegeta")


_GO = (("GOBIN", ("vegeta",)), ("GOPATH", ("bin", "vegeta")))


def attack(
    vegeta: str,
    requests: Sequence[Request],
    *,
    rate: float,
    seconds: float,
    read: Callable[[bytes], Any] = lambda body: None,
    clients: int = 1_000,
) -> Outcome:
    """Send the requests in their order, again from the first when they are used up.

    rate: a second; CLOSED for a closed model of so many clients, which finds the capacity and whose latencies say
    nothing. read: of the body of an answer; it raises ValueError with a few words for one that is no success.
    """
    with tempfile.TemporaryDirectory() as name:
        targets, binary = Path(name) / "targets.jsonl", Path(name) / "results.bin"
        with targets.open("wb") as file:
            file.writelines(request.line() for request in requests)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [vegeta, "attack", "-format=json", f"-targets={targets}", f"-output={binary}"]
        command += [f"-duration={seconds:.3f}s", f"-timeout={TIMEOUT_SECONDS}s", f"-max-workers={clients}"]
        command += [f"-rate={_rate(rate)}", "-http2=false"]
        if rate == CLOSED:
            command += [f"-workers={clients}", f"-max-connections={clients}", f"-connections={clients}"]
        subprocess.run(command, check=True)  # noqa: S603
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        with subprocess.Popen([vegeta, "encode", str(binary)], stdout=subprocess.PIPE) as encode:  # noqa: S603
            assert encode.stdout is not None
            return outcome_of(encode.stdout, rate, seconds, read, cpu)


def _rate(rate: float) -> str:
    return "0" if rate == CLOSED else f"{round(rate * 100)}/100s"


def outcome_of(
    lines: Iterable[bytes], rate: float, seconds: float, read: Callable[[bytes], Any], cpu: float
) -> Outcome:
    faults: Counter[str] = Counter()
    found, sent_s, ended_s, places, is_good = [], [], [], [], []
    for line in lines:
        result = orjson.loads(line)
        begun = datetime.fromisoformat(result["timestamp"]).timestamp()
        sent_s.append(begun)
        ended_s.append(begun + result["latency"] / 1e9)
        places.append(result["seq"])
        try:
            if result["code"] != 200:
                raise ValueError(f"status {result['code']}" if result["code"] else result["error"][:80])
            body = base64.b64decode(result["body"] or "")
            found.append(read(gzip.decompress(body) if body.startswith(GZIP) else body))
        except ValueError as error:
            faults[str(error)] += 1
            is_good.append(False)
        else:
            is_good.append(True)
    sent, ended, good = np.array(sent_s), np.array(ended_s), np.array(is_good, dtype=bool)
    due = sent if rate == CLOSED else sent.min() + np.array(places) / rate
    # vegeta's own clock begins a moment before its first request.
    due = np.minimum(due, sent)
    took = max(float(ended.max() - sent.min()), 1e-9)
    return Outcome(
        sent=len(sent),
        seconds=took if rate == CLOSED else max(seconds, took),
        latencies_ms=(ended - due)[good] * 1_000,
        late_ms=(sent - due) * 1_000,
        faults=faults,
        found=found,
        generator_cpu_seconds=cpu,
    )
