"""A flame graph of the warm request, by CPU: which functions are on the stack how often.

    .venv/bin/python -m benchmarks.flame_graph DATA [TALENT] [--requests 4000] [--out flame.svg]

DATA: a directory that `tandem demo --no-serve` has built. The app of `tandem serve` is asked in this process, without a
socket, for the list that benchmarks/request_path.py asks for; every few milliseconds of CPU the stack is noted. In the
SVG the outermost functions are below, and a width is a share of the CPU; its titles (hold the pointer over one) say how
much. What takes most is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from xml.sax.saxutils import escape

import orjson
import uvloop

from benchmarks.request_path import TEXT
from gateway.cli.serve import build_services
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.logs import set_up_logs
from gateway.settings import Settings
from gateway.wiring import open_stores

SAMPLE_SECONDS = 0.001  # Linux gives a signal every 4 ms at most
MOST_NAMED = 25
WARM = 100
WIDTH, ROW, LETTER = 1_200.0, 15, 6.2  # pixels
LEAST = 0.002  # of the CPU: what has less is not drawn

Stack = tuple[str, ...]


def name_of(frame: FrameType) -> str:
    """A function and its file, from the package on."""
    path = frame.f_code.co_filename.partition("site-packages/")[2] or frame.f_code.co_filename
    return f"{'/'.join(Path(path).parts[-2:])}:{frame.f_code.co_qualname}"


async def sampled(data: Path, talent_id: str, requests: int) -> Counter[Stack]:
    """Stacks of the app, outermost first, and how often each was met."""
    settings = Settings(auth="open", data_dir=data)
    set_up_logs(settings)
    stores = open_stores(settings, must_exist=True)
    services = build_services(stores)
    services.recommender.refresh_model()
    app = build_app(services, build_access(settings))
    body = orjson.dumps({"query": TEXT, "variables": {"id": talent_id}})
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"accept", b"application/json")]
    known = {"type": "http", "method": "POST", "path": "/graphql", "raw_path": b"/graphql", "query_string": b""}
    known |= {"root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http"}
    statuses: set[int] = set()

    async def ask() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, int]) -> None:
            statuses.add(message.get("status", 200))

        await app({**known, "headers": list(headers), "state": {}}, receive, send)

    stacks: Counter[Stack] = Counter()

    def note(_signal: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(name_of(frame))
            frame = frame.f_back
        stacks[tuple(reversed(stack))] += 1

    for _ in range(WARM):
        await ask()
    signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    for _ in range(requests):
        await ask()
    signal.setitimer(signal.ITIMER_PROF, 0)
    stores.close()
    assert statuses == {200}, statuses
    return stacks


def without_start(stacks: Counter[Stack]) -> Counter[Stack]:
    """The stacks from where they begin to differ, tasks of their own beside the app's."""
    least = min(map(len, stacks))
    start = next((depth for depth in range(least) if len({stack[depth] for stack in stacks}) > 1), least - 1)
    return Counter({stack[start:]: count for stack, count in stacks.items()})


def boxes(
    stacks: Counter[Stack], total: int, left: float = 0.0, depth: int = 0
) -> Iterator[tuple[float, float, int, str]]:
    """Left and width as shares of all, depth and name of what is drawn."""
    below: dict[str, Counter[Stack]] = {}
    for stack, count in stacks.items():
        if stack:
            below.setdefault(stack[0], Counter())[stack[1:]] += count
    for name, inner in sorted(below.items()):
        width = inner.total() / total
        if width >= LEAST:
            yield left, width, depth, name
            yield from boxes(inner, total, left, depth + 1)
        left += width


def drawn(stacks: Counter[Stack]) -> str:
    """The SVG."""
    found = list(boxes(stacks, stacks.total()))
    height = (max(depth for _, _, depth, _ in found) + 1) * ROW
    head = f'viewBox="0 0 {WIDTH:g} {height}" font-family="monospace" font-size="10"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {head}>']
    for left, width, depth, name in found:
        x, y, wide = left * WIDTH, height - (depth + 1) * ROW, width * WIDTH
        ours = name.startswith(("gateway/", "recommender/", "graphql/", "http/", "sqlite/"))
        letters = int(wide / LETTER)
        text = name.rpartition(":")[2][:letters] if letters > 2 else ""
        parts.append(
            f'<g><title>{escape(name)} {width:.1%}</title><rect x="{x:.1f}" y="{y}" width="{max(0.5, wide - 0.5):.1f}" '
            f'height="{ROW - 1}" fill="{"#f4a259" if ours else "#c9d6df"}"/>'
            f'<text x="{x + 2:.1f}" y="{y + 11}">{escape(text)}</text></g>'
        )
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("talent", nargs="?", default="tal-001697")
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=Path("flame.svg"))
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stacks = runner.run(sampled(given.data, given.talent, given.requests))
    given.out.write_text(drawn(without_start(stacks)))
    alone, whole = Counter[str](), Counter[str]()
    for stack, count in stacks.items():
        alone[stack[-1]] += count
        whole.update(dict.fromkeys(stack, count))
    total = stacks.total()
    print(f"{total} samples of {given.requests} requests; most by itself, and with what it calls:")
    for name, count in alone.most_common(MOST_NAMED):
        print(f"  {count / total:6.1%} {whole[name] / total:6.1%}  {name}")
    print("Most with what it calls:")
    for name, count in whole.most_common(2 * MOST_NAMED):
        print(f"  {alone[name] / total:6.1%} {count / total:6.1%}  {name}")
    print(f"The graph is in {given.out}.")


if __name__ == "__main__":
    main()
