"""The schema, whole, and its printed form."""

from __future__ import annotations

import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext

from gateway.graphql.client import Client
from gateway.graphql.documents import DocumentStage
from gateway.graphql.job import Job
from gateway.graphql.mutation import Mutation
from gateway.graphql.query import Query
from gateway.graphql.scalars import SCALARS
from gateway.graphql.talent import Talent


class TandemSchema(strawberry.Schema):
    """Strawberry's schema, silent: it would log every failed query with its text."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """What is worth a line is logged where errors are answered, see errors.py."""


def build_schema() -> TandemSchema:
    """A schema of its own, with its own document cache."""
    return TandemSchema(
        query=Query,
        mutation=Mutation,
        types=[Talent, Job, Client],
        extensions=[DocumentStage],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


SCHEMA = build_schema()


def printed_schema() -> str:
    """The SDL as it stands in schema.graphql."""
    return SCHEMA.as_str() + "\n"
