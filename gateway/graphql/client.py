"""The type Client: an owner of jobs, known by nothing but them."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from gateway.graphql.arguments import After, Before, First, JobFilterArgument, Jobs, Last
from gateway.graphql.context import Info
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.inputs import window
from gateway.graphql.node import Node
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR


@strawberry.type(description='Who offers work, e.g. `client(clientId: "acme")`.')
class Client(Node):
    """There is no store of clients: one exists while there is a job of theirs."""

    client_id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"acme"`.')

    @strawberry.field(
        description="Their jobs, newest first; the open ones unless the filter names `statuses`, e.g. all.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def jobs(
        self,
        info: Info,
        filter: JobFilterArgument = UNSET,  # noqa: A002 — the contract's name
        first: First = 20,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Jobs | None:
        from gateway.graphql.listing import jobs_of_client

        return await jobs_of_client(info.context, self.client_id, filter, window(first, after, last, before))


def client_from(client_id: str) -> Client:
    """The GraphQL object of a client id."""
    return Client(id=relay_id(NodeType.CLIENT, client_id), client_id=strawberry.ID(client_id))
