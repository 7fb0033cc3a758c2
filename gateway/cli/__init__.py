"""The commands of `tandem`, one file each; `COMMANDS` is the registry, in the order of `tandem --help`."""

from __future__ import annotations

from importlib import import_module

import typer

COMMANDS = (
    "demo",
    "import",
    "train",
    "evaluate",
    "tune",
    "models",
    "index",
    "export",
    "report",
    "serve",
    "token",
    "schema",
    "doctor",
    "settings",
)
