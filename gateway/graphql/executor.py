"""How operations are executed: as graphql-core does, but for what was compiled of a document when it was first asked.

Of each object that a selection is made on, the plain attributes are read by one function (selections.py). The fields
with a resolver are prepared once, and called in graphql-core's order with graphql-core's arguments; what they answer
with is completed by a function, or by graphql-core. An object with a value that its function does not know is
graphql-core's from its first field on. Data and errors, their order, paths and places are those of graphql-core.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from graphql import (
    DirectiveNode,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLDeferDirective,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLStreamDirective,
    GraphQLString,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableNode,
    Visitor,
    default_field_resolver,
    default_type_resolver,
    get_nullable_type,
    is_non_null_type,
    visit,
)
from graphql.execution import ExperimentalIncrementalExecutionResults
from graphql.execution.collect_fields import (
    CollectedFields,
    DeferUsage,
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature
from graphql.execution.values import (
    VariableValues,
    VariableValueSource,
    get_argument_values,
    get_variable_values,
)
from graphql.pyutils import AwaitableOrValue, Path, gather_with_cancel
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gateway.graphql.calls import Call, call_of, variables_of
from gateway.graphql.selections import Compiler, Function, NotPlainError

MOST_COERCION_ERRORS = 50  # graphql-core's own default
MOST_VARIANTS = 16  # of one document, by operation and by what its @skip and @include are given
_CONDITIONS = (GraphQLSkipDirective.name, GraphQLIncludeDirective.name)
_IN_PARTS = (GraphQLDeferDirective.name, GraphQLStreamDirective.name)


@dataclass(slots=True)
class Prepared:
    """A field that is more than an attribute, with what of its execution is the same every time.

    arguments: None where a variable is among them. call: None where Strawberry calls the resolver. complete: None where
    graphql-core has to see each value.
    """

    parent: GraphQLObjectType
    definition: GraphQLField
    details: FieldDetailsList
    nodes: list[FieldNode]
    resolve: Callable[..., Any]
    arguments: dict[str, Any] | None = None
    call: Call | None = None
    complete: Function | None = None


@dataclass(slots=True)
class Selected:
    """What is selected of the objects of one type at one place. open: the fields that `attributes` leaves None."""

    parent: GraphQLObjectType
    fields: GroupedFieldSet
    attributes: Function
    open: list[tuple[str, Prepared]]


@dataclass(slots=True, eq=False)
class Variant:
    """An operation with its conditions decided: which fields it has is known, and they are the same lists every time.

    root: of the first execution, and what is selected of it, unless its fields are executed one after the other.
    collected: graphql-core's own memory, kept from one execution to the next. selected and prepared: by the identity of
    the fields, which are all alive in the other two.
    """

    root: GroupedFieldSet | None = None
    selected_root: Selected | None = None
    collected: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = field(
        default_factory=dict
    )
    selected: dict[int, Selected] = field(default_factory=dict)
    prepared: dict[int, Prepared] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Declared:
    """A variable of an operation. taken: the class whose values its type takes as they are; None for none."""

    signature: GraphQLVariableSignature
    taken: type | None
    may_be_missing: bool

    @classmethod
    def from_signature(cls, signature: GraphQLVariableSignature) -> Declared:
        """Of the schema's own types alone is known what they take. An int may be too large for an Int."""
        scalar: Any = get_nullable_type(signature.type)
        known = {GraphQLID.name: (GraphQLID, str), GraphQLString.name: (GraphQLString, str)}
        declared, taken = known.get(getattr(scalar, "name", ""), (GraphQLBoolean, bool))
        may_be_missing = signature.default is None and not is_non_null_type(signature.type)
        return cls(signature, taken if declared is scalar else None, may_be_missing)


@dataclass(slots=True, eq=False)
class Plan:
    """What graphql-core looks up of an operation for every execution of it."""

    operation: OperationDefinitionNode
    fragment_definitions: dict[str, FragmentDefinitionNode]
    fragments: dict[str, FragmentDetails]
    declared: list[Declared]

    def values(self, schema: GraphQLSchema, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """The coerced variables: at once where each is what it has to be, else by graphql-core."""
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for declared in self.declared:
            signature = declared.signature
            name = signature.name
            value = given.get(name, Undefined)
            if value.__class__ is declared.taken:
                sources[name], coerced[name] = VariableValueSource(signature, value), value
            elif value is Undefined and declared.may_be_missing:
                sources[name] = VariableValueSource(signature)
            else:
                definitions = self.operation.variable_definitions or ()
                return get_variable_values(schema, definitions, dict(given), max_errors=MOST_COERCION_ERRORS)
        return VariableValues(sources, coerced)


class Compiled:
    """What has been compiled of a valid document, for the one schema that it is valid in."""

    def __init__(self, document: DocumentNode) -> None:
        self._document = document
        self._operations: frozenset[int] | None = None  # not looked for yet
        self._conditions: tuple[str, ...] = ()
        self._variants: dict[tuple[int, tuple[bool, ...]], Variant] = {}
        self._plans: dict[str | None, Plan] = {}

    def executor(
        self, schema: GraphQLSchema, name: str | None, variables: Mapping[str, Any] | None, context: Any
    ) -> CompiledExecutor | list[GraphQLError]:
        """As `Executor.build`: what executes an operation, or why none can be executed. name: None for the only one."""
        plan = self._plans.get(name)
        if plan is None:
            built = CompiledExecutor.build(
                schema,
                self._document,
                context_value=context,
                raw_variable_values=dict(variables or {}),
                operation_name=name,
                is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
            )
            if isinstance(built, CompiledExecutor):
                sources = built.variable_values.sources.values()
                declared = [Declared.from_signature(source.signature) for source in sources]
                self._plans[name] = Plan(built.operation, built.fragment_definitions, built.fragments, declared)
            return built  # type: ignore[return-value] # it is of the class that was asked to build it
        values = plan.values(schema, variables or {})
        if isinstance(values, list):
            return values
        return CompiledExecutor(
            schema,
            plan.fragment_definitions,
            plan.fragments,
            None,
            context,
            plan.operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            is_awaitable=optimized_is_awaitable,
        )

    def variant(self, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> Variant | None:
        """Where to compile an operation with these variables; None for one that is left to graphql-core."""
        if self._operations is None:
            found = _Directives()
            visit(self._document, found)
            self._operations = frozenset(map(id, self._document.definitions if found.is_whole else ()))
            self._conditions = tuple(sorted(found.conditions))
        if id(operation) not in self._operations:
            return None
        given = tuple(variables.get(name, False) for name in self._conditions)  # missing: it is of another operation
        if not all(isinstance(value, bool) for value in given):
            return None
        kept = self._variants.get((id(operation), given))
        if kept is None and len(self._variants) < MOST_VARIANTS:
            kept = self._variants[id(operation), given] = Variant()
        return kept


class _Directives(Visitor):
    """The variables that decide which fields there are, and whether all of them belong to one answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: set[str] = set()
        self.is_whole = True

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        if node.name.value in _IN_PARTS:
            self.is_whole = False
        elif node.name.value in _CONDITIONS:
            for argument in node.arguments or ():
                if isinstance(argument.value, VariableNode):
                    self.conditions.add(argument.value.name.value)

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> None:
        if node.variable_definitions:
            self.is_whole = False


class CompiledExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes what the context's `compiled` is the compiled form of; everything else as graphql-core does."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._variant: Variant | None = None
        self._given: dict[int, dict[str, Any]] = {}
        self._own: dict[int, dict[str, Any] | None] = {}
        compiled: Compiled | None = getattr(self.context_value, "compiled", None)
        # Nothing may stand between fields and their resolvers that would be passed by.
        if (
            compiled
            and self.abort_signal is None
            and not (self.middleware_manager and self.middleware_manager.middlewares)
        ):
            self._variant = compiled.variant(self.operation, self.variable_values.coerced)
            if self._variant is not None:
                self._relevant_sub_fields = self._variant.collected

    def execute_operation(
        self, serially: bool | None = None
    ) -> AwaitableOrValue[ExecutionResult | ExperimentalIncrementalExecutionResults]:
        """See Executor. The fields of the root are collected once."""
        selected = None if self._variant is None or serially is not None else self._variant.selected_root
        if selected is None:
            return super().execute_operation(serially)
        data: dict[str, Any] | None = None
        try:
            answer = self._execute(selected, self.root_value, None)
            if self.is_awaitable(answer):
                return self._answered(answer)
            data = cast("dict[str, Any]", answer)
        except GraphQLError as error:
            self.collected_errors.add(error, None)
        return self.build_response(data)

    async def _answered(
        self, answer: Awaitable[dict[str, Any]]
    ) -> ExecutionResult | ExperimentalIncrementalExecutionResults:
        data: dict[str, Any] | None = None
        try:
            data = await answer
        except GraphQLError as error:
            self.collected_errors.add(error, None)
        return self.build_response(data)

    def execute_collected_root_fields(
        self,
        root_type: GraphQLObjectType,
        root_value: Any,
        grouped_field_set: GroupedFieldSet,
        serially: bool,
        new_defer_usages: Sequence[DeferUsage],
    ) -> AwaitableOrValue[dict[str, Any]]:
        """See Executor."""
        variant = self._variant
        if variant is None:
            return super().execute_collected_root_fields(
                root_type, root_value, grouped_field_set, serially, new_defer_usages
            )
        if variant.root is None:
            variant.root = grouped_field_set
        if not serially:
            variant.selected_root = self._selected(variant, root_type, variant.root)
            return self._execute(variant.selected_root, root_value, None)
        for details in variant.root.values():
            if id(details) not in variant.prepared:
                variant.prepared[id(details)] = self._prepared(root_type, details)
        return self.execute_fields_serially(root_type, root_value, None, variant.root, None)

    def execute_collected_subfields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path,
        grouped_field_set: GroupedFieldSet,
        new_defer_usages: Sequence[DeferUsage],
        delivery_group_map: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """See Executor."""
        variant = self._variant
        if variant is None:
            return super().execute_collected_subfields(
                parent_type, source_value, path, grouped_field_set, new_defer_usages, delivery_group_map
            )
        return self._execute(self._selected(variant, parent_type, grouped_field_set), source_value, path)

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """See Executor."""
        prepared = None if self._variant is None else self._variant.prepared.get(id(field_details_list))
        if prepared is None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        return self._run(prepared, source, path)

    def _execute(self, selected: Selected, source: Any, path: Path | None) -> AwaitableOrValue[dict[str, Any]]:
        """The answer's object: its attributes at once, then its other fields one by one, as in `execute_fields`."""
        try:
            answer: dict[str, Any] = selected.attributes(source)
        except Exception:  # noqa: BLE001 — whatever it is, graphql-core makes an error of it, or knows what to do
            return self.execute_fields(selected.parent, source, path, selected.fields, None)
        if not selected.open:
            return answer
        if path is None:
            self.context_value.is_alone = len(selected.open) == 1
        awaited: list[str] = []
        try:
            for key, prepared in selected.open:
                answer[key] = self._run(prepared, source, Path(path, key, selected.parent.name))
                if self.is_awaitable(answer[key]):
                    awaited.append(key)
        except Exception:
            if awaited:
                self.settle_in_background([answer[key] for key in awaited])
            raise
        return _settled(answer, awaited) if awaited else answer

    def _run(self, prepared: Prepared, source: Any, path: Path) -> Any:
        """What a field with a resolver answers with, maybe to be awaited: as in `execute_field`."""
        info = self.build_resolve_info(prepared.definition, prepared.nodes, prepared.parent, path)
        try:
            call, arguments = prepared.call, None if prepared.call is None else self._own_arguments(prepared)
            if call is not None and arguments is not None:
                value = call(source, info, arguments)
            else:
                given = self._arguments(prepared) if prepared.arguments is None else prepared.arguments
                value = prepared.resolve(source, info, **given)
            if self.is_awaitable(value):
                return self._completed(prepared, info, path, value)
            answer = self._complete(prepared, info, path, value)
            if self.is_awaitable(answer):
                return self._caught(prepared, path, answer)
        except Exception as error:  # noqa: BLE001 — a resolver may raise anything
            self.handle_field_error(error, prepared.definition.type, prepared.details, path)
            return None
        return answer

    async def _completed(
        self, prepared: Prepared, info: GraphQLResolveInfo[Any], path: Path, value: Awaitable[Any]
    ) -> Any:
        try:
            answer = self._complete(prepared, info, path, await value)
            return await answer if self.is_awaitable(answer) else answer
        except Exception as error:  # noqa: BLE001
            self.handle_field_error(error, prepared.definition.type, prepared.details, path)
            return None

    async def _caught(self, prepared: Prepared, path: Path, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except Exception as error:  # noqa: BLE001
            self.handle_field_error(error, prepared.definition.type, prepared.details, path)
            return None

    def _complete(self, prepared: Prepared, info: GraphQLResolveInfo[Any], path: Path, value: Any) -> Any:
        self.context_value.is_alone = False  # from here on there may be fields below it, all at the same time
        if prepared.complete is not None:
            try:
                return prepared.complete(value)
            except Exception:  # noqa: BLE001, S110 — as in `_execute`
                pass
        return self.complete_value(prepared.definition.type, prepared.details, info, path, value, None)

    def _arguments(self, prepared: Prepared) -> dict[str, Any]:
        """The arguments of a field, the same for all objects of one execution."""
        known = self._given.get(id(prepared))
        if known is None:
            known = self._given[id(prepared)] = self._coerced(prepared, self.variable_values)
        return known

    def _own_arguments(self, prepared: Prepared) -> dict[str, Any] | None:
        """The arguments of a field's function, the same for all objects of one execution; None for one without."""
        if id(prepared) not in self._own:
            assert prepared.call is not None  # noqa: S101 — asked before
            self._own[id(prepared)] = prepared.call.arguments(
                prepared.nodes[0], self.variable_values, lambda values: self._coerced(prepared, values)
            )
        return self._own[id(prepared)]

    def _coerced(self, prepared: Prepared, values: VariableValues) -> dict[str, Any]:
        details = prepared.details[0]
        return get_argument_values(
            prepared.definition, details.node, values, details.fragment_variable_values, self.hide_suggestions
        )

    def _selected(self, variant: Variant, parent: GraphQLObjectType, fields: GroupedFieldSet) -> Selected:
        selected = variant.selected.get(id(fields))
        if selected is None:
            attributes, left = Compiler(self).object(parent, fields)
            selected = Selected(
                parent, fields, attributes, [(key, self._prepared(parent, fields[key])) for key in left]
            )
            variant.prepared |= {id(prepared.details): prepared for _, prepared in selected.open}
            variant.selected[id(fields)] = selected
        return selected

    def _prepared(self, parent: GraphQLObjectType, details: FieldDetailsList) -> Prepared:
        definition = self.schema.get_field(parent, details[0].node.name.value)
        assert definition is not None  # noqa: S101 — the document is valid
        nodes = [one.node for one in details]
        resolve = definition.resolve or self.field_resolver
        prepared = Prepared(parent, definition, details, nodes, resolve)
        has_variables = any(True for _ in variables_of(nodes[0]))
        with suppress(GraphQLError):  # it is raised anew where the field is executed
            if not has_variables:
                prepared.arguments = self._coerced(prepared, self.variable_values)
        with suppress(NotPlainError):
            prepared.complete = Compiler(self).value(definition.type, details)
        if self.operation.operation is OperationType.QUERY:  # what changes something may change its arguments
            prepared.call = call_of(definition, nodes[0], self.schema, self._texts())
        return prepared

    def _texts(self) -> frozenset[str]:
        """The variables that are text and nothing else."""
        found = (Declared.from_signature(source.signature) for source in self.variable_values.sources.values())
        return frozenset(declared.signature.name for declared in found if declared.taken is str)


async def _settled(answer: dict[str, Any], awaited: list[str]) -> dict[str, Any]:
    """The answer's object with everything in it awaited."""
    if len(awaited) == 1:
        answer[awaited[0]] = await answer[awaited[0]]
    else:
        values = await gather_with_cancel(*(answer[key] for key in awaited))
        answer.update(zip(awaited, values, strict=True))
    return answer
