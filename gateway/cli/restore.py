"""`tandem restore`: put a backup back, into files that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[Path, typer.Option("--from", help="What `tandem backup` has written.")],
) -> None:
    """Verify every checksum of a backup and put it where the settings point to. Overwrites nothing."""
    from gateway.backup import restore
    from gateway.cli.evaluate import steps
    from gateway.settings import load_settings

    settings = load_settings()
    with steps() as shown:
        size = restore(settings, source, shown.show)
    typer.echo(f"{size / 1e6:,.1f} MB restored; `tandem doctor` looks whether all of it can be used")
