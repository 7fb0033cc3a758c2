"""Every setting: its meaning, its default, what is allowed. Read from the environment, once, by the commands."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from recommender.errors import TandemError

PREFIX = "TANDEM_"
REDIS_SCHEMES = ("redis", "rediss")
ELASTICSEARCH_SCHEMES = ("elasticsearch", "elasticsearch+https")
_NAME = "[A-Za-z][A-Za-z0-9_]*"  # of GraphQL, but for what begins with _, which is a router's


class SettingsError(TandemError):
    """A setting has a value that cannot be used. The text names the variable, what came and what is allowed."""


# Per port: the forms of its URL.
_FORMS: dict[str, tuple[str, ...]] = {
    "catalogue_url": (
        "sqlite:///path/to/catalogue.db",
        "elasticsearch://host:9200",
        "elasticsearch+https://host:9200",
    ),
    "cache_url": ("memory://", "redis://host:6379/0", "rediss://host:6379/0"),
    "events_url": ("sqlite:///path/to/events.db", "redis://host:6379/0", "rediss://host:6379/0"),
    "archive_url": ("file:///path/to/archive",),
    "models_url": ("file:///path/to/models",),
}


def _wrong(text: str, **context: Any) -> PydanticCustomError:
    # Braces are the template's; a value that came from outside may hold some.
    return PydanticCustomError("setting", "{text}", {"text": text, **context})


def _check_url(url: str | None, info: ValidationInfo) -> str | None:
    if url is None:
        return None
    forms = _FORMS[info.field_name or ""]
    every_form = " or ".join(forms[:2])
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(f"a URL such as {every_form} ({error})") from error
    scheme = parts.scheme
    form = next((form for form in forms if form.startswith(f"{scheme}://")), None)
    if form is None or not url.startswith(f"{scheme}://"):
        raise _wrong(f"a URL such as {every_form}")
    if scheme in REDIS_SCHEMES:
        return _check_redis_url(url, parts, form)
    if scheme in ELASTICSEARCH_SCHEMES:
        return _check_elasticsearch_url(url, parts, form)
    if scheme == "memory":
        if parts.netloc or parts.path:
            raise _wrong("memory://, with nothing after it")
        return url
    if parts.netloc or not parts.path.strip("/"):
        raise _wrong(f"a path behind three slashes, such as {form}")
    if parts.query or parts.fragment:
        raise _wrong(f"a URL without ? and #, such as {form}")
    return url


def _check_redis_url(url: str, parts: SplitResult, form: str) -> str:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or port == 0 or not re.fullmatch(r"(/[0-9]{0,5})?", parts.path):
        raise _wrong(f"a host, a port and the number of a database, such as {form}{_quoting(url)}")
    if parts.query or parts.fragment:
        raise _wrong(f"a URL without ? and #, such as {form}{_quoting(url)}")
    return url


def _check_elasticsearch_url(url: str, parts: SplitResult, form: str) -> str:
    places = parts.netloc.rpartition("@")[2].split(",")
    if parts.path.strip("/") or not all(_is_place(place) for place in places):
        raise _wrong(f"one or more hosts with ports, separated by commas, such as {form}{_quoting(url)}")
    if parts.fragment or not re.fullmatch(r"(ca_certs=[^&]+)?", parts.query):
        raise _wrong(f"{form}, with nothing behind it but ?ca_certs=/path/to/authority.pem{_quoting(url)}")
    if parts.query and parts.scheme != "elasticsearch+https":
        raise _wrong("elasticsearch+https://host:9200 where ?ca_certs= names an authority")
    return url


def _is_place(text: str) -> bool:
    """Whether it is a host, or an IPv6 address in brackets, with or without a port."""
    found = re.fullmatch(r"(?:[^:@\s\[\]]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?", text)
    return found is not None and (found[1] is None or 0 < int(found[1]) <= 65_535)


def _quoting(url: str) -> str:
    """What to do where the wrong character may be a password's."""
    return "; in a user or password write @ : / ? # % as %40 %3A %2F %3F %23 %25" if "@" in url else ""


def _web_parts(url: str, form: str) -> SplitResult:
    """The parts of a URL whose host and port can be read."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(f"a URL such as {form} ({error})") from error
    return parts


def _check_jwks_url(url: str | None) -> str | None:
    """Keys that somebody on the way could replace open every door, so they come by TLS or from this machine."""
    if url is None:
        return None
    parts = _web_parts(url, "https://id.example.com/keys.json")
    place = parts.hostname
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/") and not parts.query and not parts.fragment:
        return url
    if place and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(place))):
        return url
    raise _wrong("https:// and an address, http:// on this machine alone, or file:// and an absolute path")


def _check_otlp_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = _web_parts(url, "http://collector:4318")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise _wrong("a URL such as http://collector:4318")
    return url


Url = Annotated[str | None, AfterValidator(_check_url)]


class Settings(BaseSettings):
    """What an operator can set, each as `TANDEM_<NAME>`. An empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Field(Path("data"), description="Root of every embedded store that has no URL of its own.")
    catalogue_url: Url = Field(
        None,
        repr=False,  # it may hold a password
        description="Where talents and jobs are kept: `sqlite:///` and a path (a fourth slash makes it absolute), or "
        "`elasticsearch://user:password@host:port` (`elasticsearch+https://` for TLS, `?ca_certs=` and a path for an "
        "authority of your own). Unset: `catalogue.db` in the data directory.",
    )
    cache_url: Url = Field(
        "memory://",
        repr=False,  # it may hold a password
        description="Where ranked lists and documents are cached: `memory://` is in the process, "
        "`redis://user:password@host:port/database` (`rediss://` for TLS) is shared by every gateway.",
    )
    cache_mb: int = Field(
        128, ge=8, description="How many megabytes the cache may take, in the process or on its server."
    )
    events_url: Url = Field(
        None,
        repr=False,  # it may hold a password
        description="Where the event log is kept: `sqlite:///` and a path (a fourth slash makes it absolute), or "
        "`redis://user:password@host:port/database` (`rediss://` for TLS). Unset: `events.db` in the data directory.",
    )
    catalogue_timeout_ms: int = Field(
        120, ge=1, description="How long a request waits for Elasticsearch each time it asks."
    )
    events_timeout_ms: int = Field(
        100,
        ge=1,
        description="How long a request waits for a look-up in the event log in Redis.",
    )
    events_stream_days: float = Field(
        7,
        ge=0,
        allow_inf_nan=False,
        description="How many days an event stays in the Redis stream after `tandem compact` has archived it.",
    )
    archive_url: Url = Field(
        None,
        description="Where `tandem compact` keeps old events of a log in Redis: `file://` and an absolute path, on a "
        "disk that every process shares. Unset: `archive` in the data directory.",
    )
    cache_timeout_ms: int = Field(
        100, ge=1, description="How long a request waits for a cache in Redis; then it computes for itself."
    )
    models_url: Url = Field(
        None,
        description="Where trained models are kept: `file://` and an absolute path. "
        "Unset: `models` in the data directory.",
    )
    retrieval: Literal["exact", "knn"] = Field(
        "exact",
        description="How the best of a list are found. `exact`: by looking at all that match, in process. `knn`: by an "
        "index of vectors in Elasticsearch where that is quicker (docs/decisions/0012); the list then says APPROXIMATE "
        "and its measured recall.",
    )
    knn_from: int = Field(
        500_000,
        ge=1,
        description="How many documents must match before `TANDEM_RETRIEVAL=knn` asks the index; fewer are looked at "
        "in process.",
    )
    models_kept: int = Field(
        10, ge=1, description="How many of the newest models are kept; the serving one always is, beside them."
    )
    serving_log_days: int = Field(
        30, ge=1, description="How many days served lists are kept for crediting outcomes to them."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address that `tandem serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `tandem serve` listens on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="How many processes `tandem serve` answers with, all at one port; as many as there are cores is "
        "most. With more than one, one that dies is replaced, and SIGHUP renews them without a failed request.",
    )
    connections: int = Field(
        4_000,
        ge=16,
        description="How many connections one process holds at most; those that wait for their client give way. Fewer "
        "where the system allows too few open files.",
    )
    start_wait_seconds: float = Field(
        60.0,
        ge=0,
        le=240,
        allow_inf_nan=False,
        description="How long `tandem serve` waits at its start for an Elasticsearch or an event log that does not "
        "answer. Meanwhile `/readyz` and requests are answered 503; then it ends with one line. 0: it ends at once.",
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="How long everything but `/readyz` is answered after SIGTERM, before no connection is taken any "
        "more: what a load balancer needs to notice. 0: not at all.",
    )
    auth: Literal["open", "token", "jwt"] | None = Field(
        None,
        description="Who may ask. Unset: nobody (401). `open`: everybody, on a loopback host only. "
        "`token`: who has the service token. `jwt`: who has a token of the provider (docs/security.md).",
    )
    service_token: SecretStr | None = Field(
        None, description="The bearer token of the service role, for `TANDEM_AUTH=token`."
    )
    jwks_url: Annotated[str | None, AfterValidator(_check_jwks_url)] = Field(
        None,
        repr=False,  # it may hold a password
        description="Where the keys of `TANDEM_AUTH=jwt` are published, as a JSON Web Key Set: `https://`, `http://` "
        "on this machine, or `file://` and an absolute path.",
    )
    issuer: str | None = Field(None, description="The `iss` claim that `TANDEM_AUTH=jwt` asks for.")
    audience: str | None = Field(None, description="The `aud` claim that `TANDEM_AUTH=jwt` asks for.")
    token_hours: float = Field(
        24.0,
        gt=0.0,
        le=720.0,
        allow_inf_nan=False,
        description="The longest that a token may live, from `iat` to `exp`; one that lives longer is refused.",
    )
    public_attributes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Attributes, separated by commas, that a talent sees of jobs and a client of talents, and may "
        "filter and count by. Unset: none; one's own are seen anyway.",
    )
    operations: Literal["any", "trusted"] = Field(
        "any",
        description="Which operations are answered. `trusted`: those of `TANDEM_TRUSTED_DOCUMENTS`, and of an engineer "
        "any. `any`: all within the limits.",
    )
    deadline_ms: int = Field(
        300,
        ge=50,
        description="How long an answer may wait for what it asks. What has not answered by then is done without, "
        "where that can be (docs/operating.md). A caller may ask for less by the header `Tandem-Timeout-Ms`.",
    )
    rate_limits: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="What the callers of a role may spend in a minute, in the cost of `rateLimit { cost }`: such as "
        "`talent=20000,client=50000,service=2000000`. Each subject has its own; more is answered 429 `THROTTLED`. "
        "Counted in the Redis of `TANDEM_CACHE_URL`, else by each process for its share. Unset: nothing is limited.",
    )
    max_in_flight: int = Field(
        128,
        ge=0,
        description="How many requests one process works on at once at the most; with too little CPU it takes fewer. "
        "More wait for up to 80 ms, and are then answered 503 with `Retry-After` (docs/operating.md). 0: no limit.",
    )
    batch_operations: int = Field(
        1,
        ge=1,
        le=100,
        description="How many operations one request may hold, as a JSON array. `1`: an array is refused.",
    )
    refused_status: Literal["400", "422"] = Field(
        "400",
        description="Status of a well-formed request that cannot be executed, for who accepts "
        "`application/graphql-response+json`: `400`, or the `422` of the newer draft, in which a document that is not "
        "GraphQL stays 400.",
    )
    compiled: bool = Field(
        True,
        description="Whether what a document selects is compiled when it is first asked (docs/decisions/0021). "
        "`false`: graphql-core executes every operation by itself; answers are the same, and later.",
    )
    trusted_documents: Path | None = Field(
        None,
        description="Manifest of the documents that clients ask by `documentId`: a JSON file of graphql-codegen, Relay "
        "or Apollo.",
    )
    federation: str | None = Field(
        None,
        pattern=rf"^{_NAME}\.{_NAME},{_NAME}\.{_NAME}$",
        description="What the marketplace's federated graph calls talents and jobs and their own ids, such as "
        "`Talent.id,Job.id`: a router is then answered at `/federation`. Unset: nobody is.",
    )
    federation_prefix: str = Field(
        "Tandem",
        pattern=rf"^{_NAME}$",
        description="What the names of our types begin with in the federated graph, so that none is taken there.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may ask, separated by commas, such as `https://app.example.com`."
    )
    namespace: str = Field(
        "tandem",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Prefix of every key and index in a shared store, so that several environments fit in one. "
        "The embedded stores share nothing and have none.",
    )
    currency: str = Field(
        "USD",
        pattern=r"^[A-Z]{3}$",
        description="Currency (ISO 4217) of imported pay that does not say its own, and of pay sorts and facets.",
    )
    mutual_weight: float = Field(
        1.0,
        ge=0.0,
        le=10.0,
        allow_inf_nan=False,
        description="Weight of the other side's interest in a ranking, beside 1 for that of who asks. 0: one side "
        "alone. No effect while one side has too few events for an interest of its own.",
    )
    rules: Path | None = Field(
        None,
        description="The rules of the product team: a TOML file, read again when it changes (docs/steering.md). Unset: "
        "there are none.",
    )
    max_per_client: int | None = Field(
        None,
        ge=1,
        le=10,
        description="At most so many jobs of one client in any ten rows of a list, where a request says nothing else. "
        "Unset: no limit.",
    )
    fatigue: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="The share of its standing that an item can lose by being shown again and again (`IMPRESSION`) "
        "while nothing is done about it. 0 is off.",
    )
    fatigue_half_life_days: float = Field(
        7.0, gt=0.0, allow_inf_nan=False, description="After how many days an impression counts half."
    )
    new_jobs_share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="The share of every twenty rows of a talent's list that new jobs have at least. 0 is off.",
    )
    new_jobs_days: int = Field(7, ge=1, description="How many days a job is new after it was posted.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Form of the log on stderr; `auto` is `console` on a terminal and `json` elsewhere."
    )

    otlp_url: Annotated[str | None, AfterValidator(_check_otlp_url)] = Field(
        None,
        repr=False,  # it may hold a password
        description="Where traces are sent, such as `http://collector:4318` (OTLP over HTTP; docs/tracing.md). Unset: "
        "where OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT` says, and without that nothing is traced.",
    )

    @field_validator("auth", "operations", "retrieval", "log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("currency", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("service_token", mode="before")
    @classmethod
    def _bare(cls, value: object) -> object:
        # Out of a file it ends in a line break, which no header can carry; and nobody could send a blank one.
        return value.strip() or None if isinstance(value, str) else value

    @field_validator("cors_origins", "public_attributes", "rate_limits", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("rate_limits")
    @classmethod
    def _check_rates(cls, rates: tuple[str, ...]) -> tuple[str, ...]:
        for rate in rates:
            if not re.fullmatch(r"(talent|client|service|engineer|admin)=[1-9][0-9]{0,11}", rate):
                raise _wrong("roles and costs such as talent=20000,service=2000000, with a role of docs/security.md")
        return rates

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s?#@*]+", origin):
                raise _wrong("origins such as https://app.example.com, separated by commas, without path or *")
        return origins

    @model_validator(mode="after")
    def _open_only_at_home(self) -> Settings:
        if self.auth == "open" and not is_loopback(self.host):
            raise _wrong(
                f"TANDEM_AUTH=open needs a loopback host such as 127.0.0.1; TANDEM_HOST is {self.host!r}. "
                "Set TANDEM_AUTH=token or TANDEM_AUTH=jwt to answer other machines"
            )
        return self

    @model_validator(mode="after")
    def _trusted_ones_are_named(self) -> Settings:
        if self.operations == "trusted" and self.trusted_documents is None:
            raise _wrong("TANDEM_OPERATIONS=trusted needs TANDEM_TRUSTED_DOCUMENTS, the manifest of those documents")
        return self

    @model_validator(mode="after")
    def _routers_plan(self) -> Settings:
        if self.operations == "trusted" and self.federation is not None:
            raise _wrong(
                "TANDEM_FEDERATION needs TANDEM_OPERATIONS=any, as a router plans operations that no manifest knows; "
                "let the router hold its clients to trusted ones, or serve it by a gateway of its own"
            )
        return self

    @model_validator(mode="after")
    def _knn_in_elasticsearch(self) -> Settings:
        if self.retrieval == "knn" and self.catalogue_elasticsearch_url is None:
            raise _wrong(
                "TANDEM_RETRIEVAL=knn needs a catalogue in Elasticsearch; set TANDEM_CATALOGUE_URL to one such as "
                "elasticsearch://host:9200, or TANDEM_RETRIEVAL=exact"
            )
        return self

    def access_problem(self) -> str | None:
        """Why nobody could be let in with these settings, in one sentence; None when somebody can, or when auth is
        unset (every request is then refused, which is allowed)."""
        if self.auth == "token" and self.service_token is None:
            return (
                "TANDEM_AUTH=token needs TANDEM_SERVICE_TOKEN; `tandem token --role service` makes one and says how "
                "to set it"
            )
        missing = [name for name in ("jwks_url", "issuer", "audience") if getattr(self, name) is None]
        if self.auth == "jwt" and missing:
            return (
                f"TANDEM_AUTH=jwt needs {' and '.join(map(variable, missing))} (docs/security.md); for development, "
                "`tandem token --role talent --sub t-4` makes a key and says what to set"
            )
        return None

    @property
    def jwks_path(self) -> Path | None:
        """The file of the keys; None when they are fetched, or there are none."""
        url = self.jwks_url
        return path_from_url(url) if url is not None and urlsplit(url).scheme == "file" else None

    @property
    def rate_by_role(self) -> dict[str, int]:
        """What each subject of a role may spend in a minute."""
        return {role: int(cost) for role, _, cost in (rate.partition("=") for rate in self.rate_limits)}

    @property
    def catalogue_elasticsearch_url(self) -> str | None:
        """The Elasticsearch of the catalogue; None when it is in a file."""
        url = self.catalogue_url
        return url if url and urlsplit(url).scheme in ELASTICSEARCH_SCHEMES else None

    @property
    def catalogue_path(self) -> Path:
        """The SQLite file of the catalogue; of no meaning when it is in Elasticsearch."""
        return path_from_url(self.catalogue_url) if self.catalogue_url else self.data_dir / "catalogue.db"

    @property
    def events_redis_url(self) -> str | None:
        """The Redis server of the event log; None when it is in a file."""
        return self.events_url if self.events_url and urlsplit(self.events_url).scheme in REDIS_SCHEMES else None

    @property
    def cache_redis_url(self) -> str | None:
        """The Redis server of the cache; None when it is in the process."""
        return self.cache_url if self.cache_url and urlsplit(self.cache_url).scheme in REDIS_SCHEMES else None

    @property
    def events_path(self) -> Path:
        """The SQLite file of the event log; of no meaning when it is in Redis."""
        return path_from_url(self.events_url) if self.events_url else self.data_dir / "events.db"

    @property
    def archive_path(self) -> Path:
        """The directory of the archived events of this namespace; of no meaning when the log is in a file."""
        root = path_from_url(self.archive_url) if self.archive_url else self.data_dir / "archive"
        return root / self.namespace

    @property
    def serving_log_path(self) -> Path:
        """The SQLite file of the serving log."""
        return self.data_dir / "serving.db"

    @property
    def rejects_path(self) -> Path:
        """The file of the rows that an import refused, where it is told no other."""
        return self.data_dir / "import-rejects.jsonl"

    @property
    def models_path(self) -> Path:
        """The directory of the model store."""
        return path_from_url(self.models_url) if self.models_url else self.data_dir / "models"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def path_from_url(url: str) -> Path:
    """The path of a `sqlite:///relative`, `sqlite:////absolute` or `file:///absolute` URL."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    return Path(path.removeprefix("/")) if parts.scheme == "sqlite" else Path(path)


def without_password(text: str) -> str:
    """A URL, however misspelt, with its user and password as stars; what is none stays as it is."""
    # To the last @: a password that is not quoted may hold anything.
    return re.sub(r"^([\w+.-]*:/{0,2}).*@", r"\1***@", text, flags=re.DOTALL)


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment under the overrides. Raises SettingsError with one line."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_line(problem) for problem in error.errors())) from None


def variable(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that name no setting: misspelt ones, most likely."""
    known = {variable(field) for field in Settings.model_fields}
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def _line(problem: ErrorDetails) -> str:
    """One problem as `TANDEM_PORT: allowed is …; got '…'`."""
    if not problem["loc"]:  # of the whole: its text names the variables
        return problem["msg"]
    field = str(problem["loc"][0])
    if field not in Settings.model_fields:
        return f"there is no setting {field!r}"
    allowed = problem["ctx"]["text"] if problem["type"] == "setting" else _allowed(field, problem)
    came = problem["input"]
    shown = "" if isinstance(came, SecretStr) or field == "service_token" else f"; got {_short(field, came)}"
    return f"{variable(field)}: allowed is {allowed}{shown}"


def _allowed(field: str, problem: ErrorDetails) -> str:
    """What a field takes, in words."""
    match field:
        case "port":
            return "a whole number from 0 to 65535"
        case (
            "models_kept"
            | "knn_from"
            | "serving_log_days"
            | "catalogue_timeout_ms"
            | "events_timeout_ms"
            | "cache_timeout_ms"
            | "new_jobs_days"
        ):
            return "a whole number from 1"
        case "deadline_ms":
            return "a whole number from 50"
        case "max_in_flight":
            return "a whole number from 0"
        case "max_per_client":
            return "a whole number from 1 to 10"
        case "compiled":
            return "true or false"
        case "batch_operations":
            return "a whole number from 1 to 100"
        case "fatigue" | "new_jobs_share":
            return "a number from 0 to 1"
        case "fatigue_half_life_days":
            return "a number above 0"
        case "token_hours":
            return "a number of hours above 0 and up to 720"
        case "cache_mb":
            return "a whole number from 8"
        case "workers":
            return "a whole number from 1 to 256"
        case "connections":
            return "a whole number from 16"
        case "drain_seconds":
            return "a number from 0 to 3600"
        case "mutual_weight":
            return "a number from 0 to 10"
        case "events_stream_days":
            return "a number from 0"
        case "federation":
            return "a type and its id for talents, a comma, and the same for jobs, such as Talent.id,Job.id"
        case "federation_prefix":
            return "a letter and then letters, digits and _"
        case "currency":
            return "a code of three letters such as USD"
        case "namespace":
            return "up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit"
        case _:
            return str(problem.get("ctx", {}).get("expected", problem["msg"]))


def _short(field: str, value: object) -> str:
    text = without_password(",".join(value) if isinstance(value, tuple) else str(value))
    if field.endswith("_url"):  # a password may be behind the ?, too
        place, mark, query = text.partition("?")
        text = place + mark + re.sub(r"=[^&]*", "=***", query)
    return repr(text if len(text) <= 80 else text[:77] + "…")
