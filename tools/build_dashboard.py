"""Prints the Grafana dashboard: `python tools/build_dashboard.py > deploy/grafana/tandem.json`; a test compares."""

from __future__ import annotations

import json
import sys
from typing import Any

RATE = "[$__rate_interval]"


def quantile(share: float, name: str, by: str = "") -> str:
    """A quantile of a histogram, over all gateways."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{RATE})))"


def per_second(name: str, by: str) -> str:
    """How often, by a label."""
    return f"sum by ({by}) (rate({name}{RATE}))"


# Row → panels of title, unit, and queries with legends.
ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "Promises": [
        ("Errors", "percentunit", [("tandem:errors:ratio_rate5m", "5 min"), ("tandem:errors:ratio_rate1h", "1 h")]),
        (
            "Slower than 100 ms",
            "percentunit",
            [("tandem:slow:ratio_rate5m", "5 min"), ("tandem:slow:ratio_rate1h", "1 h")],
        ),
        ("Degraded", "percentunit", [("tandem:degraded:ratio_rate10m", "10 min")]),
        ("Turned away", "percentunit", [("tandem:shed:ratio_rate5m", "5 min")]),
    ],
    "Requests": [
        ("Operations by outcome", "ops", [(per_second("tandem_operations_total", "outcome"), "{{outcome}}")]),
        ("Operations by name", "ops", [(per_second("tandem_operations_total", "operation"), "{{operation}}")]),
        (
            "Time of operations",
            "s",
            [(quantile(share, "tandem_operation_seconds"), f"p{round(100 * share)}") for share in (0.5, 0.9, 0.99)],
        ),
        (
            "Time of operations, p99 by name",
            "s",
            [(quantile(0.99, "tandem_operation_seconds", "operation"), "{{operation}}")],
        ),
        (
            "HTTP by route and status",
            "reqps",
            [(per_second("tandem_http_requests_total", "route, status"), "{{route}} {{status}}")],
        ),
        ("HTTP, p99", "s", [(quantile(0.99, "tandem_http_request_seconds", "route"), "{{route}}")]),
        ("In flight", "short", [("sum(tandem_http_requests_in_flight)", "requests")]),
        (
            "Cost of operations",
            "short",
            [(quantile(0.5, "tandem_query_cost"), "p50"), (quantile(0.99, "tandem_query_cost"), "p99")],
        ),
        ("Admission", "reqps", [(per_second("tandem_admissions_total", "outcome"), "{{outcome}}")]),
        ("Over their rate", "reqps", [(per_second("tandem_rate_limited_total", "role"), "{{role}}")]),
        ("Not let in", "reqps", [(per_second("tandem_auth_failures_total", "reason"), "{{reason}}")]),
        ("Events", "ops", [(per_second("tandem_events_total", "outcome"), "{{outcome}}")]),
    ],
    "What requests depend on": [
        ("Round trips, p99", "s", [(quantile(0.99, "tandem_dependency_seconds", "dependency"), "{{dependency}}")]),
        (
            "Round trips by outcome",
            "ops",
            [(per_second("tandem_dependency_seconds_count", "dependency, outcome"), "{{dependency}} {{outcome}}")],
        ),
        (
            "Breakers: 0 closed, 1 trying, 2 open",
            "short",
            [("max by (dependency) (tandem_breaker_state)", "{{dependency}}")],
        ),
        (
            "Behind the breakers",
            "ops",
            [(per_second("tandem_guarded_total", "dependency, outcome"), "{{dependency}} {{outcome}}")],
        ),
        ("Answered from less than usual", "ops", [(per_second("tandem_degraded_total", "reason"), "{{reason}}")]),
        ("Cache", "ops", [(per_second("tandem_cache_total", "of, outcome"), "{{of}} {{outcome}}")]),
        (
            "Hits of the cache",
            "percentunit",
            [
                (
                    f'sum by (of) (rate(tandem_cache_total{{outcome=~"hit|shared|awaited"}}{RATE})) / '
                    f'sum by (of) (rate(tandem_cache_total{{outcome=~"hit|shared|awaited|miss|garbage"}}{RATE}))',
                    "{{of}}",
                )
            ],
        ),
        ("Steps of lists, p99", "s", [(quantile(0.99, "tandem_step_seconds", "step"), "{{step}}")]),
        ("Behind what was acknowledged", "s", [("max by (of) (tandem_freshness_lag_seconds)", "{{of}}")]),
    ],
    "Model and rules": [
        ("Serving model", "short", [("max by (version) (tandem_model_info)", "{{version}}")]),
        ("Age of the model", "s", [("max(tandem_model_age_seconds)", "age")]),
        ("Events after the model", "short", [("max(tandem_events_after_model)", "events")]),
        ("Models refused", "short", [(f"sum(increase(tandem_model_load_failures_total{RATE}))", "refused")]),
        ("Rules", "short", [("max(tandem_rules)", "in force"), ("max(tandem_rules_refused)", "refused")]),
    ],
    "Processes": [
        ("Processes", "short", [("sum by (instance) (tandem_workers)", "{{instance}}")]),
        ("Lateness of the loop, p99", "s", [(quantile(0.99, "tandem_loop_lag_seconds", "instance"), "{{instance}}")]),
        ("Memory", "bytes", [("sum by (instance) (tandem_resident_bytes)", "{{instance}}")]),
        ("Open files", "short", [("max by (instance) (tandem_open_files)", "{{instance}}")]),
        ("Tasks of the loops", "short", [("sum by (instance) (tandem_loop_tasks)", "{{instance}}")]),
        ("Free disk", "bytes", [("min by (instance) (tandem_free_disk_bytes)", "{{instance}}")]),
        (
            "Dropped lines and spans, lists not recorded",
            "ops",
            [
                (per_second("tandem_log_dropped_total", "reason"), "{{reason}}"),
                (f"sum(rate(tandem_spans_dropped_total{RATE}))", "spans"),
                (f"sum(rate(tandem_served_unkept_total{RATE}))", "lists"),
            ],
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row, contents in ROWS.items():
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}
        )
        y += 1
        for place, (title, unit, queries) in enumerate(contents):
            targets = [
                {
                    "refId": chr(ord("A") + number),
                    "expr": query,
                    "legendFormat": legend,
                    "exemplar": "operation_seconds" in query,
                }
                for number, (query, legend) in enumerate(queries)
            ]
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": title,
                    "datasource": {"type": "prometheus", "uid": "${source}"},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "gridPos": {"h": 7, "w": 6, "x": 6 * (place % 4), "y": y + 7 * (place // 4)},
                    "targets": targets,
                }
            )
        y += 7 * -(-len(contents) // 4)
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "tandem",
        "title": "Tandem",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n")
