"""Which indices a catalogue has, and the little state beside its documents: counters and the tombstones' key."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from elasticsearch import ApiError, ConflictError, NotFoundError

from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import Cluster, entry_of
from gateway.adapters.elasticsearch.connection import PART, IndexMovedError
from recommender.documents import Kind
from recommender.errors import TandemError, UnavailableError

MAJOR = 9
FORMAT = "format"  # the id of the document that says how the catalogue is kept
TRIES = 100  # of a compare-and-set: each failure means that another writer succeeded


class NoIndicesError(TandemError):
    """Nobody has written to this catalogue yet."""


class Layout:
    """Names of one namespace's indices. The dot keeps them apart from those of any other: no namespace holds one."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self.state = f"{namespace}.catalogue"
        self.vectors = f"{namespace}.vectors"  # begins the name of every index of a model's rows
        self.alias = {Kind.TALENT: f"{namespace}.talents", Kind.JOB: f"{namespace}.jobs"}
        self._index: dict[Kind, str] = {}
        self._key = b""
        self._spare: dict[Kind, list[int]] = {kind: [] for kind in Kind}

    async def open(self, *, create: bool) -> None:
        """Check that the cluster and what is in it can be used, and make what is missing.

        create: False raises NoIndicesError instead of making anything.
        """
        await self._check_version()
        if not await self._has(self.state):
            for alias in self.alias.values():
                # Ours come after the state, which another process may have made by now.
                if await self._has(alias) and not await self._has(self.state):
                    raise self._foreign(alias)
            if not create:
                raise NoIndicesError(f"there is no catalogue in Elasticsearch yet ({self.state})")
            await self._create()
        await self._check_mapping(self.state, "state")
        format_ = await self.state_of(FORMAT)
        if format_ is None:
            raise self._foreign(self.state)
        self._key = base64.b64decode(format_[0]["key"])
        for kind in Kind:
            if create and not await self._has(self.alias[kind]):
                await self._create_index(f"{self.alias[kind]}.000001", self.alias[kind])
            await self._check_mapping(await self.index(kind), kind.value)

    async def _check_version(self) -> None:
        info = await self._cluster.connection.ask(lambda client: client.info(), is_request=False)
        number = info["version"]["number"]
        if int(number.partition(".")[0]) != MAJOR:
            place = self._cluster.connection.address.text
            raise UnavailableError(
                PART, f"Elasticsearch at {place} is version {number}; Tandem needs {MAJOR}, so name a cluster of that"
            )

    async def _has(self, name: str) -> bool:
        return bool(
            await self._cluster.connection.ask(lambda client: client.indices.exists(index=name), is_request=False)
        )

    async def _create(self) -> None:
        templates = {self.state: bodies.state_template(self.state)}
        templates |= {alias: bodies.template(kind, alias) for kind, alias in self.alias.items()}
        for name, body in templates.items():
            await self._put_template(name, body)
        await self._create_index(self.state, None)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        await self.put_state(FORMAT, {"schema": bodies.SCHEMA, "key": key}, None)

    async def _put_template(self, name: str, body: Mapping[str, Any]) -> None:
        await self._cluster.connection.ask(
            lambda client: client.indices.put_index_template(name=name, body=dict(body)), is_request=False
        )

    async def _create_index(self, name: str, alias: str | None) -> None:
        """Make an index unless another process has just done so."""

        async def create(client: Any) -> None:
            try:
                await client.indices.create(index=name, aliases={alias: {}} if alias else None)
            except ApiError as error:
                if error.error != "resource_already_exists_exception":
                    raise

        await self._cluster.connection.ask(create, is_request=False)

    async def create_next(self, kind: Kind) -> str:
        """An empty index, behind no alias yet, with a number that none has."""
        alias = self.alias[kind]
        names = await self.indices(kind)
        number = 1 + max(int(name.rpartition(".")[2]) for name in names)
        await self._put_template(alias, bodies.template(kind, alias))
        name = f"{alias}.{number:06d}"
        await self._cluster.connection.ask(lambda client: client.indices.create(index=name), is_request=False)
        return name

    async def remove_unused(self, kind: Kind, index: str, *, kept: str) -> None:
        """Delete an index unless it has taken the place of `kept`: then this raises IndexMovedError.

        Both is one step of the cluster: it fails as a whole when `kept` is gone.
        """
        await self._change_aliases(
            [{"add": {"index": kept, "alias": self.alias[kind]}}, {"remove_index": {"index": index}}]
        )

    async def switch(self, kind: Kind, old: str, new: str) -> None:
        """Let a new index take the place of the one in use, which is deleted: one step, or IndexMovedError."""
        await self._change_aliases(
            [{"add": {"index": new, "alias": self.alias[kind]}}, {"remove_index": {"index": old}}]
        )
        self.forget(kind)

    async def _change_aliases(self, actions: list[dict[str, Any]]) -> None:
        await self._cluster.connection.ask(
            lambda client: client.indices.update_aliases(actions=actions), is_request=False
        )

    async def indices(self, kind: Kind) -> list[str]:
        """Every index of a kind, the one in use and what a rebuild left or makes."""
        found = await self._cluster.connection.ask(
            lambda client: client.indices.get(index=f"{self.alias[kind]}.*", filter_path="*.aliases"), is_request=False
        )
        return sorted(name for name in found if name.rpartition(".")[2].isdecimal())

    async def index(self, kind: Kind) -> str:
        """The index in use. Asked once; see `forget`."""
        known = self._index.get(kind)
        if known is None:
            alias = self.alias[kind]
            try:
                found = await self._cluster.connection.ask(
                    lambda client: client.indices.get_mapping(index=alias), is_request=False
                )
            except IndexMovedError:
                raise NoIndicesError(f"there is no catalogue in Elasticsearch yet ({alias})") from None
            names = list(found)
            if len(names) != 1 or not names[0].startswith(f"{alias}.") or not names[0][len(alias) + 1 :].isdecimal():
                raise self._foreign(alias)
            known = self._index[kind] = names[0]
        return known

    def forget(self, kind: Kind) -> None:
        """The index has moved: ask again."""
        self._index.pop(kind, None)

    async def _check_mapping(self, index: str, kind: str) -> None:
        found = await self._cluster.connection.ask(
            lambda client: client.indices.get_mapping(index=index), is_request=False
        )
        said = found[index]["mappings"].get("_meta", {}).get("tandem", {}) if index in found else {}
        if said.get("kind") != kind:
            raise self._foreign(index)
        if said.get("schema") != bodies.SCHEMA:
            raise UnavailableError(
                PART,
                f"index {index} has schema {said.get('schema')}, and this Tandem needs {bodies.SCHEMA}; "
                "use the Tandem that wrote it, or import into another TANDEM_NAMESPACE",
            )
        if kind != "state":
            self._check_fields(index, found[index]["mappings"].get("properties", {}), bodies.mappings(Kind(kind)))

    def _check_fields(self, index: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """A mapping that was made by hand, or by another template, would find other documents or none."""
        for name, field in wanted["properties"].items():
            is_, needs = (each.get("type", "object") for each in (found.get(name, {"type": "missing"}), field))
            if is_ != needs:
                raise UnavailableError(
                    PART,
                    f"field {name} of index {index} in Elasticsearch is {is_}, and Tandem needs {needs}: it was not "
                    "made by Tandem's template; delete the index and import again, or set another TANDEM_NAMESPACE",
                )

    async def write_problem(self) -> str | None:
        """Why the cluster takes no writes, as one line that says what to do; None when it takes them."""
        found = await self._cluster.connection.ask(
            lambda client: client.indices.get_settings(
                index=[self.state, *self.alias.values()], name="index.blocks.read_only_allow_delete"
            ),
            is_request=False,
        )
        if not found:
            return None
        place = self._cluster.connection.address.text
        return (
            f"Elasticsearch at {place} takes no writes to {', '.join(sorted(found))}: its disk is full; free some "
            "space there (below the flood-stage watermark it lifts the block by itself)"
        )

    def _foreign(self, name: str) -> UnavailableError:
        return UnavailableError(
            PART, f"{name} in Elasticsearch is not Tandem's; set TANDEM_NAMESPACE to a name that nobody else uses"
        )

    async def state_of(self, name: str) -> tuple[dict[str, Any], int, int] | None:
        """A document of the state index, and its place in the order of writes; None when there is none."""

        async def get(client: Any) -> tuple[dict[str, Any], int, int] | None:
            try:
                return entry_of(await client.get(index=self.state, id=name))
            except NotFoundError as error:
                if "found" in error.body:  # the document is missing, not its index
                    return None
                raise

        return await self._cluster.connection.ask(get, is_request=False)

    async def put_state(
        self, name: str, body: Mapping[str, Any], place: tuple[int, int] | None
    ) -> tuple[int, int] | None:
        """Write if nobody has since it was read at `place` (None: if it does not exist); its place now, else None."""
        condition: dict[str, Any] = {"op_type": "create"}
        if place is not None:
            condition = {"if_seq_no": place[0], "if_primary_term": place[1]}

        async def put(client: Any) -> tuple[int, int] | None:
            try:
                answer = await client.index(index=self.state, id=name, document=body, **condition)
            except ConflictError:
                return None
            return answer["_seq_no"], answer["_primary_term"]

        return await self._cluster.connection.ask(put, is_request=False)

    def mark(self, kind: Kind, document_id: str) -> str:
        """By what the index knows an id: it fits any id, and without the key says nothing about it."""
        return hmac.digest(self._key, f"{kind.value}\0{document_id}".encode(), hashlib.sha256).hex()

    async def ordinals(self, kind: Kind, count: int) -> list[int]:
        """Ordinals that nobody else has or will have, ascending; first those that were given back."""
        spare = self._spare[kind]
        taken = [spare.pop(0) for _ in range(min(count, len(spare)))]
        if len(taken) < count:
            taken += await self._reserve(kind, count - len(taken))
        return taken

    def give_back(self, kind: Kind, ordinals: list[int]) -> None:
        """Ordinals that were not used, because another writer created the document first."""
        self._spare[kind] = sorted(self._spare[kind] + ordinals)

    async def _reserve(self, kind: Kind, count: int) -> list[int]:
        name = f"ordinals-{kind.value}"
        for attempt in range(TRIES):
            found = await self.state_of(name)
            last = 0 if found is None else found[0]["last"]
            place = None if found is None else found[1:]
            if await self.put_state(name, {"last": last + count}, place):
                return list(range(last + 1, last + count + 1))
            await asyncio.sleep(0.001 * secrets.randbelow(1 + min(attempt, 20)))
        raise UnavailableError(PART, "too many writers ask for ordinals at once")
