"""Why a pair is, or is not, in a list."""

from __future__ import annotations

from dataclasses import replace

import strawberry

from gateway.graphql.reason import Reason, reason_from
from recommender import query
from recommender.query import Blocker


@strawberry.type(description='One named term of a score, e.g. `{ signal: "history:j-17", value: 0.71 }`.')
class Contribution:
    """From recommender.query.Contribution."""

    signal: str = strawberry.field(
        description='Its name, e.g. `"popularity"`, or `"history:j-17"` for what was done with j-17.'
    )
    value: float = strawberry.field(description="What it adds to the score, e.g. `0.71`.")
    effect: float | None = strawberry.field(
        description="What the score would lose without what is named, solved again, e.g. `0.4`; below 0 it would gain. "
        "Null where nothing is named that could be left out."
    )
    reason: Reason | None = strawberry.field(description="What it comes from, in words, e.g. shared skills.")


@strawberry.type(description='Why and why not, e.g. `explain(talentId: "t-4", jobId: "j-17", side: TALENT)`.')
class Explanation:
    """From recommender.query.Explanation."""

    blocked_by: Blocker | None = strawberry.field(description="What keeps the pair out, e.g. `EXPIRED`; null: nothing.")
    rank: int | None = strawberry.field(description="Its place in the list, e.g. `12`.")
    score: float | None = strawberry.field(description="Its score, e.g. `0.83`.")
    contributions: list[Contribution] = strawberry.field(description="Terms that sum to the score, e.g. the dense one.")
    clause: str | None = strawberry.field(
        description='With `FILTER`, the clause that it fails, by its name in the filter, e.g. `"skills.all"`.'
    )
    rule: str | None = strawberry.field(
        description='With `RULE`, the name of the first rule that keeps it out, e.g. `"No trial jobs"`.'
    )
    score_gap: float | None = strawberry.field(
        description="With `RANKED_LOWER`, how far its score is below rank 500's, the last one listed, e.g. `0.02`."
    )
    probability: float | None = strawberry.field(
        description="How likely who asks is to act on the other later, e.g. `0.02`; for people to read, no list goes "
        "by it. Null where the two sides have no interest of their own yet."
    )
    mutual_probability: float | None = strawberry.field(
        description="How likely the other side is to act on who asks, e.g. `0.01`. Null as above, and at weight 0."
    )
    text: str = strawberry.field(description="The answer in English, e.g. “the job has expired”.")


def without_untold(found: query.Explanation) -> query.Explanation:
    """The same for one of the two sides, without naming what the other did that it is not told of."""
    contributions = [
        replace(term, signal=term.signal.partition(":")[0]) if term.effect is not None and term.reason is None else term
        for term in found.contributions
    ]
    return replace(found, contributions=tuple(contributions))


def explanation_from(found: query.Explanation) -> Explanation:
    """The GraphQL object of the domain's."""
    return Explanation(
        blocked_by=found.blocked_by,
        rank=found.rank,
        score=found.score,
        contributions=[
            Contribution(
                signal=term.signal,
                value=term.value,
                effect=term.effect,
                reason=None if term.reason is None else reason_from(term.reason),
            )
            for term in found.contributions
        ],
        clause=found.clause,
        rule=found.rule,
        score_gap=found.score_gap,
        probability=found.probability,
        mutual_probability=found.mutual_probability,
        text=found.text,
    )
