"""Settings: defaults, the line that a wrong one gets, and the page that lists them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cli.settings import markdown_table, shown
from gateway.settings import Settings, SettingsError, is_loopback, load_settings, path_from_url, unknown_variables

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


def test_everything_has_a_default_under_the_data_directory() -> None:
    settings = load_settings()
    assert settings.catalogue_path == Path("data/catalogue.db")
    assert settings.events_path == Path("data/events.db")
    assert settings.serving_log_path == Path("data/serving.db")
    assert settings.models_path == Path("data/models")
    assert settings.archive_path == Path("data/archive/tandem")
    assert (settings.host, settings.port, settings.auth, settings.currency) == ("127.0.0.1", 8000, None, "USD")


def test_a_url_moves_one_part_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", "/srv/tandem")
    monkeypatch.setenv("TANDEM_EVENTS_URL", "sqlite:////var/log/events.db")
    monkeypatch.setenv("TANDEM_MODELS_URL", "file:///mnt/shared/my%20models")
    settings = load_settings()
    assert settings.events_path == Path("/var/log/events.db")
    assert settings.models_path == Path("/mnt/shared/my models")
    assert settings.catalogue_path == Path("/srv/tandem/catalogue.db")


def test_three_slashes_of_sqlite_are_relative_and_four_absolute() -> None:
    assert path_from_url("sqlite:///here/x.db") == Path("here/x.db")
    assert path_from_url("sqlite:////there/x.db") == Path("/there/x.db")
    assert path_from_url("file:///there/models") == Path("/there/models")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PORT", "")
    monkeypatch.setenv("TANDEM_AUTH", "")
    assert (load_settings().port, load_settings().auth) == (8000, None)


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CORS_ORIGINS", "https://app.example.com, http://localhost:3000,")
    assert load_settings().cors_origins == ("https://app.example.com", "http://localhost:3000")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PORT", "abc", "TANDEM_PORT: allowed is a whole number from 0 to 65535; got 'abc'"),
        ("PORT", "70000", "TANDEM_PORT: allowed is a whole number from 0 to 65535; got '70000'"),
        ("AUTH", "jtw", "TANDEM_AUTH: allowed is 'open', 'token' or 'jwt'; got 'jtw'"),
        ("LOG_LEVEL", "loud", "TANDEM_LOG_LEVEL: allowed is 'debug', 'info', 'warning' or 'error'; got 'loud'"),
        ("CURRENCY", "dollars", "TANDEM_CURRENCY: allowed is a code of three letters such as USD; got 'DOLLARS'"),
        ("MUTUAL_WEIGHT", "-1", "TANDEM_MUTUAL_WEIGHT: allowed is a number from 0 to 10; got '-1'"),
        ("MUTUAL_WEIGHT", "nan", "TANDEM_MUTUAL_WEIGHT: allowed is a number from 0 to 10; got 'nan'"),
        ("MAX_PER_CLIENT", "0", "TANDEM_MAX_PER_CLIENT: allowed is a whole number from 1 to 10; got '0'"),
        ("FATIGUE", "1.5", "TANDEM_FATIGUE: allowed is a number from 0 to 1; got '1.5'"),
        ("FATIGUE_HALF_LIFE_DAYS", "0", "TANDEM_FATIGUE_HALF_LIFE_DAYS: allowed is a number above 0; got '0'"),
        ("MODELS_KEPT", "0", "TANDEM_MODELS_KEPT: allowed is a whole number from 1; got '0'"),
        (
            "NAMESPACE",
            "a b",
            "TANDEM_NAMESPACE: allowed is up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit; got 'a b'",
        ),
        (
            "CATALOGUE_URL",
            "elasticsearch://me:secret@localhost:9200/tandem",
            "TANDEM_CATALOGUE_URL: allowed is one or more hosts with ports, separated by commas, such as "
            "elasticsearch://host:9200; in a user or password write @ : / ? # % as %40 %3A %2F %3F %23 %25; "
            "got 'elasticsearch://***@localhost:9200/tandem'",
        ),
        (
            "EVENTS_URL",
            "redis://me:se/c@ret@localhost:6379/first",
            "TANDEM_EVENTS_URL: allowed is a host, a port and the number of a database, such as redis://host:6379/0; "
            "in a user or password write @ : / ? # % as %40 %3A %2F %3F %23 %25; "
            "got 'redis://***@localhost:6379/first'",
        ),
        (
            "EVENTS_URL",
            "rediss://localhost?ssl_cert_reqs=none",
            "TANDEM_EVENTS_URL: allowed is a URL without ? and #, such as rediss://host:6379/0; "
            "got 'rediss://localhost?ssl_cert_reqs=***'",
        ),
        (
            "EVENTS_URL",
            "redis://localhost:99999",
            "TANDEM_EVENTS_URL: allowed is a host, a port and the number of a database, such as redis://host:6379/0; "
            "got 'redis://localhost:99999'",
        ),
        (
            "EVENTS_URL",
            "kafka://localhost",
            "TANDEM_EVENTS_URL: allowed is a URL such as sqlite:///path/to/events.db or redis://host:6379/0; "
            "got 'kafka://localhost'",
        ),
        (
            "CACHE_URL",
            "sqlite:///cache.db",
            "TANDEM_CACHE_URL: allowed is a URL such as memory:// or redis://host:6379/0; got 'sqlite:///cache.db'",
        ),
        (
            "CATALOGUE_URL",
            "mysql://x",
            "TANDEM_CATALOGUE_URL: allowed is a URL such as sqlite:///path/to/catalogue.db or "
            "elasticsearch://host:9200; got 'mysql://x'",
        ),
        ("MODELS_URL", "models", "TANDEM_MODELS_URL: allowed is a URL such as file:///path/to/models; got 'models'"),
        (
            "MODELS_URL",
            "file://models",
            "TANDEM_MODELS_URL: allowed is a path behind three slashes, such as file:///path/to/models; "
            "got 'file://models'",
        ),
        ("CACHE_URL", "memory://x", "TANDEM_CACHE_URL: allowed is memory://, with nothing after it; got 'memory://x'"),
        (
            "CATALOGUE_URL",
            "sqlite://[",
            "TANDEM_CATALOGUE_URL: allowed is a URL such as sqlite:///path/to/catalogue.db or "
            "elasticsearch://host:9200 (Invalid IPv6 URL); got 'sqlite://['",
        ),
        (
            "CORS_ORIGINS",
            "*",
            "TANDEM_CORS_ORIGINS: allowed is origins such as https://app.example.com, separated by commas, "
            "without path or *; got '*'",
        ),
    ],
)
def test_a_wrong_setting_gets_one_line_with_its_name_what_is_allowed_and_what_came(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == line


def test_several_wrong_settings_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PORT", "x")
    monkeypatch.setenv("TANDEM_AUTH", "y")
    with pytest.raises(SettingsError, match=r"^TANDEM_PORT: .*; TANDEM_AUTH: "):
        load_settings()


def test_open_access_is_for_a_loopback_host_only() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1"):
        assert load_settings(auth="open", host=host).auth == "open"
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com"):  # noqa: S104
        with pytest.raises(SettingsError, match=r"^TANDEM_AUTH=open needs a loopback host such as 127\.0\.0\.1"):
            load_settings(auth="open", host=host)


def test_what_is_loopback() -> None:
    assert is_loopback("[::1]")
    assert not is_loopback("")


def test_access_without_what_it_needs_says_so() -> None:
    assert load_settings().access_problem() is None
    assert load_settings(auth="token", service_token="s3cret").access_problem() is None
    assert "needs TANDEM_SERVICE_TOKEN" in str(load_settings(auth="token").access_problem())
    assert "needs TANDEM_SERVICE_TOKEN" in str(load_settings(auth="token", service_token=" \n").access_problem())
    assert "TANDEM_JWKS_URL and TANDEM_ISSUER" in str(load_settings(auth="jwt", audience="a").access_problem())


def test_a_token_out_of_a_file_needs_no_care_for_its_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_SERVICE_TOKEN", "s3cret\n")
    token = load_settings().service_token
    assert token is not None
    assert token.get_secret_value() == "s3cret"


def test_a_secret_shows_in_no_text_of_the_settings() -> None:
    settings = load_settings(service_token="s3cret")
    assert "s3cret" not in f"{settings} {settings!r}"


def test_the_password_of_a_url_shows_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(events_url="redis://me:s3cret@localhost:6380/2")
    assert "s3cret" not in f"{settings} {settings!r}"
    assert shown(settings.events_url) == "redis://***@localhost:6380/2"
    assert settings.events_redis_url == "redis://me:s3cret@localhost:6380/2"
    assert load_settings(events_url="sqlite:///x.db").events_redis_url is None


def test_a_misspelt_variable_is_noticed() -> None:
    environment = {"TANDEM_PORT": "1", "TANDEM_PROT": "1", "HOME": "/", "tandem_host": "x"}
    assert unknown_variables(environment) == ["TANDEM_PROT"]


def test_every_setting_has_a_meaning() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_page_of_the_documentation_has_the_table_of_the_program() -> None:
    assert markdown_table() in (ROOT / "docs" / "settings.md").read_text()
