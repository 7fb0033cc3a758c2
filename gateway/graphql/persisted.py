"""Operations by name: Apollo's automatic persisted queries, and documents that were trusted before they were asked."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, validate
from strawberry.http import GraphQLRequestData

from gateway.graphql.errors import request_error
from gateway.graphql.viewer import Permission, Viewer
from recommender.errors import BadInputError, UnavailableError

NOT_FOUND: Final = "PERSISTED_QUERY_NOT_FOUND"
KEPT: Final = 1_000  # registered documents
KEPT_TEXT: Final = 32_768  # characters of one: a longer one is answered, and sent whole every time
NAMED: Final = 200  # trusted operations that are counted by their name
MOST_FRUITLESS: Final = 64  # look-ups of hashes that no gateway knows, in a row
FRUITLESS_PER_SECOND: Final = 8.0  # and then so many
SHARED_MS: Final = 86_400_000  # a text that nobody registered for a day is asked for again
_HASHED: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass
class OperationRequest(GraphQLRequestData):
    """One operation as it was sent: by text, by hash, by the name of a trusted document, or by several of these."""

    document_id: str | None = None


class OperationStore(Protocol):
    """Registered documents by the SHA-256 of their text, in hexadecimal. May forget any of them at any time."""

    async def get(self, digest: str) -> str | None:
        """The text; None when it is not, or no longer, there."""
        ...

    async def put(self, digest: str, text: str) -> None:
        """Keep a text."""
        ...


class MemoryOperations:
    """The most recently used documents of this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()

    async def get(self, digest: str) -> str | None:
        """See OperationStore."""
        text = self._kept.get(digest)
        if text is not None:
            self._kept.move_to_end(digest)
        return text

    async def put(self, digest: str, text: str) -> None:
        """See OperationStore."""
        self._kept[digest] = text
        self._kept.move_to_end(digest)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


class SharedTexts(Protocol):
    """Texts that all gateways share. Everything may raise UnavailableError."""

    async def get_text(self, digest: str) -> str | None:
        """The text; None when it is not there."""
        ...

    async def put_text(self, digest: str, text: str, ttl_ms: int) -> None:
        """Keep a text for at most `ttl_ms`."""
        ...


class SharedOperations:
    """Documents that any gateway registered, those of this process at hand. Without the others it goes on alone.

    Who asks for many that nobody registered does not make us ask the server for each: after some in a row that it did
    not have it is asked a few times a second. What it may have had is then unknown here, and its client sends the text.
    """

    def __init__(self, shared: SharedTexts, monotonic: Callable[[], float]) -> None:
        self._own = MemoryOperations()
        self._shared = shared
        self._monotonic = monotonic
        self._fruitless, self._counted_at = 0.0, monotonic()

    async def get(self, digest: str) -> str | None:
        """See OperationStore."""
        text = await self._own.get(digest)
        if text is None:
            now = self._monotonic()
            self._fruitless = max(0.0, self._fruitless - FRUITLESS_PER_SECOND * (now - self._counted_at))
            self._counted_at = now
            if self._fruitless > MOST_FRUITLESS - 1:
                return None
            self._fruitless += 1  # before the answer: many may ask at once
            with suppress(UnavailableError):
                text = await self._shared.get_text(digest)
            if text is None or _sha256(text) != digest:  # whoever can write there must not choose what a hash means
                return None
            self._fruitless = max(0.0, self._fruitless - 1)
            await self._own.put(digest, text)
        return text

    async def put(self, digest: str, text: str) -> None:
        """See OperationStore."""
        await self._own.put(digest, text)
        with suppress(UnavailableError):
            await self._shared.put_text(digest, text, SHARED_MS)


@dataclass(frozen=True, slots=True)
class Operation:
    """What will be executed. digest: under which it is to be registered once it proved valid; None for not at all.

    name: for counting, of an operation that was trusted beforehand; of any other the client could make up a new one.
    """

    text: str
    digest: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PersistedOperations:
    """Finds the text of what was asked for, and decides whether it may be asked.

    trusted: texts by name. only_trusted: refuse every other text, but from those who may send their own.
    """

    store: OperationStore = field(default_factory=MemoryOperations)
    trusted: Mapping[str, str] = field(default_factory=dict)
    only_trusted: bool = False
    names: Mapping[str, str] = field(init=False)  # of operations, by text

    def __post_init__(self) -> None:
        texts = list(dict.fromkeys(self.trusted.values()))[:NAMED]
        object.__setattr__(self, "names", {text: name for text in texts if (name := _operation_name(text))})

    async def find(self, asked: OperationRequest, viewer: Viewer) -> Operation:
        """The operation of a request. Raises GraphQLError with the code that tells the client what to do."""
        digest = _digest_of(asked.extensions)
        if asked.document_id is not None:
            return self._document(asked.document_id, asked.query)
        if digest is not None and digest in self.trusted:
            return self._document(digest, asked.query)
        if asked.query is None:
            text = None if digest is None else await self.store.get(digest)
            if text is None:
                # Clients compare this message, letter by letter.
                raise request_error("PersistedQueryNotFound", NOT_FOUND)
        else:
            text = asked.query
            if digest is not None and _sha256(text) != digest:
                raise request_error("provided sha does not match query", "BAD_REQUEST")
        if self.only_trusted and not viewer.may(Permission.SEND_OPERATIONS) and text not in self.trusted.values():
            raise request_error(
                "only trusted documents are answered here: send the `documentId` of one of them",
                "OPERATION_NOT_TRUSTED",
            )
        is_new = asked.query is not None and digest is not None and len(text) <= KEPT_TEXT
        return Operation(text, digest if is_new else None, self.names.get(text))

    async def register(self, operation: Operation) -> None:
        """Keep an operation that was valid and within the limits, if its client wants to name it from now on."""
        if operation.digest is not None:
            await self.store.put(operation.digest, operation.text)

    def _document(self, name: str, query: str | None) -> Operation:
        text = self.trusted.get(name.removeprefix(_HASHED))
        if text is None:
            raise request_error(f"documentId: there is no trusted document {name[:100]!r} here", "UNKNOWN_DOCUMENT")
        if query is not None and query != text:
            raise request_error("documentId: the `query` beside it is another one; send one of them", "BAD_REQUEST")
        return Operation(text, name=self.names.get(text))


def _operation_name(text: str) -> str | None:
    """Of the first operation in a valid document."""
    operations = (one for one in parse(text).definitions if isinstance(one, OperationDefinitionNode))
    found = next(operations, None)
    return found.name.value if found is not None and found.name is not None else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(extensions: Mapping[str, Any] | None) -> str | None:
    """The hash that Apollo's protocol names an operation by; None when the request does not use it."""
    given = (extensions or {}).get("persistedQuery")
    if given is None:
        return None
    digest = given.get("sha256Hash") if isinstance(given, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or given.get("version") != 1:
        raise request_error(
            "extensions.persistedQuery must be {version: 1, sha256Hash: …} with 64 lower-case hexadecimal digits",
            "BAD_REQUEST",
        )
    return digest


def trusted_documents(manifest: bytes, schema: GraphQLSchema, name: str) -> dict[str, str]:
    """Texts by name out of a manifest: of graphql-codegen or Relay, `{name: text}`, or of Apollo, `{operations: […]}`.

    name: of the file, for the error. Raises BadInputError for what is no manifest, and for a document that the schema
    would refuse: better at start-up than from the first user.
    """
    try:
        given = json.loads(manifest)
        if isinstance(given, dict) and "operations" in given:
            given = {entry["id"]: entry["body"] for entry in given["operations"]}
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(f"{name} is no manifest of documents: {error!r}") from error
    if not isinstance(given, dict) or not given or not all(isinstance(text, str) for text in given.values()):
        raise BadInputError(f"{name} is no manifest of documents: expected an object of names and texts")
    for document, text in given.items():
        try:
            errors = validate(schema, parse(text))
        except GraphQLError as error:
            errors = [error]
        if errors:
            raise BadInputError(f"{name}: document {document!r} does not fit the schema: {errors[0].message}")
    return {document.removeprefix(_HASHED): text for document, text in given.items()}
