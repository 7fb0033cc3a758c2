"""The commands of `tandem`, one file each; `COMMANDS` is the registry, in the order of `tandem --help`."""

from __future__ import annotations

import errno
import os
import socket
import sys
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from recommender.errors import TandemError

COMMANDS = (
    "demo",
    "import",
    "compact",
    "replay",
    "train",
    "evaluate",
    "tune",
    "models",
    "rules",
    "index",
    "backup",
    "restore",
    "export",
    "report",
    "serve",
    "token",
    "schema",
    "doctor",
    "settings",
)


class _Commands(TyperGroup):
    """Finds a command by its file when it is asked for, so that no command waits for the imports of another."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # typer's own class of context
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gateway.cli.{cmd_name}_" if cmd_name == "import" else f"gateway.cli.{cmd_name}")
        found = module.command
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(cmd_name)(found)
            found = app
        found.pretty_exceptions_enable = False
        command = get_command(found)
        command.name = cmd_name
        return command


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"tandem {metadata.version('tandem')}")
        except metadata.PackageNotFoundError:
            typer.echo("tandem (run from its source, not installed)")
        raise typer.Exit


def _tandem(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A GraphQL recommendations gateway for talent marketplaces.

    Settings come from the environment: see `tandem settings`.
    """


def build_app() -> typer.Typer:
    """The typer app of every command in the registry."""
    # Typer's own tracebacks print local variables, and with them tokens.
    app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_tandem)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 interrupted."""
    try:
        # Standalone, typer draws a box of five lines around wrong usage.
        sys.exit(get_command(build_app()).main(args=arguments, prog_name="tandem", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except TyperException as error:
        _fail(_usage_line(error), error.exit_code)
    except TandemError as error:
        _fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(_system_line(error))


def _fail(line: str, code: int = 1) -> None:
    if line:
        typer.echo(f"tandem: {' '.join(line.split())}", err=True)
    sys.exit(code)


def _usage_line(error: TyperException) -> str:
    """What was wrong about the arguments, and where the right ones stand; empty when help was printed instead."""
    message = error.format_message().replace("Value error, ", "").replace("Input should", "it should").rstrip(".")
    context = getattr(error, "ctx", None)
    return message and f"{message}; see `{context.command_path if context else 'tandem'} --help`"


def _system_line(error: OSError) -> str:
    """What the operating system refused, and what to do about it."""
    subject = f"{error.filename}: " if error.filename is not None else ""
    match error.errno:
        case _ if isinstance(error, socket.gaierror):
            return "TANDEM_HOST is no address or name that this machine knows; set it to one such as 127.0.0.1"
        case errno.EADDRINUSE:
            return "the port is in use; stop what listens on it or set TANDEM_PORT to another one"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have the address of TANDEM_HOST; set it to one that it has"
        case errno.ENOENT:
            return f"{subject}there is no such file or directory"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{subject}permission denied; check who may read and write it"
        case errno.ENOSPC | errno.EDQUOT:
            return f"{subject}the disk is full; free some space"
        case _:
            return f"{subject}{error.strerror or error}"
