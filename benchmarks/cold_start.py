"""What nobody acted on yet, found by the commands a marketplace runs; run by hand.

    python -m benchmarks.cold_start [--talents FILE] [--jobs FILE --events FILE] [--seed 1] [--keep DIRECTORY]

Parquet or CSV files as `tandem import` takes them; without any, the demo market. Every event of a fifth of the jobs is
hidden, then `import`, `train` and `export` are run, and the jobs with events are closed in between, so that what is
exported is cold jobs among cold jobs. The same again with a fifth of the talents, who are then asked for all jobs.

Beside it, scored here: chance, popularity within the category (of the jobs that the talent's history, or else the
talent, is in), and content kNN: the cosine of an item to the mean of the history, by TF-IDF of everything it says.
NDCG@10 and what a paired bootstrap says of the difference.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from gateway.market.files import files_in, write_market
from gateway.market.market import generate_market
from gateway.market.spec import MarketSpec
from recommender.events import RULES, EventType
from recommender.metrics import bootstrap_intervals
from recommender.text import terms

END_MS = 1_760_000_000_000
DEPTH = 10
HIDDEN = 0.2

Lists = Mapping[str, Sequence[str]]
Relevant = Mapping[str, frozenset[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("talents", "jobs", "events"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        where = given.keep or Path(temporary)
        where.mkdir(parents=True, exist_ok=True)
        talents, jobs, events = given.talents, given.jobs, given.events
        if events is None:
            write_market(generate_market(MarketSpec(end_ms=END_MS)), where)
            files = files_in(where)
            talents, jobs, events = files.talents, files.jobs, files.events
        log = read(events)
        print_cold_jobs(where / "jobs", talents, jobs, log, given.seed)
        if talents is not None:
            print_cold_talents(where / "talents", talents, jobs, log, given.seed)


def read(path: Path) -> pa.Table:
    return pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.read_table(path)


def hidden_of(ids: Sequence[str], seed: int) -> set[str]:
    """A fifth of the ids, by chance."""
    drawn = np.random.default_rng(seed).random(len(ids)) < HIDDEN
    return {name for name, is_hidden in zip(ids, drawn, strict=True) if is_hidden}


def print_cold_jobs(where: Path, talents: Path | None, jobs: Path, log: pa.Table, seed: int) -> None:
    documents = read(jobs)
    cold = hidden_of(documents["job_id"].to_pylist(), seed)
    history, wanted = divided(log, "job_id", cold)
    status = ["open" if name in cold else "closed" for name in documents["job_id"].to_pylist()]
    drop = [name for name in ("status", "expires_at") if name in documents.column_names]
    lists = exported(where, talents, documents.drop_columns(drop).append_column("status", pa.array(status)), history)
    seen, relevant = pairs_of(history), pairs_of(wanted)
    asked = {talent: found for talent, found in relevant.items() if talent in seen and talent in lists}
    rows = rows_of(documents, "job_id")
    print(f"cold jobs among cold jobs: {len(cold):,} of {documents.num_rows:,}, {len(asked):,} talents asked")
    category = categories_of(documents)
    popular = Counter(category.get(job, "") for jobs_ in seen.values() for job in jobs_)
    chance = np.random.default_rng(seed)

    def in_category(talent: str) -> list[str]:
        own = Counter(category.get(job, "") for job in seen[talent])
        return ranked({job: (own[category.get(job, "")], popular[category.get(job, "")]) for job in cold})

    print_table(
        asked,
        {
            "chance": {talent: chance.permutation(sorted(cold))[:DEPTH].tolist() for talent in asked},
            "popularity in category": {talent: in_category(talent) for talent in asked},
            "content kNN": by_content(rows, cold, {talent: seen[talent] for talent in asked}),
            "tandem": lists,
        },
    )


def print_cold_talents(where: Path, talents: Path, jobs: Path, log: pa.Table, seed: int) -> None:
    documents, offered = read(talents), read(jobs)
    cold = hidden_of(documents["talent_id"].to_pylist(), seed)
    history, wanted = divided(log, "talent_id", cold)
    drop = [name for name in ("status", "expires_at") if name in offered.column_names]
    lists = exported(where, talents, offered.drop_columns(drop), history)
    relevant = {talent: found for talent, found in pairs_of(wanted).items() if talent in lists}
    popularity = Counter(job for jobs_ in pairs_of(history).values() for job in jobs_)
    category, own = categories_of(offered), categories_of(documents, "talent_id")
    ids = offered["job_id"].to_pylist()
    print(f"talents without events, all jobs: {len(relevant):,} asked")

    def in_category(talent: str) -> list[str]:
        return ranked({job: (category.get(job) == own.get(talent), popularity[job]) for job in ids})

    most_popular = ranked({job: (popularity[job], 0) for job in ids})
    print_table(
        relevant,
        {
            "popularity": dict.fromkeys(relevant, most_popular),
            "popularity in category": {talent: in_category(talent) for talent in relevant},
            "tandem": lists,
        },
    )


def divided(log: pa.Table, column: str, hidden: set[str]) -> tuple[pa.Table, pa.Table]:
    """The events without those of the hidden, and those."""
    is_hidden = pa.array([name in hidden for name in log[column].to_pylist()])
    return log.filter(pa.compute.invert(is_hidden)), log.filter(is_hidden)


def pairs_of(log: pa.Table) -> Relevant:
    """The jobs that something speaks for, by talent."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    columns = (log[name].to_pylist() for name in ("talent_id", "job_id", "type"))
    for talent, job, kind in zip(*columns, strict=True):
        if RULES[EventType(kind.upper())].weight > 0:
            found[str(talent)].add(str(job))
    return {talent: frozenset(jobs) for talent, jobs in found.items()}


def exported(where: Path, talents: Path | None, jobs: pa.Table, events: pa.Table) -> dict[str, list[str]]:
    """Everybody's ten best jobs, after an import and a training of nothing but these."""
    where.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(jobs, where / "jobs.parquet")
    pyarrow.parquet.write_table(events, where / "events.parquet")
    environment = {**os.environ, "TANDEM_DATA_DIR": str(where / "data")}
    people = [] if talents is None else ["--talents", str(talents.resolve())]
    for command in (
        ["import", *people, "--jobs", "jobs.parquet", "--events", "events.parquet"],
        ["train", "--no-evaluate"],
        ["export", "--for", "talents", "--k", str(DEPTH), "--out", "lists.parquet"],
    ):
        done = subprocess.run(  # noqa: S603 - our own commands
            [sys.executable, "-m", "gateway", *command], cwd=where, env=environment, text=True, capture_output=True
        )
        if done.returncode:
            sys.exit(f"tandem {' '.join(command)}: {done.stderr.strip()}")
    rows = pyarrow.parquet.read_table(where / "lists.parquet").sort_by("rank")
    lists: defaultdict[str, list[str]] = defaultdict(list)
    for talent, job in zip(rows["talent_id"].to_pylist(), rows["job_id"].to_pylist(), strict=True):
        lists[talent].append(job)
    return lists


def categories_of(documents: pa.Table, key: str = "job_id") -> dict[str, str]:
    if "category" not in documents.column_names:
        return {}
    return dict(zip(documents[key].to_pylist(), documents["category"].to_pylist(), strict=True))


def ranked(scores: Mapping[str, tuple[float, float]]) -> list[str]:
    return sorted(scores, key=lambda job: (-scores[job][0], -scores[job][1], job))[:DEPTH]


def rows_of(documents: pa.Table, key: str) -> dict[str, dict[str, float]]:
    """Every document's terms by TF-IDF, of length 1."""
    said: dict[str, list[str]] = {}
    for row in documents.to_pylist():
        skills = row.get("skills") or ()
        text = [row.get("title"), row.get("description"), row.get("category"), row.get("country"), row.get("level")]
        text += skills.split(";") if isinstance(skills, str) else skills
        said[str(row[key])] = terms(" ".join(str(part) for part in text if part))
    holders = Counter(term for found in said.values() for term in found)
    rows = {}
    for name, found in said.items():
        weights = {term: float(np.log(len(said) / holders[term])) for term in found}
        length = float(np.sqrt(sum(weight**2 for weight in weights.values()))) or 1.0
        rows[name] = {term: weight / length for term, weight in weights.items()}
    return rows


def by_content(rows: Mapping[str, Mapping[str, float]], cold: set[str], seen: Relevant) -> dict[str, list[str]]:
    """The cold jobs nearest to the mean of each history."""
    holders: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for job in cold:
        for term, weight in rows[job].items():
            holders[term].append((job, weight))
    lists = {}
    for talent, history in seen.items():
        mean: Counter[str] = Counter()
        for job in history:
            mean.update(rows.get(job, {}))
        scores: Counter[str] = Counter()
        for term, weight in mean.items():
            for job, other in holders[term]:
                scores[job] += weight * other
        lists[talent] = [job for job, _ in sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:DEPTH]]
    return lists


def ndcg(lists: Lists, relevant: Relevant) -> npt.NDArray[np.float64]:
    discount = 1 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.cumsum(discount)
    return np.array(
        [
            sum(discount[place] for place, job in enumerate(lists.get(talent, ())[:DEPTH]) if job in found)
            / ideal[min(len(found), DEPTH) - 1]
            for talent, found in relevant.items()
        ]
    )


def print_table(relevant: Relevant, ways: Mapping[str, Lists]) -> None:
    found = {name: ndcg(lists, relevant) for name, lists in ways.items()}
    ours = found["tandem"]
    for name, values in found.items():
        line = f"  {name:24} {values.mean():.4f}"
        if name != "tandem":
            ((low, high),) = bootstrap_intervals((ours - values)[:, None], 0).tolist()
            verdict = "better" if low > 0 else "worse" if high < 0 else "level"
            line += f"   tandem × {ours.mean() / max(values.mean(), 1e-12):.2f}, {verdict} [{low:+.4f}, {high:+.4f}]"
        print(line)


if __name__ == "__main__":
    main()
