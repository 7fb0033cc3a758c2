"""docs/evaluation.md: its commands run as written, and its JSON has the shape of the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.gateway.test_report_page import fill

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")


def lacking(shown: Any, real: Any, where: str = "") -> list[str]:
    """What the page shows and the real document does not have, or has of another kind."""
    if isinstance(shown, dict):
        return [
            text
            for name, inner in shown.items()
            for text in (lacking(inner, real[name], f"{where}/{name}") if name in real else [f"{where}/{name}"])
        ]
    if isinstance(shown, list):
        return [text for inner in shown[:1] for text in lacking(inner, real[0], f"{where}[]")]
    alike = isinstance(shown, int | float) == isinstance(real, int | float)
    return [] if alike else [f"{where}: {real!r}"]


def test_its_commands_run_and_its_json_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S):
        for line in block.splitlines():
            with pytest.raises(SystemExit) as ended:
                main(line.split()[1:])
            assert ended.value.code in (0, None), line
    (shown,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    assert lacking(json.loads(shown), json.loads(Path("figures.json").read_bytes())) == []
