"""What a consistency token asks for: that this process sees all that its bearer was told is written."""

from __future__ import annotations

import asyncio

from gateway.graphql.cursors import ConsistencyToken
from gateway.graphql.services import Services
from recommender.documents import Kind
from recommender.errors import UnavailableError

LOOKS = 20
PAUSE_SECONDS = 0.05  # between two looks: a store that is behind by more than a second in all has lost something


async def reach(token: ConsistencyToken, services: Services) -> None:
    """Return once every store shows what the token speaks of.

    The stores are read where they are written, so the first look is enough unless one has gone back: a Redis replica
    that took over before it had received everything, a backup that was put in place.
    Raises UnavailableError for the store that is still behind after a second, or that does not answer.
    """
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(PAUSE_SECONDS)
        behind = await _behind(token, services)
        if behind is None:
            return
    raise UnavailableError(behind or "", "it does not hold what Tandem-Consistency-Token speaks of")


async def _behind(token: ConsistencyToken, services: Services) -> str | None:
    """A store that shows less than the token says; None when there is none."""
    if token.events and (await services.events.state()).last_seq < token.events:
        return "event log"
    for kind, revision in ((Kind.TALENT, token.talents), (Kind.JOB, token.jobs)):
        if revision and (await services.catalogue.mirror(kind)).revision < revision:
            return "catalogue"
    return None
