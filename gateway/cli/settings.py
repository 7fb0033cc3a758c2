"""`tandem settings`: every setting with its meaning, default and current value."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from gateway.settings import Settings, load_settings, unknown_variables, variable, without_password

UNSET = "unset"
ANY_WIDTH = 1_000  # a pipe has no width: a row is a line


def command(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation instead.")] = False,
) -> None:
    """Print every setting with its meaning, default and current value."""
    if markdown:
        typer.echo(markdown_table(), nl=False)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    settings = load_settings()
    table = Table("Setting", "Current value", "Default", "Meaning", box=box.SIMPLE_HEAD)
    for name, field in Settings.model_fields.items():
        current, default = shown(getattr(settings, name)), shown(field.default)
        table.add_row(
            Text(variable(name), no_wrap=True),
            Text(current, style="" if current == default else "bold"),
            Text(default),
            Text((field.description or "").replace("`", "")),
        )
    Console(width=None if sys.stdout.isatty() else ANY_WIDTH).print(table)
    for name in unknown_variables(os.environ):
        typer.echo(f"tandem: {name} is set and is no setting", err=True)


def markdown_table() -> str:
    """The table of docs/settings.md."""
    lines = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{variable(name)}` | {_code(shown(field.default))} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A value as an operator would write it; secrets and the passwords of URLs as stars."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        value = ",".join(value)
    return UNSET if value is None or value == "" else without_password(str(value))


def _code(text: str) -> str:
    return text if text == UNSET else f"`{text}`"
