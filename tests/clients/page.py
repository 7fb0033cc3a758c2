"""The blocks of docs/clients.md: a small app, file by file, and the commands that make it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.M | re.S)


def files() -> dict[str, str]:
    """Text by file name, such as `apollo.ts`. A block must be a file or commands: nothing on the page is only read."""
    found: dict[str, str] = {}
    for language, name, text in BLOCK.findall(TEXT):
        if language != "sh":
            assert name and name not in found, f"a block of {language!r} needs a file name of its own: {text[:60]!r}"
            found[name] = text
    assert 2 * len(BLOCK.findall(TEXT)) == TEXT.count("```")
    return found


def commands() -> list[list[str]]:
    """Each line of the blocks of commands, in words."""
    return [
        shlex.split(line) for language, _, text in BLOCK.findall(TEXT) if language == "sh" for line in text.splitlines()
    ]


def command(*beginning: str) -> list[str]:
    """The command of the page that begins with these words."""
    (found,) = (words for words in commands() if words[: len(beginning)] == list(beginning))
    return found


def written(directory: Path, *suffixes: str) -> Iterator[str]:
    """Write the files that end so, and the schema beside them; their names."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "schema.graphql").write_bytes((ROOT / "schema.graphql").read_bytes())
    for name, text in files().items():
        if name.endswith(suffixes):
            (directory / name).write_text(text, encoding="utf-8")
            yield name
