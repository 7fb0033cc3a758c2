"""Held-out hires of demo markets, won by the talents' interest alone, by the clients' alone and by both; run by hand.

    python benchmarks/two_sides.py [--talents 5000] [--jobs 3000] [--events 250000] [--seeds 11 12 13 14 15] [--cuts 6]

A market's log is cut in several places. At each cut a model is trained on everything before it, as `tandem train`
would by the formula's recipe, and documents of the time before it. A hire is asked about at the last cut before the two
first acted in a way that hides the one from the other's list: where does the list of that moment have it, among the
jobs that were open and the talents who were there? Both directions. "one for both" is a single interest learnt from the
events of both sides.

The test is McNemar's on the hires that the one wins (top 20) and the other does not, and a paired bootstrap, both over
the hires of all seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from gateway.market.market import Market, generate_market
from gateway.market.spec import DAY_MS, MarketSpec
from recommender.documents import Kind
from recommender.documents import Side as Actor
from recommender.eligibility import Exclude, excluded_ids
from recommender.events import RULES, Event, EventType
from recommender.features import DescribedItems, FeatureTable
from recommender.interactions import EventTable, affinity
from recommender.interest import MUTUAL_WEIGHT, Interest, interests_from_histories
from recommender.metrics import bootstrap_intervals
from recommender.recipe import default_recipe
from recommender.scoring import Terms, score
from recommender.training import train
from recommender.two_sides import train_both_sides
from recommender.versions import LoadedModel

try:
    from benchmarks.demo_market import END_MS, table_of
    from benchmarks.market_documents import documents_of
except ImportError:  # run as a script, from anywhere
    from demo_market import END_MS, table_of  # type: ignore[import-not-found,no-redef]
    from market_documents import documents_of  # type: ignore[import-not-found,no-redef]

TOP = 20
FIRST_DAY = 36  # before it there is little to learn from
WAYS = ("talents alone", "clients alone", "both", "one for both")
_TYPES = tuple(EventType)
_ACTORS = (Actor.TALENT, Actor.CLIENT)
_HIDES = np.array([rule.hides_job_from_talent or rule.hides_talent_from_job for rule in RULES.values()])

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """Ranks of one hire, from 1, by way of ranking: in the talent's list of jobs and in the job's list of talents."""

    jobs: Mapping[str, float]
    talents: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("talents", "jobs", "events"):
        parser.add_argument(f"--{name}", type=int, default=getattr(MarketSpec(end_ms=END_MS), name))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--cuts", type=int, default=6)
    parser.add_argument("--without-content", action="store_true", help="As from a log alone, without documents.")
    parser.add_argument("--weights", type=float, nargs="*", default=[], help="More mutual weights to show.")
    given = parser.parse_args()
    asked: list[Asked] = []
    for seed in given.seeds:
        begun = time.process_time()
        market = generate_market(
            MarketSpec(end_ms=END_MS, talents=given.talents, jobs=given.jobs, events=given.events, seed=seed)
        )
        asked += hires_of(market, given.cuts, given.weights, with_content=not given.without_content)
        print(
            f"seed {seed}: {len(asked)} hires asked about so far, {time.process_time() - begun:.0f} s of CPU",
            flush=True,
        )
    print_outcome(asked)


def hires_of(market: Market, cuts: int, weights: Sequence[float] = (), *, with_content: bool = True) -> list[Asked]:
    """Every hire of a market that can be asked about."""
    table = table_of(market)
    pair, hides = table.pair, _HIDES[table.kind.astype(np.intp)]
    pairs, inverse = np.unique(pair, return_inverse=True)
    begins = np.full(len(pairs), np.iinfo(np.int64).max)
    np.minimum.at(begins, inverse[hides], table.at_ms[hides])
    hires = np.flatnonzero(table.kind == _TYPES.index(EventType.HIRE))
    begun = begins[inverse[hires]]
    days = np.linspace(FIRST_DAY, market.spec.days, cuts + 1)
    at = [market.spec.start_ms + int(day * DAY_MS) for day in days]
    found: list[Asked] = []
    for cut, following in pairwise(at):
        chosen = hires[(begun > cut) & (begun <= following)]
        found += list(_ask(market, table, chosen, cut, weights, with_content))
    return found


def _ask(
    market: Market, table: EventTable, hires: Rows, cut: int, weights: Sequence[float], with_content: bool
) -> Iterator[Asked]:
    ordinals = {
        Kind.TALENT: np.array([int(name.rpartition("-")[2]) for name in table.talent_ids], np.uint32),
        Kind.JOB: np.array([int(name.rpartition("-")[2]) for name in table.job_ids], np.uint32),
    }
    there = {
        Kind.TALENT: np.flatnonzero(market.people.created_ms <= cut).astype(np.uint32) + 1,
        Kind.JOB: np.flatnonzero((market.postings.posted_ms <= cut) & (market.ended_ms > cut)).astype(np.uint32) + 1,
    }
    is_there = {kind: set(of.tolist()) for kind, of in there.items()}
    places = [
        place
        for place in hires.tolist()
        if int(ordinals[Kind.TALENT][table.talent[place]]) in is_there[Kind.TALENT]
        and int(ordinals[Kind.JOB][table.job[place]]) in is_there[Kind.JOB]
    ]
    if not places:
        return
    past = table.until(cut)
    described = _described(market, cut) if with_content else None
    recipe = default_recipe(affinity(past, None, None))
    how = {
        "talent_ordinals": ordinals[Kind.TALENT],
        "job_ordinals": ordinals[Kind.JOB],
        "as_of_ms": cut,
        "watermark": int(past.seq.max()),
        "trained_at_ms": cut,
        "nonce": "",
        "described": described,
    }
    both, pooled = LoadedModel(train_both_sides(past, recipe, **how)), LoadedModel(train(past, recipe, **how))
    if both.model.clients is None:
        raise SystemExit("the clients of this market have too few events for an interest of their own")
    ranks: dict[Kind, list[dict[str, float]]] = {}
    for kind in Kind:
        ranks[kind] = [
            _ranks(both, pooled, past, ordinals, there[kind], kind, table.talent[place], table.job[place], weights)
            for place in places
        ]
    for jobs, talents in zip(ranks[Kind.JOB], ranks[Kind.TALENT], strict=True):
        yield Asked(jobs, talents)


def _described(market: Market, cut: int) -> dict[Kind, DescribedItems]:
    known = {Kind.TALENT: market.people.created_ms <= cut, Kind.JOB: market.postings.posted_ms <= cut}
    found = {}
    for kind, documents in documents_of(market).items():
        table = FeatureTable()
        table.add([document for document, is_known in zip(documents, known[kind].tolist(), strict=True) if is_known])
        found[kind] = table.build()
    return found


def _ranks(
    both: LoadedModel,
    pooled: LoadedModel,
    past: EventTable,
    ordinals: Mapping[Kind, npt.NDArray[np.uint32]],
    there: npt.NDArray[np.uint32],
    kind: Kind,
    talent: int,
    job: int,
    weights: Sequence[float],
) -> dict[str, float]:
    """Where each way of ranking has the hired job or talent among those that were there and not hidden."""
    subjects, subject, wanted = (
        (past.talent, talent, ordinals[kind][job]) if kind is Kind.JOB else (past.job, job, ordinals[kind][talent])
    )
    history = _events(past, np.flatnonzero(subjects == subject))
    other = Kind.TALENT if kind is Kind.JOB else Kind.JOB
    own_ordinal = int(ordinals[other][subject])
    hidden = {int(name.rpartition("-")[2]) for name in excluded_ids(history, kind, Exclude.RULES)}
    candidates = np.array([ordinal for ordinal in there.tolist() if ordinal not in hidden], np.uint32)

    def terms(loaded: LoadedModel, weight: float) -> tuple[Terms, Interest]:
        (interest,) = interests_from_histories(
            [history],
            kind,
            loaded.model,
            lambda ids: [int(name.rpartition("-")[2]) for name in ids],
            mutual_weight=weight,
            subjects=[own_ordinal],
        )
        return loaded.lists_of(kind).terms_of(interest), interest

    mine, _ = terms(both, 0.0)
    summed, interest = terms(both, MUTUAL_WEIGHT)
    if kind is Kind.TALENT and interest.mutual is not None:  # with its neighbours, which it has where it stands alone
        theirs = both.talents.terms_of(interest.mutual)
    else:
        theirs = Terms(summed.side, dense=tuple(term for term in summed.dense if term.name.startswith("mutual")))
    names = ("talents alone", "clients alone") if kind is Kind.JOB else ("clients alone", "talents alone")
    ways = {names[0]: mine, names[1]: theirs, "both": summed, "one for both": terms(pooled, 0.0)[0]}
    ways |= {f"both, weight {weight:g}": terms(both, weight)[0] for weight in weights}
    return {name: _rank(score(of, candidates), candidates == wanted) for name, of in ways.items()}


def _rank(scores: npt.NDArray[np.float64], is_wanted: npt.NDArray[np.bool_]) -> float:
    """From 1; in the middle of those that score the same."""
    own = scores[is_wanted][0]
    return float(1 + np.count_nonzero(scores > own) + (np.count_nonzero(scores == own) - 1) / 2)


def _events(table: EventTable, places: Rows) -> list[Event]:
    return [
        Event(
            event_id=f"{table.seq[place]}",
            actor=_ACTORS[table.actor[place]],
            type=_TYPES[table.kind[place]],
            talent_id=table.talent_ids[table.talent[place]],
            job_id=table.job_ids[table.job[place]],
            occurred_at_ms=int(table.at_ms[place]),
            seq=int(table.seq[place]),
        )
        for place in places.tolist()
    ]


def print_outcome(asked: Sequence[Asked]) -> None:
    """Hires in the top 20 by each way of ranking, and both sides against each of the others."""
    print(f"{len(asked)} hires")
    for kind, ranks in outcome(asked).items():
        print(f"lists of {kind.value}s")
        won = {name: of <= TOP for name, of in ranks.items()}
        for name, of in ranks.items():
            print(f"  {name:22} {won[name].sum():5d} in the top {TOP}, median rank {np.median(of):.0f}, "
                  f"mean reciprocal rank {np.mean(1 / of):.4f}")  # fmt: skip
        for name in WAYS:
            if name != "both":
                print(f"  both against {name}: {told_of(won['both'], won[name])}")


def outcome(asked: Sequence[Asked]) -> dict[Kind, dict[str, npt.NDArray[np.float64]]]:
    """Ranks by kind of what is listed and way of ranking."""
    names = asked[0].jobs if asked else ()
    return {
        Kind.JOB: {name: np.array([one.jobs[name] for one in asked]) for name in names},
        Kind.TALENT: {name: np.array([one.talents[name] for one in asked]) for name in names},
    }


def told_of(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> str:
    gained, lost = int(np.count_nonzero(one & ~other)), int(np.count_nonzero(other & ~one))
    chance = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    difference = one.astype(np.float64) - other
    ((low, high),) = bootstrap_intervals(difference[:, None], 0).tolist()
    size = len(one)
    return (
        f"{gained - lost:+d} (95 %: {low * size:+.0f} to {high * size:+.0f}; {gained} won, {lost} lost, "
        f"McNemar p = {chance:.2g})"
    )


if __name__ == "__main__":
    main()
