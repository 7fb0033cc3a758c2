"""`tandem tune`: a name that is kept for the search of hyper-parameters."""

from __future__ import annotations

import typer


def command() -> None:
    """Search hyper-parameters for your data (not built yet)."""
    typer.echo(
        "tandem: tune is not built yet; it arrives with the quality work. "
        "The defaults of `tandem train` already follow the data.",
        err=True,
    )
    raise typer.Exit(2)
