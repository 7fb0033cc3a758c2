"""Whose list, and how it is made: subjects, profiles and the switches of a recommendation."""

from __future__ import annotations

import math

import strawberry
from strawberry import UNSET

from gateway.graphql.ids import own_ids
from gateway.graphql.inputs import MAX_TERM, given, terms
from recommender import query as domain
from recommender.documents import Level
from recommender.errors import BadInputError

_NONE = domain.Options()
MAX_LIKED = 200
MOST_MUTUAL = 10  # beyond, the list is the other side's alone but for the last few thousandths


@strawberry.input(
    description='What is known of somebody without an account, e.g. `{ skills: ["Go"], level: EXPERT }`. All optional.'
)
class ProfileInput:
    """Becomes recommender.query.Profile."""

    skills: list[str] | None = strawberry.field(default=UNSET, description='What they can do, e.g. `["Go", "SQL"]`.')
    category: str | None = strawberry.field(default=UNSET, description='Their field, e.g. `"Data Science"`.')
    country: str | None = strawberry.field(default=UNSET, description='Where they live, e.g. `"DE"`.')
    level: Level | None = strawberry.field(default=UNSET, description="Their seniority, e.g. `EXPERT`.")
    liked_job_ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='Own ids of jobs they liked in this session, e.g. `["j-17"]`.'
    )

    def to_domain(self) -> domain.Profile:
        """Raises BadInputError for too many or too long values."""
        liked = own_ids(given(self.liked_job_ids) or (), "profile.likedJobIds")
        if len(liked) > MAX_LIKED:
            raise BadInputError(f"profile.likedJobIds: at most {MAX_LIKED}; got {len(liked)}")
        return domain.Profile(
            skills=terms(self.skills, "profile.skills"),
            category=given(self.category) or None,
            country=given(self.country) or None,
            level=given(self.level),
            liked_job_ids=liked,
        )


@strawberry.input(
    one_of=True,
    description='Whose list: exactly one of the two, e.g. `{ talentId: "t-4" }` or `{ profile: { skills: ["Go"] } }`.',
)
class TalentSubject:
    """A talent by id, or somebody by profile."""

    talent_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description='The marketplace\'s own id, known or not, e.g. `"t-4"`.'
    )
    profile: ProfileInput | None = strawberry.field(
        default=UNSET, description='Somebody without an account, e.g. `{ category: "Design" }`.'
    )


@strawberry.input(description='Switches of one list, e.g. `{ placement: "home", maxPerClient: 2 }`.')
class RecommendationOptions:
    """Becomes recommender.query.Options."""

    placement: str | None = strawberry.field(
        default=UNSET, description='Where the list is shown, for reports, e.g. `"home"`.'
    )
    mutual_weight: float | None = strawberry.field(
        default=UNSET,
        description="How much the other side's interest counts, beside 1 for that of who asks, from 0 to 10, "
        "e.g. `0.3`; 0 is one side alone. Unset: `TANDEM_MUTUAL_WEIGHT`.",
    )
    max_per_client: int | None = strawberry.field(
        default=UNSET, description="At most so many jobs of one client in any ten, e.g. `2`."
    )
    exclude_seen: bool | None = strawberry.field(
        default=UNSET, description="Leave out what the subject had any event with, e.g. `true`."
    )
    explore: bool | None = strawberry.field(
        default=UNSET, description="Give new items a chance to be seen, e.g. `false`."
    )
    rerank: bool | None = strawberry.field(
        default=True, description="Whether the steps after scoring apply, e.g. `false` for the bare order by score."
    )


def options(given_options: RecommendationOptions | None) -> domain.Options:
    """The domain's options. Raises BadInputError for a switch out of its range."""
    chosen = given(given_options)
    if chosen is None:
        return _NONE
    weight, per_client, placement = given(chosen.mutual_weight), given(chosen.max_per_client), given(chosen.placement)
    if weight is not None and not (math.isfinite(weight) and 0 <= weight <= MOST_MUTUAL):
        raise BadInputError(f"options.mutualWeight must be between 0 and {MOST_MUTUAL}; got {weight}")
    if per_client is not None and not 1 <= per_client <= 10:
        raise BadInputError(f"options.maxPerClient must be between 1 and 10; got {per_client}")
    if placement is not None and len(placement) > MAX_TERM:
        raise BadInputError(f"options.placement: at most {MAX_TERM} characters; got {len(placement)}")
    rerank = given(chosen.rerank)
    return domain.Options(
        placement=placement or None,
        mutual_weight=weight,
        max_per_client=per_client,
        exclude_seen=bool(given(chosen.exclude_seen)),
        explore=bool(given(chosen.explore)),
        rerank=True if rerank is None else rerank,
    )
