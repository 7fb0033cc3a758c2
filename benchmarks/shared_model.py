"""What a second process that serves the same model adds to the memory of a machine; run by hand.

    .venv/bin/python -m benchmarks.shared_model [--jobs 500000] [--talents 100000] [--processes 2]

A model of random factors, 64 wide, is published into a temporary directory. Processes are started one after the other;
each loads it as a gateway does, warms it, and finds the best 500 of all jobs for ten talents. Shown is by how much each
one's memory grew: private (what it alone holds), its share (each page divided by how many share it), resident, and the
sum of all shares, from /proc/PID/smaps_rollup, beside the size of the file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from gateway.adapters.directory.models import ARRAYS, DirectoryModelStore
from recommender.documents import Kind
from recommender.interest import Interest
from recommender.model import Factors, Hyperparameters, Manifest, Model, Side
from recommender.retrieval import best
from recommender.versions import Versions

WIDTH = 64
PARTS = ("Pss", "Private_Clean", "Private_Dirty", "Rss")


class Names:
    """Ids in the order of the ordinals."""

    def id_order(self, ordinals: np.ndarray) -> np.ndarray:
        return ordinals.astype(np.uint64)

    def ids_of(self, ordinals: np.ndarray) -> list[str]:
        return [str(ordinal) for ordinal in ordinals.tolist()]


def side_of(rows: int, seed: int) -> Side:
    factors: Factors = np.random.default_rng(seed).standard_normal((rows, WIDTH), dtype=np.float32)
    return Side(np.arange(1, rows + 1, dtype=np.uint32), factors, np.zeros(rows, np.float32))


def memory_mb() -> dict[str, float]:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines}
    return {part: found[part] for part in PARTS}


def serve(path: Path, pipe: Connection) -> None:
    empty = memory_mb()
    began = time.process_time()
    versions = Versions(DirectoryModelStore(path), lambda: 0)
    versions.refresh()
    loaded = versions.serving
    pipe.send(time.process_time() - began)
    side = loaded.lists_of(Kind.JOB)
    for talent in range(10):
        vector = loaded.model.talents.factors[talent].astype(np.float64)
        terms = side.terms_of(Interest(np.empty(0, np.int32), np.empty(0), vector))
        best(terms, side.side.ordinals, 500, Names())
    while pipe.recv() == "measure":
        now = memory_mb()
        pipe.send({part: now[part] - empty[part] for part in PARTS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--talents", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    spawned = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        store = DirectoryModelStore(folder)
        hyper = Hyperparameters(factors=WIDTH)
        manifest = Manifest(version="v1", trained_at_ms=0, as_of_ms=0, watermark=0, events=0, hyperparameters=hyper)
        store.publish(Model(manifest, side_of(given.talents, 1), side_of(given.jobs, 2)))
        print(f"file: {(Path(folder) / 'v1' / ARRAYS).stat().st_size / 1e6:,.0f} MB")
        names = ("load CPU s", "private MB", "share MB", "resident", "sum of shares")
        print(f"{'processes':>9}" + "".join(f"{name:>14}" for name in names))
        running = []
        for count in range(1, given.processes + 1):
            ours, theirs = spawned.Pipe()
            process = spawned.Process(target=serve, args=(Path(folder), theirs))
            process.start()
            running.append((process, ours))
            load_seconds = ours.recv()
            found = []
            for _, pipe in running:
                pipe.send("measure")
                found.append(pipe.recv())
            last = found[-1]
            private = last["Private_Clean"] + last["Private_Dirty"] if count > 1 else last["Private_Dirty"]
            print(
                f"{count:>9}{load_seconds:>14.2f}{private:>14,.0f}{last['Pss']:>14,.0f}{last['Rss']:>14,.0f}"
                f"{sum(one['Pss'] for one in found):>14,.0f}"
            )
        for process, pipe in running:
            pipe.send("end")
            process.join()


if __name__ == "__main__":
    main()
