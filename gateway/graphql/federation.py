"""The schema as a subgraph of Apollo Federation 2: what is ours of the talents and jobs that a marketplace's graph has.

Made out of the schema itself, so that a new argument, filter or field of a list is in both: the two entities keep their
key and the lists, everything that the marketplace's own graph answers is left out, and what remains has a prefix, as a
`JobFilter` of ours and one of theirs would be silently merged into the fields that both have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    assert_valid_schema,
    is_introspection_type,
    print_schema,
)

from gateway.graphql.access import guard_fields
from gateway.graphql.context import Context
from gateway.graphql.ids import own_id
from gateway.graphql.schema import TandemSchema, build_schema
from recommender.errors import BadInputError

MAX_REPRESENTATIONS = 500  # a router asks for all the parents of one answer at once
_LINK = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.0", import: ["@key", "@shareable"])'
_SHARED = "PageInfo"  # Relay's, of one shape everywhere; the marketplace's has to be @shareable too

_OF_TALENT = ("recommendedJobs", "similarTalents", "interactions")
_OF_JOB = ("recommendedTalents", "similarJobs", "interactions")
_QUERIES = ("recommendedJobs",)  # for somebody without an account, who is no entity
_MUTATIONS = ("recordEvents",)  # the catalogue is changed where it comes from

_Info: TypeAlias = GraphQLResolveInfo[Context]


@dataclass(frozen=True, slots=True)
class TalentReference:
    """A talent that a router asks about: its lists need nothing else, so it is not looked up."""

    talent_id: str


@dataclass(frozen=True, slots=True)
class JobReference:
    """A job that a router asks about."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A type that the marketplace's graph has too. key: its name there for the marketplace's own id."""

    type: GraphQLObjectType
    key: str
    reference: Callable[[str], TalentReference | JobReference]


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A schema and the SDL that a router is composed of."""

    schema: TandemSchema
    sdl: str


def build_subgraph(names: str, prefix: str) -> Subgraph:
    """The subgraph for a graph that names its talents and jobs so.

    names: as in TANDEM_FEDERATION, `Talent.id,Job.id`. prefix: of the types that are ours.
    Raises BadInputError when a name is taken: by the other one, or by a field or type of ours.
    """
    schema = build_schema()
    try:
        entities = _entities(schema._schema, *(name.split(".") for name in names.split(",")))
        ours = _ours(schema._schema, [entity.type for entity in entities], prefix)
    except TypeError as error:
        raise BadInputError(f"TANDEM_FEDERATION={names} cannot be served: {error}") from error
    sdl = f"{_LINK}\n\n{print_schema(ours)}\n"
    for entity in entities:
        sdl = _with_directive(sdl, entity.type.name, f'@key(fields: "{entity.key}")')
    sdl = _with_directive(sdl, _SHARED, "@shareable")
    schema._schema = _with_machinery(ours, entities, sdl)
    return Subgraph(schema, sdl)


def _entities(whole: GraphQLSchema, talent: Sequence[str], job: Sequence[str]) -> list[Entity]:
    """The two, cut down to the key and what is ours, under the names of the marketplace's graph."""
    entities = [
        Entity(_cut(whole, "Talent", _OF_TALENT, talentId=talent[1]), talent[1], TalentReference),
        Entity(_cut(whole, "Job", _OF_JOB, jobId=job[1]), job[1], JobReference),
    ]
    for entity, (name, _) in zip(entities, (talent, job), strict=True):
        entity.type.name = name
        entity.type.interfaces = ()
        entity.type.is_type_of = None  # Strawberry's would ask for an object of its own, and a reference is none
        entity.type.description = None  # the marketplace's graph says what they are
    return entities


def _cut(schema: GraphQLSchema, name: str, kept: Sequence[str], **renamed: str) -> GraphQLObjectType:
    """A type with some of its fields alone; `renamed` ones first, new names by old."""
    found = schema.type_map[name]
    assert isinstance(found, GraphQLObjectType)  # noqa: S101 — the schema is our own
    if taken := set(kept) & set(renamed.values()):
        raise TypeError(f"{name} has a field {taken.pop()} of ours")
    fields = {new: found.fields[old] for old, new in renamed.items()}
    found.fields = {**fields, **{field: found.fields[field] for field in kept}}
    return found


def _ours(whole: GraphQLSchema, entities: list[GraphQLObjectType], prefix: str) -> GraphQLSchema:
    """What can be reached from what is kept, named. Raises TypeError for two types of one name."""
    query, mutation = _cut(whole, "Query", _QUERIES), _cut(whole, "Mutation", _MUTATIONS)
    as_they_are = [query, mutation, whole.type_map[_SHARED], *entities]
    for named in GraphQLSchema(query, mutation, types=entities).type_map.values():
        # A scalar of one name is one form of text in every graph, and clients have one parser for it.
        if named not in as_they_are and not isinstance(named, GraphQLScalarType) and not is_introspection_type(named):
            named.name = prefix + named.name
    ours = GraphQLSchema(query, mutation, types=entities)
    assert_valid_schema(ours)
    return ours


def _with_directive(sdl: str, type_name: str, directive: str) -> str:
    return sdl.replace(f"\ntype {type_name} {{\n", f"\ntype {type_name} {directive} {{\n")


def _with_machinery(ours: GraphQLSchema, entities: Sequence[Entity], sdl: str) -> GraphQLSchema:
    """The schema with the two fields by which a router reads it; the SDL is without, as every router knows them."""
    by_name = {entity.type.name: entity for entity in entities}
    name_of = {entity.reference: entity.type.name for entity in entities}

    def resolve_entities(_root: None, _info: _Info, representations: list[Any]) -> list[Any]:
        if len(representations) > MAX_REPRESENTATIONS:
            raise BadInputError(f"representations: at most {MAX_REPRESENTATIONS}; got {len(representations)}")
        return [_reference(by_name, representation) for representation in representations]

    def resolve_service(_root: None, _info: _Info) -> dict[str, str]:
        return {"sdl": sdl}

    any_key = GraphQLScalarType("_Any", description='An entity by its key, e.g. `{ __typename: "Job", id: "j-17" }`.')
    entity_type = GraphQLUnionType(
        "_Entity",
        [entity.type for entity in entities],
        resolve_type=lambda value, _info, _type: name_of[type(value)],
        description="What a router asks about, e.g. a talent.",
    )
    service_type = GraphQLObjectType(
        "_Service",
        {"sdl": GraphQLField(GraphQLString, description="The schema with its directives, e.g. for composition.")},
        description="What a router is composed of, e.g. `{ sdl }`.",
    )
    representations = GraphQLArgument(
        GraphQLNonNull(GraphQLList(GraphQLNonNull(any_key))),
        description=f"Up to {MAX_REPRESENTATIONS} keys, e.g. of the talents on a page.",
    )
    machinery = {
        "_entities": GraphQLField(
            GraphQLNonNull(GraphQLList(entity_type)),
            {"representations": representations},
            resolve_entities,
            description="Entities in the order of their keys, known here or not, e.g. the talents on a page.",
        ),
        "_service": GraphQLField(
            GraphQLNonNull(service_type), resolve=resolve_service, description="This subgraph, e.g. `_service { sdl }`."
        ),
    }
    guard_fields("Query", machinery)
    assert ours.query_type  # noqa: S101 — it was made with one
    query = GraphQLObjectType("Query", {**ours.query_type.fields, **machinery}, description=ours.query_type.description)
    return GraphQLSchema(query, ours.mutation_type, types=[entity.type for entity in entities])


def _reference(by_name: Mapping[str, Entity], representation: object) -> TalentReference | JobReference | BadInputError:
    """Whom a router means. An error is in its place alone: graphql-core raises an exception in a list at its index."""
    given = representation if isinstance(representation, Mapping) else {}
    entity = by_name.get(str(given.get("__typename")))
    if entity is None:
        return BadInputError(f"representations: the __typename of each is {' or '.join(by_name)}")
    key = given.get(entity.key)
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        return BadInputError(f"representations: each {entity.type.name} has its id in `{entity.key}`")
    try:
        return entity.reference(own_id(str(key), f"representations.{entity.key}"))
    except BadInputError as error:
        return error
