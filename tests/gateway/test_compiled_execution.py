"""Compiled execution answers as graphql-core does: the same data and errors for every operation, whatever the data.

By hand, more of them: COMPILED_QUERIES=100000 COMPILED_SEED=7 pytest -s tests/gateway/test_compiled_execution.py. What
differs prints its operation, and the same seed gives it again.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import hypothesis_graphql
import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_introspection_query,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    parse,
    specified_rules,
)
from graphql.execution import Executor, experimental_execute_incrementally
from hypothesis import HealthCheck, Phase
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext, validate_document

from gateway.graphql.calls import Call
from gateway.graphql.executor import MOST_VARIANTS, Compiled
from gateway.graphql.schema import build_schema
from gateway.graphql.selections import Shared, is_attribute
from gateway.graphql.viewer import ENGINEER, Viewer
from gateway.settings import Settings
from tests.gateway.generated_operations import OperationMaker
from tests.gateway.served_market import close_market, open_market
from tests.gateway.test_generated_queries import SCHEMA as PRINTED
from tests.gateway.test_generated_queries import printed, scalars

# Of fields that are abandoned because another one failed: graphql-core leaves as many behind.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

QUERIES = int(os.environ.get("COMPILED_QUERIES", "60"))
SEED = int(os.environ.get("COMPILED_SEED", "1"))
MOST_ROWS = 3
BROKEN = (0.02, 0.15)  # shares of values, in the runs over data that is


class Later:
    """To be awaited, as often as anybody likes, for a value or an error."""

    def __init__(self, value: Any, ticks: int) -> None:
        self._value = value
        self._ticks = ticks

    def __await__(self) -> Generator[Any, None, Any]:
        for _ in range(self._ticks):
            yield from asyncio.sleep(0).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def __repr__(self) -> str:
        return "<later>"


class Unprintable:
    """Nothing that a scalar knows."""

    def __repr__(self) -> str:
        return "<unprintable>"

    def __str__(self) -> str:
        raise ValueError("this has no text")


async def rows(values: list[Any]) -> AsyncIterator[Any]:
    """An asynchronous list."""
    for value in values:
        yield value


class FakeData:
    """Values for every type of a schema, the same for the same place, some of them not what the type promises."""

    def __init__(self, schema: GraphQLSchema, seed: int, broken: float) -> None:
        self._schema = schema
        self._seed = seed
        self._broken = broken

    def resolved(self, declared: GraphQLOutputType, place: str) -> Any:
        """What a resolver gives."""
        dice = Random(f"{self._seed} {place}")
        value = self._value(declared, dice)
        if dice.random() < self._broken:
            value = RuntimeError(f"{place} is broken")
        match dice.randrange(4):
            case 0 | 1:
                return Later(value, dice.randrange(4))
            case _ if isinstance(value, Exception) and dice.random() < 0.5:
                raise value
            case _:
                return value

    def _value(self, declared: GraphQLOutputType, dice: Random) -> Any:
        if dice.random() < self._broken:
            return self._wrong(declared, dice)
        if isinstance(declared, GraphQLNonNull):
            return self._present(declared.of_type, dice)
        return None if dice.random() < 0.1 else self._present(declared, dice)

    def _present(self, declared: GraphQLOutputType, dice: Random) -> Any:
        if isinstance(declared, GraphQLList):
            found = [self._value(declared.of_type, dice) for _ in range(dice.randrange(MOST_ROWS + 1))]
            return Shared(found) if dice.random() < 0.2 else found
        if isinstance(declared, GraphQLEnumType):
            return dice.choice(list(declared.wrapped_cls))  # type: ignore[attr-defined]
        if is_leaf_type(declared):
            return self._leaf(declared.name, dice)
        if is_abstract_type(declared):
            return self._object(dice.choice(list(self._schema.get_possible_types(declared))), dice)
        assert isinstance(declared, GraphQLObjectType)
        return self._object(declared, dice)

    @staticmethod
    def _leaf(name: str, dice: Random) -> Any:
        match name:
            case "Int":
                return dice.choice((0, 7, -3, 2**31 - 1))
            case "Float":
                return dice.choice((0.25, 3.0, -1e300))
            case "Boolean":
                return dice.random() < 0.5
            case "DateTime":
                return dice.randrange(10**12)
            case "Decimal":
                return Decimal(dice.randrange(10**6)) / 100
        return f"text {dice.randrange(100)}"

    def _object(self, declared: GraphQLObjectType, dice: Random) -> Any:
        origin = declared.extensions["strawberry-definition"].origin
        made = object.__new__(self._class(origin, dice))
        for definition in declared.fields.values():
            if is_attribute(definition) and dice.random() >= self._broken / 4:  # else it is not there at all
                name = definition.extensions["strawberry-definition"].python_name
                object.__setattr__(made, name, self._value(definition.type, dice))
        if dice.random() < self._broken / 4:
            object.__setattr__(made, "__as_strawberry_type__", dice.choice((origin, Unprintable)))
        return made

    def _class(self, origin: type, dice: Random) -> type:
        if dice.random() >= self._broken / 2:
            return origin

        def fails(_self: Any) -> Any:
            raise KeyError("a property that fails")

        return type(origin.__name__, (origin,), {"title": property(fails, lambda _self, _value: None)})

    def _wrong(self, declared: GraphQLOutputType, dice: Random) -> Any:
        named = get_named_type(declared)
        right = self._present(declared.of_type if isinstance(declared, GraphQLNonNull) else declared, dice)
        wrong: list[Callable[[], Any]] = [
            lambda: None,
            lambda: ValueError("a value that is an error"),
            Unprintable,
            lambda: {"a": 1},
            lambda: float("nan"),
            lambda: float("inf"),
            lambda: 2**40,
            lambda: "\ud800 text",
            lambda: 12,
            lambda: True,
            lambda: b"bytes",
            lambda: [right],
            lambda: [],
            lambda: Later(right, dice.randrange(3)),
            lambda: Later(OSError("broken, and late"), dice.randrange(3)),
            lambda: rows([right, None]) if isinstance(declared, GraphQLList) else "OPEN",
            lambda: (one for one in (right,)),
            lambda: tuple(right) if isinstance(right, list) else right,
            lambda: (right, right),
            lambda: Decimal("NaN"),
            lambda: named,
        ]
        return dice.choice(wrong)()


@dataclass
class Asked:
    """The context of an execution."""

    data: FakeData
    compiled: Compiled | None = None
    viewer: Viewer = ENGINEER
    is_alone: bool = False


def faked(schema: GraphQLSchema) -> GraphQLSchema:
    """The schema with every resolver answering out of the fake data of the context."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for definition in kind.fields.values():
                if not is_attribute(definition):
                    definition.resolve = resolve
    return schema


def resolve(_source: Any, info: Any, **arguments: Any) -> Any:
    """Any field's value, by its place and its arguments."""
    place = f"{info.path.as_list()} {info.parent_type} {sorted(arguments.items())}"
    return info.context.data.resolved(info.return_type, place)


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return faked(build_schema()._schema)


@pytest.fixture
def schema_of_functions(monkeypatch: pytest.MonkeyPatch) -> GraphQLSchema:
    """The schema as it is, but for the functions behind its resolvers, who answer by what they are called with."""
    schema = build_schema()._schema
    for kind in schema.type_map.values():
        if not isinstance(kind, GraphQLObjectType) or kind.name.startswith("__"):
            continue
        for definition in kind.fields.values():
            if definition.subscribe is None and not is_attribute(definition):
                resolver = definition.extensions["strawberry-definition"].base_resolver
                monkeypatch.setattr(resolver, "wrapped_func", function(definition, resolver.is_async))
    return schema


def function(definition: GraphQLField, is_async: bool) -> Callable[..., Any]:
    """A function of Strawberry's, with or without the object and `info`, that answers out of the fake data."""
    name = definition.extensions["strawberry-definition"].python_name

    def answer(*_source: Any, info: Any = None, **arguments: Any) -> Any:
        where = None if info is None else info.path.as_list()
        return FAKED[-1].resolved(definition.type, f"{name} {where} {sorted(arguments.items())}")

    async def answer_later(*source: Any, **named: Any) -> Any:
        value = answer(*source, **named)
        return await value if isinstance(value, Later) else value

    return answer_later if is_async else answer


FAKED: list[FakeData] = []  # what functions that are not told of the execution answer out of


class Tally:
    """How many fields graphql-core executed itself."""

    def __init__(self) -> None:
        self.fields = 0
        self._execute = Executor.execute_field

    def __enter__(self) -> Tally:
        execute = self._execute

        def counted(executor: Any, *arguments: Any) -> Any:
            self.fields += 1
            return execute(executor, *arguments)

        Executor.execute_field = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Executor.execute_field = self._execute  # type: ignore[method-assign]


@dataclass
class Comparison:
    """Runs every operation both ways and counts what ran compiled."""

    schema: GraphQLSchema
    seen: Counter[str] = field(default_factory=Counter)

    async def run(self, text: str, variables: dict[str, Any], seed: int, name: str | None = None) -> None:
        """Over sound data and over data that is not: as the first and as a later execution of a document."""
        document = parse(text)
        if validate_document(self.schema, document, tuple(specified_rules)):
            self.seen["refused"] += 1
            return
        compiled = Compiled(document)
        for broken in (BROKEN[0], 0.0, BROKEN[1]):
            with Tally() as all_fields:
                expected = await self._executed(document, variables, Asked(FakeData(self.schema, seed, broken)), name)
            with Tally() as left:
                asked = Asked(FakeData(self.schema, seed, broken), compiled)
                answer = await self._executed(document, variables, asked, name)
            assert answer == expected, (text, variables, seed, broken)
            kind = "broken" if broken else "sound"
            self.seen[f"{kind} operations"] += 1
            self.seen[f"{kind} operations with errors"] += "errors" in expected
            self.seen[f"{kind} operations compiled"] += left.fields == 0
            self.seen[f"{kind} fields"] += all_fields.fields
            self.seen[f"{kind} fields compiled"] += all_fields.fields - left.fields

    def run_made_up(self, runner: asyncio.Runner) -> None:
        """As many operations as the run is to have."""
        for number in range(QUERIES):
            seed = SEED * 1_000_003 + number
            text, variables = OperationMaker(self.schema, Random(seed)).operation()
            runner.run(self.run(text, variables, seed))

    async def _executed(
        self, document: DocumentNode, variables: dict[str, Any], asked: Asked, name: str | None
    ) -> dict[str, Any]:
        FAKED[:] = [asked.data]
        found: Any
        if asked.compiled is None:
            found = experimental_execute_incrementally(
                self.schema,
                document,
                variable_values=variables,
                context_value=asked,
                operation_name=name,
                is_awaitable=optimized_is_awaitable,
                executor_class=StrawberryGraphQLCoreExecutionContext,
            )
        else:
            executor = asked.compiled.executor(self.schema, name, variables, asked)
            found = ExecutionResult(None, executor) if isinstance(executor, list) else executor.execute_operation()
        result = await found if optimized_is_awaitable(found) else found
        assert isinstance(result, ExecutionResult)
        errors = [(str(error), error.formatted, type(error.original_error)) for error in result.errors or ()]
        return {"data": repr(result.data), **({"errors": errors} if errors else {})}


def test_what_is_compiled_answers_as_graphql_core_does(schema: GraphQLSchema) -> None:
    comparison = Comparison(schema)
    with asyncio.Runner() as runner:
        comparison.run_made_up(runner)
    gc.collect()  # what was abandoned, while the filter above holds
    seen = comparison.seen
    # What a long run is for; pytest shows it with -s, and for a failure.
    print(f"\nseed {SEED}: {', '.join(f'{n} {what}' for what, n in sorted(seen.items()))}")  # noqa: T201
    assert seen["sound operations compiled"] >= 0.95 * seen["sound operations"]
    assert seen["sound fields compiled"] >= 0.99 * seen["sound fields"]
    assert seen["broken operations with errors"] > 0
    assert not seen["refused"]


def test_functions_are_called_with_what_strawberry_calls_them_with(
    schema_of_functions: GraphQLSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    ready = Call.arguments

    def counted(call: Call, *given: Any) -> Any:
        arguments = ready(call, *given)
        calls["Strawberry's" if arguments is None else "direct"] += 1
        return arguments

    monkeypatch.setattr(Call, "arguments", counted)
    comparison = Comparison(schema_of_functions)
    with asyncio.Runner() as runner:
        comparison.run_made_up(runner)
        for text, variables in TEXTS:
            for seed in range(3):
                runner.run(comparison.run(text, variables, seed))
    gc.collect()
    seen = comparison.seen
    print(f"\nseed {SEED}: {', '.join(f'{n} {what}' for what, n in sorted({**seen, **calls}.items()))}")  # noqa: T201
    assert calls["direct"] > calls["Strawberry's"]
    assert seen["broken operations with errors"] > 0
    assert not seen["refused"]


NESTED = """query ($id: ID!, $s: String!, $also: String, $n: Int = 5, $on: Boolean) {
  recommendedJobs(
    subject: { profile: { skills: [$s, "Go"], likedJobIds: [$id, "j1", $id], country: $also } },
    query: $also, first: $n, options: { excludeSeen: $on, placement: $s }, after: $also
  ) { requestId edges { cursor } nodes { id title } }
}"""
TEXTS: list[tuple[str, dict[str, Any]]] = [
    (NESTED, given)
    for given in (
        {"id": "j7", "s": "x", "also": "go", "n": 3, "on": True},
        {"id": "", "s": "", "also": None},
        {"id": 17, "s": "\u00e4", "n": None, "on": None},
        {"id": "j7", "s": "SQL", "n": 3.0},
        {"id": ["j7"], "s": "x"},
        {"id": "j7", "s": 5},
        {},
    )
]


def test_operations_of_another_generator_are_answered_as_by_graphql_core(schema: GraphQLSchema) -> None:
    comparison = Comparison(schema)
    with asyncio.Runner() as runner:

        @hypothesis.seed(SEED)
        @hypothesis.settings(
            max_examples=max(20, QUERIES // 20),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(hypothesis_graphql.from_schema(PRINTED, custom_scalars=scalars(), print_ast=printed))
        def run(text: str) -> None:
            runner.run(comparison.run(text, {}, SEED))

        run()
    seen = comparison.seen
    print(f"\nseed {SEED}: {', '.join(f'{n} {what}' for what, n in sorted(seen.items()))}")  # noqa: T201
    assert seen["sound operations compiled"] >= 0.95 * seen["sound operations"]
    assert seen["sound fields compiled"] >= 0.99 * seen["sound fields"]


@pytest.mark.parametrize(
    "text",
    [
        get_introspection_query(),
        '{ __type(name: "Job") { name fields { name type { name kind } } } __typename }',
        "query A($a: Boolean!) { viewer { roles @include(if: $a) } } query Made($a: ID!) { job(jobId: $a) { title } }",
        "query ($a: Boolean = true) { viewer { roles @include(if: $a) } }",
        "{ job(jobId: 5) { title } }",
        "{ ...F ...F } fragment F on Query { viewer { roles ...G } viewer { ...G } } fragment G on Viewer { roles }",
        '{ node(id: "x") { id ... on Job { title } ... on Node { id } ... on Client { clientId } __typename } }',
        "mutation { __typename b: deleteJob(input: { jobId: 1 }) { deletedId } }",
    ],
)
@pytest.mark.parametrize("variables", [{}, {"a": True}, {"a": False}, {"a": None}, {"a": "t1"}, {"a": [1]}])
def test_odd_operations_are_answered_as_by_graphql_core(
    text: str, variables: dict[str, Any], schema: GraphQLSchema
) -> None:
    comparison = Comparison(schema)
    for seed in range(3):
        asyncio.run(comparison.run(text, variables, seed, "Made" if "Made" in text else None))


def test_what_is_compiled_of_a_document_is_bounded(schema: GraphQLSchema) -> None:
    names = [f"c{number}" for number in range(8)]
    fields = " ".join(f"{name}: __typename @include(if: ${name})" for name in names)
    document = parse(f"query({', '.join(f'${name}: Boolean!' for name in names)}) {{ {fields} }}")
    compiled = Compiled(document)
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    made = [
        compiled.variant(operation, {name: bool(number >> place & 1) for place, name in enumerate(names)})
        for number in range(2 * MOST_VARIANTS)
    ]
    assert sum(variant is not None for variant in made) == MOST_VARIANTS


def test_an_operation_in_parts_is_left_to_graphql_core(schema: GraphQLSchema) -> None:
    for text in ("{ ...F @defer } fragment F on Query { __typename }", "{ ... @defer(if: false) { __typename } }"):
        document = parse(text)
        (operation, *_) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        assert Compiled(document).variant(operation, {}) is None


@pytest.mark.parametrize("compiles", [True, False])
async def test_compiling_can_be_switched_off(tmp_path: Path, *, compiles: bool) -> None:
    market = await open_market(tmp_path, Settings(auth="open", compiled=compiles))
    with Tally() as left:
        await market.data('{ recommendedJobs(subject: { talentId: "t1" }) { nodes { title } } }')
    assert (left.fields == 0) is compiles
    await close_market(market)
