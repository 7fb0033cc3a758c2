"""What stands before each server and can be told to fail: toxiproxy, or where it is missing the proxy of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.faults import Fault, FaultProxy
from tests.servers import free_port

INSTALL = "go install github.com/Shopify/toxiproxy/v2/cmd/server@latest, and call the program toxiproxy-server"
START_SECONDS = 20.0


class Proxy(Protocol):
    """The way to one server. port: where it listens, on this machine."""

    port: int

    def fail(self, fault: Fault) -> None:
        """Fail so from now on."""
        ...

    def heal(self) -> None:
        """Let bytes pass again."""
        ...

    def stop(self) -> None:
        """Hang up on everybody."""
        ...


def toxiproxy_binary() -> str | None:
    """On the PATH, or where Go installs it; None when there is none."""
    places = [shutil.which("toxiproxy-server")]
    places += [str(Path(os.environ["GOBIN"], "toxiproxy-server"))] if "GOBIN" in os.environ else []
    places += [str(Path(os.environ.get("GOPATH", Path.home() / "go"), "bin", "toxiproxy-server"))]
    return next((place for place in places if place is not None and os.access(place, os.X_OK)), None)


class Toxiproxy:
    """A way through a running toxiproxy. What no toxic can do, an answer of our own, is done by a proxy behind it."""

    def __init__(self, client: httpx.Client, name: str, upstream_port: int) -> None:
        self._client = client
        self._name = name
        self._upstream_port = upstream_port
        self._answering: FaultProxy | None = None
        self.port = free_port()
        self._post(
            "/proxies",
            {"name": name, "listen": f"127.0.0.1:{self.port}", "upstream": f"127.0.0.1:{upstream_port}"},
        )

    def fail(self, fault: Fault) -> None:
        """See Proxy."""
        self.heal()
        if fault.answer is not None:
            self._answering = FaultProxy(self._upstream_port)
            self._answering.fail(fault)
            self._post(f"/proxies/{self._name}", {"upstream": f"127.0.0.1:{self._answering.port}"})
        elif fault.refuses:
            self._post(f"/proxies/{self._name}", {"enabled": False})
        else:
            for kind, stream, attributes in toxics(fault):
                toxic = {"name": f"{kind}-{stream}", "type": kind, "stream": stream, "attributes": attributes}
                self._post(f"/proxies/{self._name}/toxics", toxic)

    def heal(self) -> None:
        """See Proxy."""
        found = self._client.get(f"/proxies/{self._name}").json()
        for toxic in found["toxics"]:
            self._client.delete(f"/proxies/{self._name}/toxics/{toxic['name']}").raise_for_status()
        if not found["enabled"]:
            self._post(f"/proxies/{self._name}", {"enabled": True})
        if self._answering is not None:
            self._post(f"/proxies/{self._name}", {"upstream": f"127.0.0.1:{self._upstream_port}"})
            self._answering.stop()
            self._answering = None

    def stop(self) -> None:
        """See Proxy."""
        self.heal()
        self._client.delete(f"/proxies/{self._name}")

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._client.post(path, json=body).raise_for_status()


def toxics(fault: Fault) -> list[tuple[str, str, dict[str, int]]]:
    """Kind, stream and attributes of what makes a fault."""
    if fault.hangs:
        return [("timeout", stream, {"timeout": 0}) for stream in ("upstream", "downstream")]
    if fault.resets:
        return [("reset_peer", "downstream", {"timeout": 0})]
    if fault.bytes_per_second is not None:
        return [("bandwidth", "downstream", {"rate": max(1, fault.bytes_per_second // 1_000)})]
    if fault.cut_after is not None:
        return [("limit_data", "downstream", {"bytes": fault.cut_after})]
    return []


@contextmanager
def proxies(directory: Path, **upstream_ports: int) -> Iterator[tuple[dict[str, Proxy], str]]:
    """A proxy before each port, by name, and what they are made of."""
    binary = toxiproxy_binary()
    if binary is None:
        own: dict[str, Proxy] = {name: FaultProxy(port) for name, port in upstream_ports.items()}
        try:
            yield own, "the proxy of the tests"
        finally:
            for proxy in own.values():
                proxy.stop()
        return
    port = free_port()
    with (directory / "toxiproxy.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [binary, "-host", "127.0.0.1", "-port", str(port)], stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            _wait(client)
            yield {name: Toxiproxy(client, name, at) for name, at in upstream_ports.items()}, "toxiproxy"
    finally:
        process.kill()
        process.wait()


def _wait(client: httpx.Client) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get("/version").raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
