"""`tandem backup`: copy everything that is kept in files, while it is in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="A directory that is not there yet.")],
) -> None:
    """Copy documents, events, served lists and models to a directory, with checksums. Nothing has to stop for it."""
    from gateway.backup import back_up, elsewhere
    from gateway.cli.evaluate import steps
    from gateway.settings import load_settings

    settings = load_settings()
    with steps() as shown:
        size = back_up(settings, out, shown.show, time.time_ns() // 1_000_000)
    typer.echo(f"{out}: {size / 1e6:,.1f} MB; `tandem restore --from {out}` puts it back")
    for line in elsewhere(settings):
        typer.echo(f"not in it, {line}")
