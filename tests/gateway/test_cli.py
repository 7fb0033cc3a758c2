"""The command line: the registry, the one line that a failure gets, exit codes, and what starts fast."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jwt
import pytest
from starlette.requests import Request

from gateway import cli
from gateway.cli import COMMANDS, main
from gateway.http.auth import build_access
from gateway.settings import Settings
from recommender.errors import UnavailableError

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in an empty directory; gives its exit code and what it printed."""
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str, **settings: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(f"TANDEM_{name}", value)
            with pytest.raises(SystemExit) as left:
                main(list(arguments))
        captured = capsys.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return run_command


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def command() -> None:
        raise error

    monkeypatch.setattr(cli, "import_module", lambda _name: SimpleNamespace(command=command))


def test_every_command_of_the_registry_is_in_the_help(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert [name for name in COMMANDS if not re.search(rf"^│ {name} ", out, re.MULTILINE)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"tandem {name}" in out


@pytest.mark.parametrize("arguments", [["--help"], ["settings"], ["token"], ["tune", "--help"]], ids=" ".join)
def test_help_and_settings_wait_for_no_heavy_library(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from gateway.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'numpy', 'scipy', 'implicit', 'pyarrow', 'strawberry', 'uvicorn', 'starlette', 'pyroaring'}\n"
        "print('HEAVY', sorted(heavy & sys.modules.keys()))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_the_version_is_printed(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("tandem ")


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    code, out, err = run("recommend")
    assert (code, out) == (2, "")
    assert "No such command 'recommend'" in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("recommend",), "No such command 'recommend'; see `tandem --help`"),
        (("export", "--fro"), "No such option: --fro (Possible options: --for, --out); see `tandem export --help`"),
        (("export", "--for"), "Option '--for' requires an argument; see `tandem --help`"),
        (
            ("export", "--for", "all", "--out", "o.jsonl"),
            "Invalid value for '--for': 'all' is not one of 'talents', 'jobs'; see `tandem export --help`",
        ),
        (
            ("export", "--for", "jobs", "--out", "o.jsonl", "--k", "0"),
            "Invalid value for '--k': it should be greater than or equal to 1; see `tandem export --help`",
        ),
        (("models", "promote"), "Missing argument 'version'; see `tandem models promote --help`"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: tuple[str, ...], line: str) -> None:
    assert run(*arguments) == (2, "", f"tandem: {line}\n")


def test_a_reader_that_has_enough_is_no_failure_worth_a_word() -> None:
    root = Path(__file__).parents[2]
    command = f"{sys.executable} -m gateway schema | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_no_command_prints_the_help(run: Run) -> None:
    code, out, _ = run()
    assert code == 2
    assert "Usage: tandem" in out


@pytest.mark.parametrize("name", ["train", "evaluate", "index", "report", "serve"])
def test_a_command_without_data_says_what_to_do_and_leaves_nothing_behind(run: Run, name: str, tmp_path: Path) -> None:
    code, out, err = run(name, AUTH="open")
    assert (code, out) == (1, "")
    assert err == "tandem: no data in data: run `tandem import …` or `tandem demo` first\n"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_one_line(run: Run) -> None:
    assert run("index", PORT="abc") == (
        1,
        "",
        "tandem: TANDEM_PORT: allowed is a whole number from 0 to 65535; got 'abc'\n",
    )


def test_a_failure_of_ours_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, UnavailableError("event log", "the disk\nis full"))
    assert run("index") == (1, "", "tandem: event log is unavailable: the disk is full\n")


@pytest.mark.parametrize(
    ("number", "filename", "line"),
    [
        (errno.EADDRINUSE, None, "the port is in use; stop what listens on it or set TANDEM_PORT to another one"),
        (errno.EADDRNOTAVAIL, None, "this machine does not have the address of TANDEM_HOST; set it to one that it has"),
        (errno.ENOENT, "jobs.csv", "jobs.csv: there is no such file or directory"),
        (errno.EACCES, "jobs.csv", "jobs.csv: permission denied; check who may read and write it"),
        (errno.ENOSPC, "out.jsonl", "out.jsonl: the disk is full; free some space"),
        (errno.EISDIR, "jobs.csv", "jobs.csv: Is a directory"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, filename: str | None, line: str
) -> None:
    _fail_with(monkeypatch, OSError(number, os.strerror(number), filename))
    assert run("index") == (1, "", f"tandem: {line}\n")


def test_an_interruption_leaves_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, KeyboardInterrupt())
    assert run("index")[0] == 130


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["index"])


def test_settings_show_the_value_in_force_and_no_secret(run: Run) -> None:
    code, out, err = run("settings", PORT="9001", SERVICE_TOKEN="s3cret", PROT="1")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip().startswith("TANDEM_")}
    assert rows["TANDEM_PORT"][1:3] == ["9001", "8000"]
    assert rows["TANDEM_SERVICE_TOKEN"][1:3] == ["********", "unset"]
    assert "s3cret" not in out
    assert err == "tandem: TANDEM_PROT is set and is no setting\n"


def test_a_new_token_is_alone_on_stdout_and_different_each_time(run: Run, tmp_path: Path) -> None:
    first, second = run("token", "--role", "service", DATA_DIR=str(tmp_path)), run("token", DATA_DIR=str(tmp_path))
    assert first[0] == second[0] == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", first[1])
    assert first[1] != second[1]
    assert "export TANDEM_AUTH=token TANDEM_SERVICE_TOKEN=<token>" in first[2]
    assert "Authorization: Bearer <token>" in first[2]


def test_the_token_in_force_is_printed(run: Run) -> None:
    code, out, err = run("token", SERVICE_TOKEN="s3cret")
    assert (code, out) == (0, "s3cret\n")
    assert "It is not asked for until TANDEM_AUTH=token is set." in err
    assert "not asked for" not in run("token", SERVICE_TOKEN="s3cret", AUTH="token")[2]


def test_where_a_demo_has_been_the_service_gets_a_token_that_it_takes(run: Run, tmp_path: Path) -> None:
    data = {"DATA_DIR": str(tmp_path)}
    assert "A running `tandem demo` does not take it" in run("token", **data)[2]
    assert run("token", "--role", "admin", **data)[0] == 0  # which makes a key
    code, out, err = run("token", **data)
    told = jwt.decode(out.strip(), options={"verify_signature": False})
    assert (code, told["role"], told["sub"]) == (0, "service", "service")
    assert "TANDEM_AUTH=token wants another: TANDEM_AUTH=token tandem token" in err
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", run("token", AUTH="token", **data)[1])
    assert run("token", SERVICE_TOKEN="s3cret", **data)[1] == "s3cret\n"


def test_a_token_can_be_had_before_the_setting_that_needs_it(run: Run) -> None:
    assert run("token", AUTH="token")[0] == 0


@pytest.mark.parametrize("role", ["talent", "client", "service", "engineer", "admin"])
def test_a_token_of_each_role_is_signed_here_and_says_how_to_serve_for_it(run: Run, tmp_path: Path, role: str) -> None:
    data = {"DATA_DIR": str(tmp_path)}
    code, out, err = run("token", "--role", role, "--sub", "t-4", "--hours", "2", **data)
    assert code == 0, err
    told = jwt.decode(out.strip(), options={"verify_signature": False})
    assert (told["role"], told["sub"], told["exp"] - told["iat"]) == (role, "t-4", 7_200)
    said = dict(re.findall(r"(TANDEM_[A-Z_]+)=(\S+)", err))
    assert said.pop("TANDEM_AUTH") == "jwt"
    settings = {name.removeprefix("TANDEM_"): value for name, value in said.items()}
    assert run("token", "--role", role, "--sub", "t-4", AUTH="jwt", **settings, **data)[0] == 0
    served = Settings(auth="jwt", **{name.lower(): value for name, value in settings.items()})
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {out.strip()}".encode())]})
    assert build_access(served).viewer(request).roles == (role,)


@pytest.mark.parametrize(
    ("arguments", "settings", "names"),
    [
        (["--role", "talent"], {}, "--role talent needs --sub"),
        (["--role", "client"], {}, "--role client needs --sub"),
        (["--role", "talent", "--sub", ""], {}, "--sub: the token needs `sub`"),
        (["--role", "talent", "--sub", "x" * 257], {}, "--sub: the token needs `sub`"),
        (["--role", "admin", "--hours", "25"], {}, "--hours 25 is more than the 24 of TANDEM_TOKEN_HOURS"),
        (["--role", "admin"], {"JWKS_URL": "https://id.example.com/keys"}, "the provider behind TANDEM_JWKS_URL"),
        (["--role", "service"], {"JWKS_URL": "https://id.example.com/keys", "AUTH": "jwt"}, "TANDEM_JWKS_URL"),
    ],
)
def test_a_token_that_cannot_be_signed_here_is_one_clear_line(
    run: Run, tmp_path: Path, arguments: list[str], settings: dict[str, str], names: str
) -> None:
    code, out, err = run("token", *arguments, DATA_DIR=str(tmp_path), **settings)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert names in err
    assert not list(tmp_path.iterdir())


def test_an_unknown_role_is_wrong_usage(run: Run) -> None:
    assert run("token", "--role", "king")[0] == 2
