"""Conventions that readers of the schema rely on: names, connections, payloads, and that every list has an end."""

from __future__ import annotations

import re

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    IntValueNode,
    build_schema,
    get_named_type,
    is_leaf_type,
)

from gateway.graphql.schema import printed_schema

SCHEMA = build_schema(printed_schema())
OWN = {name: kind for name, kind in SCHEMA.type_map.items() if not name.startswith("__")}
OBJECTS = {name: kind for name, kind in OWN.items() if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)}
INPUTS = {name: kind for name, kind in OWN.items() if isinstance(kind, GraphQLInputObjectType)}
CONNECTIONS = {name: kind for name, kind in OBJECTS.items() if name.endswith("Connection")}

# Lists of objects without `first`, and what ends each.
BOUNDED = {
    "Facet.buckets": "`size`, at most 100",
    "Query.nodes": "`ids`, at most 100",
    "UpsertPayload.userErrors": "500 items of an input",
    "RecordEventsPayload.userErrors": "500 events",
    "RecordEventsPayload.talents": "500 events",
    "RecordEventsPayload.jobs": "500 events",
    "DeletePayload.userErrors": "one id",
    "Talent.attributes": "the columns of a document",
    "Job.attributes": "the columns of a document",
    "JobEdge.highlights": "24 texts",
    "TalentEdge.highlights": "24 texts",
    "Highlight.ranges": "the words of about 160 characters",
    "Explanation.contributions": "the terms of one score",
    "Reason.jobs": "what one reason names",
    "Reason.talents": "what one reason names",
}


def fields() -> dict[str, GraphQLField]:
    return {f"{name}.{field}": part for name, kind in OBJECTS.items() for field, part in kind.fields.items()}


def is_list(field: GraphQLField) -> bool:
    kind = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(kind, GraphQLList)


def test_names_are_written_as_everywhere() -> None:
    assert [name for name in OWN if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    members = [field for kind in [*OBJECTS.values(), *INPUTS.values()] for field in kind.fields]
    members += [name for field in fields().values() for name in field.args]
    assert [name for name in members if not re.fullmatch(r"[a-z][A-Za-z]*", name)] == []
    values = [value for kind in OWN.values() if isinstance(kind, GraphQLEnumType) for value in kind.values]
    assert [value for value in values if not re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", value)] == []
    assert SCHEMA.query_type
    assert [name for name in SCHEMA.query_type.fields if re.match(r"(get|list|find|fetch)[A-Z]", name)] == []


def test_yes_and_no_are_asked() -> None:
    named = [path for path, field in fields().items() if get_named_type(field.type).name == "Boolean"]
    assert [path for path in named if not re.search(r"\.(is|has|can)[A-Z]", path)] == []


def test_every_list_has_an_end() -> None:
    endless = {
        path
        for path, field in fields().items()
        if is_list(field)
        and not is_leaf_type(get_named_type(field.type))
        and not {"first", "size"} & field.args.keys()
        and path.split(".")[0] not in CONNECTIONS
    }
    assert endless == BOUNDED.keys()


def test_what_pages_is_a_connection_and_every_connection_pages() -> None:
    for name, kind in CONNECTIONS.items():
        assert {"edges", "nodes", "pageInfo"} <= kind.fields.keys(), name
        edge = get_named_type(kind.fields["edges"].type)
        assert edge.name == name.replace("Connection", "Edge")
        assert {"cursor", "node"} <= edge.fields.keys()  # type: ignore[attr-defined]
        node = get_named_type(edge.fields["node"].type)  # type: ignore[attr-defined]
        assert get_named_type(kind.fields["nodes"].type) == node
        if node.name != "Interaction":  # they are counted by nobody: a log has no end
            assert {"totalCount", "facets"} <= kind.fields.keys(), name
    for path, field in fields().items():
        named = get_named_type(field.type).name
        if named in CONNECTIONS:
            assert {"first", "after"} <= field.args.keys(), path
            first = field.args["first"].ast_node
            assert first is not None
            assert isinstance(first.default_value, IntValueNode), path
            assert str(field.args["after"].type) == "String", path
            assert {"last", "before"} <= field.args.keys() or named.startswith("Recommended"), path
            assert not isinstance(field.type, GraphQLNonNull), path
    assert len(CONNECTIONS) == 5


def test_mutations_take_one_input_and_answer_with_their_errors() -> None:
    assert SCHEMA.mutation_type
    for name, field in SCHEMA.mutation_type.fields.items():
        assert list(field.args) == ["input"], name
        assert isinstance(field.args["input"].type, GraphQLNonNull), name
        payload = get_named_type(field.type)
        assert payload.name.endswith("Payload"), name
        assert str(payload.fields["userErrors"].type) == "[UserError!]!", name  # type: ignore[attr-defined]


def test_both_sides_filter_and_count_alike() -> None:
    """What one side has beyond the other is what only its documents have."""
    talents, jobs = INPUTS["TalentFilter"].fields, INPUTS["JobFilter"].fields
    assert talents.keys() - jobs.keys() == {"isAvailable", "hourlyRate", "joinedWithinDays"}
    assert jobs.keys() - talents.keys() == {"clientIds", "isRemote", "budget", "postedWithinDays", "statuses"}
    assert {name: str(talents[name].type) for name in talents.keys() & jobs.keys()} == {
        name: str(jobs[name].type) for name in talents.keys() & jobs.keys()
    }
    of_jobs, of_talents = (OBJECTS[f"Recommended{kind}Connection"].fields for kind in ("Job", "Talent"))
    assert of_jobs.keys() == of_talents.keys()
    for one, other in (
        ("JobConnection", "TalentConnection"),
        ("RecommendedJobConnection", "RecommendedTalentConnection"),
    ):
        counted, too = OBJECTS[one].fields["facets"], OBJECTS[other].fields["facets"]
        assert {name: str(part.type) for name, part in counted.args.items()} == {
            name: str(part.type) for name, part in too.args.items()
        }
