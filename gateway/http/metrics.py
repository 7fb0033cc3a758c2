"""What happened to the requests of this process, counted, in Prometheus' text form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata

from gateway.rules_file import RulesFile
from recommender.model import Manifest


class Metrics:
    """Counts since the process began. Labels have few values: the route and the status, never an id."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests[route, status] += 1
        self._seconds[route] += seconds

    def text(
        self,
        manifest: Manifest | None,
        now_ms: int,
        cache_counts: Mapping[tuple[str, str], int] | None = None,
        rules: RulesFile | None = None,
    ) -> str:
        """Every metric in the text format 0.0.4. `manifest` is the serving model's; cache_counts: see Caching."""
        lines = list(
            _family("tandem_build_info", "gauge", "The running version.", [(f'version="{_escaped(_version())}"', 1)])
        )
        if manifest is not None:
            age = max(0, now_ms - manifest.trained_at_ms) / 1000
            label = f'version="{_escaped(manifest.version)}"'
            lines += _family("tandem_model_info", "gauge", "The serving model.", [(label, 1)])
            lines += _family("tandem_model_age_seconds", "gauge", "Since the serving model was trained.", [("", age)])
        requests = [
            (f'route="{route}",status="{status}"', count) for (route, status), count in sorted(self._requests.items())
        ]
        lines += _family("tandem_http_requests_total", "counter", "Answered requests.", requests)
        seconds = [(f'route="{route}"', total) for route, total in sorted(self._seconds.items())]
        lines += _family("tandem_http_request_seconds_total", "counter", "Time spent answering.", seconds)
        cached = [
            (f'of="{of}",outcome="{outcome}"', count) for (of, outcome), count in sorted((cache_counts or {}).items())
        ]
        lines += _family("tandem_cache_total", "counter", "What came of asking the cache.", cached)
        if rules is not None:
            held = sum(rule.holds_at(now_ms) for rule in rules.rules)
            lines += _family("tandem_rules", "gauge", "Rules of the file that hold now.", [("", held)])
            refused = [("", int(rules.problem is not None))]
            lines += _family("tandem_rules_refused", "gauge", "1 while a newer rules file cannot be used.", refused)
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterable[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _version() -> str:
    try:
        return metadata.version("tandem")
    except metadata.PackageNotFoundError:
        return "source"
