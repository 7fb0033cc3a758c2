"""Starts and stops a real Elasticsearch for development and tests, without Docker.

    python tools/elasticsearch/run.py start [--port 9200] [--heap 512m] [--dir DIR] [--set NAME=VALUE …]
    python tools/elasticsearch/run.py stop  [--port 9200] [--dir DIR]

One node on 127.0.0.1, from the jars that Maven finds (fetched once, about 40 MB, into DIR); needs a JDK from 21 on and
Maven. Every start begins with empty data. What the published jars lack: painless scripts, language analyzers,
rank_feature, the reindex API, security. Prints the URL that TANDEM_CATALOGUE_URL takes.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

HERE = Path(__file__).resolve().parent
LEAST_JDK = 21
START_SECONDS = 120
STOP_SECONDS = 20
DEFAULT_DIRECTORY = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem-elasticsearch"
PLUGINS = {"transport-netty4": "org.elasticsearch.transport.netty4.Netty4Plugin", "banner": "RootPlugin"}

CONFIG = """\
cluster.name: tandem-{port}
node.name: tandem-{port}
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport}
cluster.routing.allocation.disk.threshold_enabled: false
"""
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1.} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""

_started: dict[int, subprocess.Popen[bytes]] = {}  # by port, of this process: to be waited for when they end


class CannotStartError(Exception):
    """The text says what is missing or went wrong."""


def jdk() -> Path | None:
    """The home of a JDK that is new enough: JAVA_HOME's, the path's, or one where systems put them."""
    return next((home for home in _java_homes() if _java_version(home) >= LEAST_JDK), None)


def _java_homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    if compiler := shutil.which("javac"):
        yield Path(compiler).resolve().parent.parent
    yield from sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    yield from sorted(Path("/Library/Java/JavaVirtualMachines").glob("*/Contents/Home"), reverse=True)


def _java_version(home: Path) -> int:
    compiler = home / "bin" / "javac"
    if not os.access(compiler, os.X_OK):
        return 0
    answer = subprocess.run([compiler, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"javac (\d+)", answer.stdout + answer.stderr)
    return int(found[1]) if found else 0


def lacks() -> str | None:
    """What this machine lacks to run the server, in words; None when nothing."""
    missing = [
        name
        for name, there in ((f"a JDK from {LEAST_JDK} on", jdk() is not None), ("Maven", shutil.which("mvn")))
        if not there
    ]
    return " and ".join(missing) or None


def start(
    port: int,
    heap: str,
    directory: Path,
    *,
    settings: Mapping[str, str] | None = None,
    ends_with_caller: bool = False,
    keep_data: bool = False,
) -> str:
    """Start a server with no data and wait until it answers; its URL. Raises CannotStartError.

    settings: of elasticsearch.yml, beside ours. ends_with_caller: the server ends when this process does, however that
    comes about. keep_data: start with the data that `stop` was told to keep.
    """
    missing = lacks()
    home_of_java = jdk()
    if missing or home_of_java is None:
        raise CannotStartError(f"there is no {missing} here; install it, or name a JDK by JAVA_HOME")
    if _process_of(directory, port) is not None:
        raise CannotStartError(f"one is running on port {port}; stop it first")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may come at once, and one is to build
        server = _built(directory, home_of_java)
        _sweep(directory)
    home = _home(directory, port)
    if not keep_data:
        shutil.rmtree(home, ignore_errors=True)
    for name in ("config", "logs", "data", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "modules").unlink(missing_ok=True)
    (home / "modules").symlink_to(server / "modules")
    config = CONFIG.format(port=port, transport=port + 100)
    config += "".join(f"{name}: {value}\n" for name, value in (settings or {}).items())
    (home / "config" / "elasticsearch.yml").write_text(config)
    (home / "config" / "log4j2.properties").write_text(LOGGING)
    command = [
        *(str(home_of_java / "bin" / "java"), f"-Xms{heap}", f"-Xmx{heap}"),
        *("--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"),
        *(f"-Des.path.home={home}", f"-Djava.io.tmpdir={home / 'tmp'}"),
        *("-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false"),
        *("-cp", f"{server / 'lib'}/*:{server / 'classes'}", "DevelopmentServer", str(home)),
        *(["--until-input-ends"] if ends_with_caller else []),
    ]
    with (home / "logs" / "node.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=home,
            stdin=subprocess.PIPE if ends_with_caller else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started[port] = process
    (home / "pid").write_text(str(process.pid))
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while not _answers(f"{url}/_cluster/health?wait_for_status=green&timeout=1s"):
        if process.poll() is not None or time.monotonic() > deadline:
            text = (home / "logs" / "node.log").read_text(errors="replace")
            stop(port, directory)
            raise CannotStartError("it did not come up:\n" + "\n".join(text.splitlines()[-20:]))
        time.sleep(0.3)
    return url


def stop(port: int, directory: Path, *, keep_data: bool = False) -> bool:
    """Stop the server that `start` started on this port, and remove its data; False when there is none."""
    process = _process_of(directory, port)
    (_home(directory, port) / "pid").unlink(missing_ok=True)
    if process is None:
        return False
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_alive(process):
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            break
        time.sleep(0.1)
    if port in _started:
        ended = _started.pop(port)
        ended.wait()
        if ended.stdin is not None:
            ended.stdin.close()
    if not keep_data:
        shutil.rmtree(_home(directory, port), ignore_errors=True)
    return True


def _sweep(directory: Path) -> None:
    """Remove the data of servers that were killed. To be called under the lock."""
    for home in directory.glob("node-*"):
        if (home / "pid").is_file() and _process_of(directory, int(home.name.removeprefix("node-"))) is None:
            shutil.rmtree(home, ignore_errors=True)


def _home(directory: Path, port: int) -> Path:
    return directory / f"node-{port}"


def _process_of(directory: Path, port: int) -> int | None:
    try:
        process = int((_home(directory, port) / "pid").read_text())
    except (OSError, ValueError):
        return None
    return process if _is_alive(process) else None


def _is_alive(process: int) -> bool:
    for child in _started.values():
        child.poll()  # one that has ended is alive until it is asked
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return b'"timed_out":false' in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def _built(directory: Path, home_of_java: Path) -> Path:
    """The server's jars and our two classes, made at the first call for one version of them."""
    version = next(ElementTree.parse(HERE / "pom.xml").iter("{http://maven.apache.org/POM/4.0.0}dependency"))[2].text  # noqa: S314
    sources = [HERE / "DevelopmentServer.java", HERE / "RootPlugin.java"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    server = directory / f"server-{version}-{digest}"
    if (server / "ready").is_file():
        return server
    shutil.rmtree(server, ignore_errors=True)
    print("Fetching the jars of Elasticsearch with Maven; once.", file=sys.stderr)  # noqa: T201
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    _run("mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), copy, f"-DoutputDirectory={server / 'lib'}")
    for name in PLUGINS:
        (server / "modules" / name).mkdir(parents=True)
    for jar in (*(server / "lib").glob("netty-*.jar"), *(server / "lib").glob("transport-netty4-*.jar")):
        jar.rename(server / "modules" / "transport-netty4" / jar.name)
    classes = server / "classes"
    compiler, jars = str(home_of_java / "bin" / "javac"), f"{server / 'lib'}/*"
    _run(compiler, "-nowarn", "-cp", jars, "-d", str(classes), *map(str, sources))
    # The node refuses to load a class that is in a plugin and on the class path, too.
    with ZipFile(server / "modules" / "banner" / "banner.jar", "w") as jar_file:
        for compiled in sorted(classes.glob("RootPlugin*.class")):
            jar_file.write(compiled, compiled.name)
            compiled.unlink()
    for name, class_name in PLUGINS.items():
        (server / "modules" / name / "plugin-descriptor.properties").write_text(
            f"name={name}\ndescription={name}\nversion={version}\nelasticsearch.version={version}\n"
            f"java.version=17\nclassname={class_name}\n"
        )
    (server / "ready").touch()
    return server


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CannotStartError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2_000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "stop", "lacks"], help="lacks: print what is missing, if anything")
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--heap", default="512m")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    given = parser.parse_args()
    try:
        if given.action == "start":
            settings = dict(pair.partition("=")[::2] for pair in given.set)
            url = start(given.port, given.heap, given.dir, settings=settings)
            print(url.replace("http://", "elasticsearch://"))  # noqa: T201
        elif given.action == "stop":
            print("stopped" if stop(given.port, given.dir) else "none was running")  # noqa: T201
        elif missing := lacks():
            print(missing)  # noqa: T201
    except CannotStartError as error:
        print(f"Elasticsearch: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
