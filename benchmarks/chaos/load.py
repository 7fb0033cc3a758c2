"""Open-model load beside a fault: requests go out when they are due, and each answer is judged by its body.

By vegeta; where it is missing, by a loop of our own, which is good for some tens of requests a second.
"""

from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import orjson

from benchmarks.vegeta import NoVegetaError, Request, vegeta_binary

OK, DEGRADED, SHED, THROTTLED = "ok", "degraded", "shed", "throttled"
FINE = (OK, DEGRADED)
PATIENCE_SECONDS = 10
CLIENTS = 600  # at most, who wait at the same time
WELL_SECONDS = 1.0  # that all must be as before, to call it recovered
FEW = 0.1  # of the answers may be less than good then: others use the machine, too

Judge = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    due_s: by time.time(). took_ms: from when it was due, of that late_ms until it was sent. retry_after: of the header.
    """

    due_s: float
    took_ms: float
    verdict: str
    retry_after: bool = False
    late_ms: float = 0.0


@dataclass(frozen=True)
class Window:
    """Answers to what was due in some seconds."""

    answers: Sequence[Answer]
    seconds: float

    @property
    def verdicts(self) -> Counter[str]:
        """How many there are of each."""
        return Counter(answer.verdict for answer in self.answers)

    @property
    def failed(self) -> int:
        """Answers that are none: no list, a wrong one, an error."""
        return sum(answer.verdict not in (*FINE, SHED, THROTTLED) for answer in self.answers)

    @property
    def good(self) -> int:
        """Right lists, degraded ones among them."""
        return sum(answer.verdict in FINE for answer in self.answers)

    def share(self, verdict: str) -> float:
        """Of the answers, those of a verdict."""
        return self.verdicts[verdict] / max(1, len(self.answers))

    def quantile_ms(self, share: float, *verdicts: str) -> float:
        """Latency; of answers with these verdicts, by default of all."""
        found = sorted(answer.took_ms for answer in self.answers if not verdicts or answer.verdict in verdicts)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0

    def since_sent_ms(self, share: float, *verdicts: str) -> float:
        """The same without what the generator of the load was late by."""
        found = sorted(one.took_ms - one.late_ms for one in self.answers if not verdicts or one.verdict in verdicts)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0

    def text(self) -> str:
        """In a line."""
        bad = {name: count for name, count in self.verdicts.items() if name not in (*FINE, SHED, THROTTLED)}
        refused = self.verdicts[SHED] + self.verdicts[THROTTLED]
        return (
            f"{len(self.answers)} requests, {self.failed} failed"
            + (f" ({', '.join(f'{count} {name}' for name, count in sorted(bad.items())[:3])})" if bad else "")
            + (f", {refused} refused" if refused else "")
            + f", {self.share(DEGRADED):.0%} degraded, p50 {self.quantile_ms(0.5):.0f} "
            f"p99 {self.quantile_ms(0.99):.0f} max {self.quantile_ms(1):.0f} ms"
        )


class Load:
    """Requests at a rate for the length of a block, at most so many seconds; then its answers."""

    def __init__(self, requests: Sequence[Request], rate: float, seconds: float, judge: Judge) -> None:
        self.answers: list[Answer] = []
        self.began_s = 0.0
        self._ends_s = 0.0
        self._requests = requests
        self._rate = rate
        self._seconds = seconds
        self._judge = judge
        self._place = tempfile.TemporaryDirectory()
        self._vegeta: subprocess.Popen[bytes] | None = None
        self._loop: threading.Thread | None = None
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self.began_s = time.time()
        try:
            binary = vegeta_binary()
        except NoVegetaError:
            self._loop = threading.Thread(target=lambda: asyncio.run(self._send()))
            self._loop.start()
            return self
        targets = Path(self._place.name) / "targets.jsonl"
        with targets.open("wb") as file:
            file.writelines(request.line() for request in self._requests)
        command = [binary, "attack", "-format=json", f"-targets={targets}", f"-output={self._results}"]
        command += [f"-duration={self._seconds:.3f}s", f"-timeout={PATIENCE_SECONDS}s", f"-max-workers={CLIENTS}"]
        command += [f"-rate={round(self._rate * 100)}/100s", "-http2=false"]
        self._vegeta = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._ends_s = time.time()
        if self._loop is not None:
            self._loop.join()
        if self._vegeta is not None:
            if self._vegeta.poll() is None:
                self._vegeta.send_signal(signal.SIGINT)  # sends no more, and waits for what it has sent
            self._vegeta.wait(2 * PATIENCE_SECONDS)
            with subprocess.Popen([vegeta_binary(), "encode", self._results], stdout=subprocess.PIPE) as encode:  # noqa: S603
                assert encode.stdout is not None
                self.answers = list(self._judged(encode.stdout))
        self._place.cleanup()
        self.answers.sort(key=lambda answer: answer.due_s)

    def between(self, since_s: float, until_s: float) -> Window:
        """What was due from one time.time() to another."""
        found = [answer for answer in self.answers if since_s <= answer.due_s < until_s]
        return Window(found, until_s - since_s)

    def all(self) -> Window:
        """Of the whole block."""
        return self.between(0.0, self._ends_s)

    def recovered_s(self, healed_s: float, *, degraded_before: float = 0.0) -> float | None:
        """Seconds from the healing until for a second nearly all is as before; None when it never was.

        degraded_before: the share of degraded answers before the fault, which a machine with other work has.
        """
        after = [answer for answer in self.answers if answer.due_s >= healed_s]
        bound = max(FEW, 2 * degraded_before)
        for first, answer in enumerate(after):
            if after[-1].due_s - answer.due_s < WELL_SECONDS / 2:
                return None
            following = [one for one in after[first:] if one.due_s < answer.due_s + WELL_SECONDS]
            if sum(one.verdict != OK for one in following) <= bound * len(following):
                return answer.due_s - healed_s
        return None

    @property
    def _results(self) -> str:
        return str(Path(self._place.name) / "results.bin")

    def _judged(self, lines: Iterable[bytes]) -> Iterable[Answer]:
        first_s: float | None = None
        for line in lines:
            result = orjson.loads(line)
            sent_s = datetime.fromisoformat(result["timestamp"]).timestamp()
            if result["seq"] == 0 or first_s is None:
                first_s = sent_s - result["seq"] / self._rate
            due_s = min(sent_s, first_s + result["seq"] / self._rate)
            late_ms = (sent_s - due_s) * 1_000
            took_ms = result["latency"] / 1e6 + late_ms
            headers = result.get("headers") or {}
            body = base64.b64decode(result["body"] or "")
            verdict = self._verdict(result["code"], body, result["error"])
            yield Answer(due_s, took_ms, verdict, "Retry-After" in headers, late_ms)

    def _verdict(self, status: int, body: bytes, error: str) -> str:
        if not status:
            return f"no answer: {error.rpartition(': ')[2][:60]}"
        if status == httpx.codes.SERVICE_UNAVAILABLE and b"OVERLOADED" in body:
            return SHED
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return THROTTLED
        if status != httpx.codes.OK:
            return f"status {status}"
        return self._judge(body)

    async def _send(self) -> None:
        """Where there is no vegeta."""
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits, trust_env=False) as client:
            running: set[asyncio.Task[None]] = set()
            for number in range(int(self._seconds * self._rate)):
                due_s = self.began_s + number / self._rate
                await asyncio.sleep(max(0.0, due_s - time.time()))
                if self._is_over.is_set():
                    break
                task = asyncio.create_task(self._ask(client, self._requests[number % len(self._requests)], due_s))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)

    async def _ask(self, client: httpx.AsyncClient, request: Request, due_s: float) -> None:
        status, body, error, headers = 0, b"", "", httpx.Headers()
        try:
            answer = await client.post(request.url, json=request.body, headers=dict(request.headers))
            status, body, headers = answer.status_code, answer.content, answer.headers
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        took_ms = (time.time() - due_s) * 1_000
        self.answers.append(Answer(due_s, took_ms, self._verdict(status, body, error), "Retry-After" in headers))


def generator() -> str:
    """What makes the load here."""
    try:
        vegeta_binary()
    except NoVegetaError:
        return "a loop of our own"
    return "vegeta"


def headers_of(token: str, **more: str) -> Mapping[str, str]:
    """Of a request by who has a token."""
    return {"Authorization": f"Bearer {token}", **more}
