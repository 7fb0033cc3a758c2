"""A process that rebuilds and is killed, or put to sleep, on its way.

`python -m tests.elasticsearch_rebuilder URL NAMESPACE POINT SIGNAL DEAD_AFTER_S` sends itself the signal at the point;
a point that is never reached is a rebuild that is done: exit code 0. One that was undone ends with 1.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from gateway.adapters.elasticsearch import lease
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.elasticsearch.cluster import Cluster
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.rebuilding import _Copy, rebuild
from recommender.documents import Kind

POINTS: dict[str, tuple[type, str, bool]] = {  # of which class, which method, and whether before it
    "copied some": (_Copy, "_write", False),
    "before the block": (Cluster, "block_writes", True),
    "blocked": (Cluster, "block_writes", False),
    "before the switch": (Layout, "switch", True),
    "switched": (Layout, "switch", False),
}


def stop_at(point: str, number: int) -> None:
    """Send this process a signal when it comes to the point."""
    owner, name, is_before = POINTS[point]
    method = getattr(owner, name)

    async def stopping(self: Any, *arguments: Any, **named: Any) -> Any:
        is_point = named.get("blocked", True)  # a block that is lifted is none of them
        if is_before and is_point:
            signal.pthread_kill(threading.get_ident(), number)  # one to the process may come after the answer
        answer = await method(self, *arguments, **named)
        if not is_before and is_point:
            signal.pthread_kill(threading.get_ident(), number)
        return answer

    setattr(owner, name, stopping)


def main(url: str, namespace: str, point: str, number: str, dead_after_s: str) -> None:
    """Rebuild the jobs, up to the point."""
    lease.DEAD_AFTER_S = float(dead_after_s)
    lease.BEAT_S = float(dead_after_s) / 5
    stop_at(point, signal.Signals[number])
    catalogue = ElasticsearchCatalogue.open(url, namespace=namespace, timeout_ms=10_000)
    try:
        work = rebuild(catalogue._cluster, catalogue._layout, Kind.JOB, lambda *_: None)
        catalogue._connection.run_now(work)
    except lease.LeaseLostError as error:
        sys.exit(str(error))
    finally:
        catalogue.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
