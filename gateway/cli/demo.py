"""`tandem demo`: a synthetic marketplace, built, imported, trained on and served, by one command."""

from __future__ import annotations

import errno
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from recommender.errors import TandemError

if TYPE_CHECKING:
    from gateway.market.built import Built, Use
    from gateway.market.market import Market
    from gateway.market.spec import MarketSpec
    from gateway.settings import Settings

MINUTE_MS = 60_000
# What points away from the data directory. The demo owns its stores whole, so none of it applies.
ELSEWHERE = ("catalogue_url", "events_url", "archive_url", "models_url")
# The sample talent has done enough for a good list, in a trade that most readers can judge.
SAMPLE_TRADE = "Software Development"
SAMPLE_EVENTS = 30
TOKEN_HOURS = 12  # of those that are printed: a day's play


class PortInUseError(TandemError):
    """Something else listens on the port that the demo would serve on."""


class ImportRefusedError(TandemError):
    """The market's own files were not taken whole."""


class _Tick(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


def command(
    talents: Annotated[int, typer.Option(help="How many talents.")] = 5_000,
    jobs: Annotated[int, typer.Option(help="How many jobs.")] = 3_000,
    events: Annotated[int, typer.Option(help="How many events, over 90 days.")] = 250_000,
    seed: Annotated[int, typer.Option(help="Another seed is another market.")] = 7,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept (TANDEM_DATA_DIR).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on, 0 for a free one (TANDEM_PORT).")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build anew even if the same market is there.")] = False,
    serve: Annotated[bool, typer.Option(help="Serve at the end.")] = True,
) -> None:
    """Build a synthetic marketplace, import it, train on it and serve it. Runs again without harm."""
    import asyncio

    from gateway.market.built import check_ours, use
    from gateway.market.spec import MarketSpec

    settings = demo_settings(data_dir, port)
    # The minute is enough, and a round time is easier to read.
    now_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
    wanted = MarketSpec(end_ms=now_ms, talents=talents, jobs=jobs, events=events, seed=seed)
    if serve:
        check_port(settings)
    check_ours(settings.data_dir)
    with use(settings.data_dir) as hold:
        built = prepare(settings, wanted, hold, rebuild=rebuild)
        if not built.imported:
            built = asyncio.run(_import(settings, built))
        asyncio.run(_train(settings))
        hold.shared()
        if not serve:
            typer.echo(f"Ready. `tandem demo` serves it; a talent to ask for is {built.sample_talent_id}.")
            return
        from gateway.cli.serve import run_server

        run_server(settings, banner(settings, built.sample_talent_id))


def demo_settings(data_dir: Path | None, port: int | None) -> Settings:
    """The settings of the environment with everything in one data directory and open to this machine."""
    from gateway.settings import load_settings, variable

    given: dict[str, object] = {"auth": "open"}
    if data_dir is not None:
        given["data_dir"] = data_dir
    if port is not None:
        given["port"] = port
    settings = load_settings(**given)
    ignored = [variable(name) for name in ELSEWHERE if getattr(settings, name) is not None]
    if ignored:
        typer.echo(f"The demo keeps all of its data in {settings.data_dir} and ignores {', '.join(ignored)}.")
    return load_settings(**given, **dict.fromkeys(ELSEWHERE))


def check_port(settings: Settings) -> None:
    """Raise PortInUseError now instead of after the long work."""
    family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUseError(
                f"port {settings.port} of {settings.host} is in use: stop what listens on it, or choose another "
                "with --port (0 takes a free one)"
            ) from None


def prepare(settings: Settings, wanted: MarketSpec, hold: Use, *, rebuild: bool) -> Built:
    """The market in the data directory: the one that is there, or a new one with the old set aside."""
    from gateway.market.built import Built, read_marker, set_aside, write_marker
    from gateway.market.files import files_in, write_market
    from gateway.market.market import generate_market

    directory = settings.data_dir
    found = read_marker(directory)
    problem = "a new one was asked for" if rebuild else found.problem(wanted) if found is not None else None
    if found is not None and problem is None:
        typer.echo(f"Using the market in {directory}, built {_ago(found.age_days(wanted.end_ms))}.")
        return found
    hold.alone()
    aside = set_aside(directory, time.time_ns() // 1_000_000)
    if aside is not None:
        why = problem or "another version of Tandem built it"
        typer.echo(f"Building the market anew: {why}. What was there is now in {aside}; delete it when you like.")
    typer.echo(
        f"Building a synthetic market in {directory}: {wanted.talents:,} talents, {wanted.jobs:,} jobs and "
        f"{wanted.events:,} events over {wanted.days} days, seed {wanted.seed}. Its people and what they "
        "do are made up; its occupations are from O*NET."
    )
    begun = time.perf_counter()
    built = Built(wanted)
    write_marker(directory, built)  # first, so that what an interruption leaves is known to be the demo's
    with _bar("Simulating days") as tick:
        market = generate_market(wanted, tick)
    write_market(market, directory / "market")
    built = replace(built, sample_talent_id=sample_talent(market, files_in(directory / "market").talents))
    write_marker(directory, built)
    typer.echo(f"Built {len(market.events):,} events in {time.perf_counter() - begun:.1f} s.")
    return built


def sample_talent(market: Market, talents: Path) -> str:
    """Somebody with a history and a profile without gaps, so that the sample query shows something."""
    import numpy as np
    import pyarrow.parquet as pq

    from gateway.market.documents import talent_id
    from gateway.market.ledger import CODE, SIDE_CODE
    from recommender.documents import Side
    from recommender.events import EventType

    events = market.events
    own = (events.actor == SIDE_CODE[Side.TALENT]) & (events.type != CODE[EventType.IMPRESSION])
    history = np.bincount(events.talent[own], minlength=len(market.people))
    applications = np.bincount(events.talent[events.type == CODE[EventType.APPLY]], minlength=len(market.people))
    columns = ["title", "description", "skills", "category", "hourly_rate", "level", "available"]
    rows = pq.read_table(talents, columns=columns).to_pylist()
    whole = np.array([all(value not in (None, []) for value in row.values()) and row["available"] for row in rows])
    liked_trade = np.array([row["category"] == SAMPLE_TRADE for row in rows])
    # First a whole profile, then a trade, then an application or more, then a history near the wanted length.
    best = np.lexsort((np.abs(history - SAMPLE_EVENTS), applications < 3, ~liked_trade, ~whole))
    return talent_id(int(best[0]))


async def _import(settings: Settings, built: Built) -> Built:
    from gateway.cli.import_ import report
    from gateway.files.importing import import_files
    from gateway.market.built import write_marker
    from gateway.market.files import files_in
    from gateway.wiring import stores

    files = files_in(settings.data_dir / "market")
    typer.echo("Importing it, as `tandem import` would.")
    begun = time.perf_counter()
    async with stores(settings) as opened:
        with _bar("Importing") as tick:
            summary = await import_files(
                opened,
                talents=[files.talents],
                jobs=[files.jobs],
                events=[files.events],
                rejects=settings.rejects_path,
                on_progress=lambda _path, read, size, _rows: tick(read, size),
                default_currency=settings.currency,
            )
    typer.echo(report(summary, time.perf_counter() - begun))
    if summary.problems or summary.rejects is not None:
        raise ImportRefusedError(f"the market's own files were not taken whole: see {summary.rejects}")
    built = replace(built, imported=True)
    write_marker(settings.data_dir, built)
    return built


async def _train(settings: Settings) -> None:
    from gateway.cli.train import train_and_publish
    from gateway.wiring import stores

    async with stores(settings, must_exist=True) as opened:
        version = opened.models.current()
        if version is not None:
            typer.echo(f"Using model {version}; `tandem train` learns from what was recorded since.")
            return
        typer.echo("Training, and comparing with simpler methods on the newest fifth of the (synthetic) log.")
        await train_and_publish(opened, trained_at_ms=time.time_ns() // 1_000_000, nonce=uuid.uuid4().hex)


def banner(settings: Settings, talent_id: str) -> str:
    """What is printed when the server answers: where, for whom, and what to try first."""
    return f"""
Tandem answers at {{url}}/graphql (GraphiQL in a browser; Ctrl-C stops it).
It is open: on this machine, without a token, everybody is an engineer who may read all and write events.
{talent_id} is a talent with a history. Try:

{sample_query(talent_id)}

With a token it answers as another role. These live {TOKEN_HOURS} hours; more are printed by
`{_own(settings)}tandem token --role ROLE --sub ID`. Send one of them as
`Authorization: Bearer …`, in GraphiQL as {{"Authorization": "Bearer …"}} below “Headers”:

{sample_tokens(settings, talent_id)}
"""


def _own(settings: Settings) -> str:
    """What has to stand before a command so that it finds the demo's data directory."""
    from gateway.settings import load_settings

    return "" if settings.data_dir == load_settings().data_dir else f"TANDEM_DATA_DIR={settings.data_dir} "


def sample_tokens(settings: Settings, talent_id: str) -> str:
    """A line with a name and a line with a token for each role but the one that needs none."""
    from gateway.cli.token import Role, signed
    from gateway.market.files import files_in

    client_id = sample_client(files_in(settings.data_dir / "market").jobs)
    subjects = {Role.TALENT: talent_id, Role.CLIENT: client_id, Role.SERVICE: None, Role.ADMIN: None}
    lines = []
    for role, subject in subjects.items():
        # The demo checks its own tokens, wherever the environment says that others come from.
        own = settings.model_copy(update={"jwks_url": None})
        hours = min(TOKEN_HOURS, settings.token_hours)
        name = role.value if subject is None else f"{role.value} {subject}"
        lines += [f"{name}:", signed(own, role, subject, hours)]
    return "\n".join(lines)


def sample_client(jobs: Path) -> str:
    """The client with the most open jobs."""
    from collections import Counter

    import pyarrow.parquet as pq

    rows = pq.read_table(jobs, columns=["client_id", "status"]).to_pylist()
    owners = Counter(row["client_id"] for row in rows if row["status"] == "OPEN") or Counter([rows[0]["client_id"]])
    return str(min(owners, key=lambda owner: (-owners[owner], owner)))


def sample_query(talent_id: str) -> str:
    """Eight lines of GraphQL that show what Tandem is for."""
    return f"""{{
  talent(talentId: "{talent_id}") {{
    title
    recommendedJobs(first: 5) {{
      edges {{ rank score node {{ title budget {{ max currency }} }} reasons {{ text }} }}
    }}
  }}
}}"""


def _ago(days: int) -> str:
    return "today" if days == 0 else "yesterday" if days == 1 else f"{days} days ago"


@contextmanager
def _bar(title: str) -> Iterator[_Tick]:
    """A bar on a terminal's stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        task = bars.add_task(title, total=None)

        def tick(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield tick
