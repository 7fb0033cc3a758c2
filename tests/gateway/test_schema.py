"""The served schema against the contract, and what the schema owes to its readers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from graphql import (
    DirectiveLocation,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
    is_specified_directive,
)

from gateway.cli.schema import SchemaBreaksError, UndatedDeprecationError, command
from gateway.graphql.deprecations import deprecations
from gateway.graphql.schema import SCHEMA, changes_since, printed_schema

ROOT = Path(__file__).parents[2]
CONTRACT = build_schema((Path(__file__).parent / "contract.graphql").read_text(encoding="utf-8"))
SERVED = build_schema(printed_schema())
SUBSCRIPTIONS = {
    "Subscription",
    "Subscription.recommendationsChanged(subject)",
    "RecommendationsChanged",
    "WatchedSubject",
    "ChangeCause",
}
BUILT_IN = {"String", "Int", "Float", "Boolean", "ID"}


def own_types(schema: GraphQLSchema) -> dict[str, object]:
    return {name: kind for name, kind in schema.type_map.items() if not name.startswith("__") and name not in BUILT_IN}


def shape(schema: GraphQLSchema) -> dict[str, str]:
    """Every element by its path, with everything about it that a client can depend on."""
    found: dict[str, str] = {}
    for name, kind in own_types(schema).items():
        found[name] = type(kind).__name__
        if isinstance(kind, GraphQLEnumType):
            found |= {f"{name}.{value}": "value" for value in kind.values}
        elif isinstance(kind, GraphQLInputObjectType):
            found[f"{name} oneOf"] = str(kind.is_one_of)
            found |= {f"{name}.{field}": f"{part.type} = {default_of(part)}" for field, part in kind.fields.items()}
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            found |= {f"{name} implements {parent.name}": "yes" for parent in kind.interfaces}
            for field, part in kind.fields.items():
                found[f"{name}.{field}"] = str(part.type)
                found |= {f"{name}.{field}({arg})": f"{it.type} = {default_of(it)}" for arg, it in part.args.items()}
    return found


def default_of(part: object) -> str:
    from graphql import print_ast

    node = part.ast_node.default_value  # type: ignore[attr-defined]
    return "none" if node is None else print_ast(node)


def test_every_element_of_the_contract_is_served_as_it_stands_there() -> None:
    served = shape(SERVED)
    differing = {path: (form, served.get(path)) for path, form in shape(CONTRACT).items() if served.get(path) != form}
    assert differing == {}
    assert len(shape(CONTRACT)) > 300


def test_what_is_served_beyond_the_contract_is_optional_and_listed_here() -> None:
    extra = {path for path in set(shape(SERVED)) - set(shape(CONTRACT)) if path.partition(".")[0] not in SUBSCRIPTIONS}
    highlights = {path for path in extra if path.split(".")[0] in ("Highlight", "HighlightField", "TextRange")}
    assert len(highlights) == 13
    limits = {path for path in extra if path.split(".")[0] == "RateLimit"}
    assert len(limits) == 6
    backward = {path for path in extra if path.endswith(("(last)", "(before)"))}
    assert {path.rpartition("(")[0] for path in backward} == {
        "Query.talents",
        "Query.jobs",
        "Client.jobs",
        "Talent.interactions",
        "Job.interactions",
    }
    assert len(backward) == 10
    assert extra - highlights - backward - limits == {
        "Query.rateLimit",
        "TalentFilter.joinedWithinDays",
        "TalentInput.updatedAt",
        "JobInput.updatedAt",
        "WatchedSubject oneOf",
        "TalentEdge.highlights",
        "JobEdge.highlights",
        "Contribution.effect",
        "Explanation.clause",
        "Explanation.mutualProbability",
        "Explanation.probability",
        "Explanation.rule",
        "Explanation.scoreGap",
        "Query.explain(options)",
    }


def test_the_printed_schema_in_the_repository_is_the_served_one() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == printed_schema(), (
        "run: tandem schema --out schema.graphql"
    )


EARLIER = """
type Query { talent(talentId: ID!): Talent removed: Int viewer: Viewer! }
type Talent { talentId: ID! title: Int }
type Viewer { roles: [String!]! }
enum JobStatus { OPEN }
"""


def test_a_change_that_breaks_clients_is_named_and_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "earlier.graphql"
    earlier.write_text(EARLIER, encoding="utf-8")

    with pytest.raises(SchemaBreaksError, match="3 changes break"):
        command(against=earlier)

    said = capsys.readouterr()
    assert sorted(said.err.splitlines()) == [
        "breaks: Field Query.removed was removed.",
        "breaks: Field Query.viewer changed type from Viewer! to Viewer.",
        "breaks: Field Talent.title changed type from Int to String.",
    ]
    assert "JobStatus" in said.out


DEPRECATED = """
type Query {
  old: Int @deprecated(reason: "Use `viewer`. Removal on 2026-01-31.")
  later: Int @deprecated(reason: "Use `viewer`. Removal on 2999-01-31.")
  vague: Int @deprecated(reason: "Use `viewer`.")
  viewer(loud: Int @deprecated(reason: "It did nothing. Removal on 2026-01-31.")): Viewer
}
type Viewer { roles: [String!]! }
enum JobStatus { OPEN LOST @deprecated(reason: "Use `CLOSED`. Removal on 2026-02-30.") }
"""


def test_what_was_deprecated_may_go_from_its_day_on_and_not_before() -> None:
    found = {one.at: one.removal for one in deprecations(build_schema(DEPRECATED))}
    assert found == {
        "Query.old": date(2026, 1, 31),
        "Query.later": date(2999, 1, 31),
        "Query.vague": None,
        "Query.viewer(loud:)": date(2026, 1, 31),
        "JobStatus.LOST": None,  # there is no such day
    }
    changes = changes_since(DEPRECATED.encode(), "earlier", date(2026, 1, 31))
    assert changes.removed == ["Field Query.old was removed.", "Argument Query.viewer(loud:) was removed."]
    assert sorted(changes.breaking) == [
        "Enum value JobStatus.LOST was removed.",
        "Field Query.later was removed.",
        "Field Query.vague was removed.",
    ]
    the_day_before = changes_since(DEPRECATED.encode(), "earlier", date(2026, 1, 30))
    assert (the_day_before.removed, len(the_day_before.breaking)) == ([], 5)


def test_a_new_deprecation_is_told_and_must_have_its_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = tmp_path / "schema.graphql"
    printed.write_text(printed_schema(), encoding="utf-8")
    command(check=printed)
    field = SCHEMA._schema.type_map["Viewer"].fields["roles"]  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(field, "deprecation_reason", "It is old.")
        printed.write_text(printed_schema(), encoding="utf-8")
        with pytest.raises(UndatedDeprecationError, match=r"Viewer\.roles"):
            command(check=printed)
    printed.write_text(printed_schema(), encoding="utf-8")
    marked = printed_schema().replace(
        "  roles: [String!]!", '  roles: [String!]! @deprecated(reason: "Use `may`. Removal on 2999-01-31.")'
    )
    monkeypatch.setattr("gateway.graphql.schema.printed_schema", lambda: marked)
    command(against=printed)
    assert "deprecated: Viewer.roles: Use `may`. Removal on 2999-01-31." in capsys.readouterr().out


def test_what_is_null_only_on_an_error_is_said_to_be() -> None:
    """The rest may be null for what a document does not say, or for what is gone."""
    marked = {
        f"{type_name}.{name}"
        for type_name, kind in own_types(SERVED).items()
        if isinstance(kind, GraphQLObjectType)
        for name, field in kind.fields.items()
        if field.ast_node and any(one.name.value == "semanticNonNull" for one in field.ast_node.directives or ())
    }
    assert all(not isinstance(type_of(SERVED, path), GraphQLNonNull) for path in marked)
    connections = {
        f"{kind}.{field}"
        for kind in ("JobConnection", "TalentConnection", "RecommendedJobConnection", "RecommendedTalentConnection")
        for field in ("totalCount", "facets")
    }
    edges = {f"Recommended{kind}Edge.{field}" for kind in ("Job", "Talent") for field in ("reasons", "interactions")}
    assert SERVED.query_type
    assert SERVED.mutation_type
    assert marked == connections | edges | {f"Mutation.{name}" for name in SERVED.mutation_type.fields} | {
        *(f"Query.{name}" for name in ("viewer", "rateLimit", "talents", "jobs", "recommendedJobs", "explain")),
        *("Client.jobs", "Talent.recommendedJobs", "Talent.interactions", "Job.interactions"),
        *("RecordEventsPayload.talents", "RecordEventsPayload.jobs"),
    }


def type_of(schema: GraphQLSchema, path: str) -> object:
    type_name, _, field = path.partition(".")
    return schema.type_map[type_name].fields[field].type  # type: ignore[attr-defined]


def descriptions() -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for directive in SCHEMA._schema.directives:
        if is_specified_directive(directive):
            continue
        found.append((f"@{directive.name}", directive.description))
        if DirectiveLocation.FRAGMENT_SPREAD in directive.locations:  # Strawberry describes the arguments of no others
            found += [(f"@{directive.name}({arg})", it.description) for arg, it in directive.args.items()]
    for name, kind in own_types(SERVED).items():
        found.append((name, kind.description))  # type: ignore[attr-defined]
        if isinstance(kind, GraphQLEnumType):
            found += [(f"{name}.{value}", part.description) for value, part in kind.values.items()]
        elif not isinstance(kind, GraphQLScalarType):
            for field, part in kind.fields.items():  # type: ignore[attr-defined]
                found.append((f"{name}.{field}", part.description))
                found += [(f"{name}.{field}({arg})", it.description) for arg, it in getattr(part, "args", {}).items()]
    return found


@pytest.mark.parametrize(("path", "text"), descriptions())
def test_every_element_is_described_with_an_example(path: str, text: str | None) -> None:
    assert text
    assert "e.g." in text or "`" in text or "“" in text, path
