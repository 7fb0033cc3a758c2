"""Who asks, and what each role may do: one table. Which fields a role reaches is in access.py."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from gateway.graphql.errors import ForbiddenError, UnauthenticatedError


class Permission(enum.Enum):
    """What a viewer may be allowed to do."""

    READ = "read"
    WRITE_EVENTS = "record events"
    WRITE_CATALOGUE = "change talents and jobs"
    DELETE = "delete or erase talents and jobs"
    SEND_OPERATIONS = "send operations that nobody trusted before"
    OBSERVE = "read the metrics"


_OWN = frozenset({Permission.READ, Permission.WRITE_EVENTS})
_STAFF = _OWN | {Permission.OBSERVE}
PERMISSIONS: Final[dict[str, frozenset[Permission]]] = {
    "talent": _OWN,
    "client": _OWN,
    "service": _STAFF | {Permission.WRITE_CATALOGUE, Permission.DELETE},
    "engineer": _STAFF | {Permission.SEND_OPERATIONS},
    "admin": frozenset(Permission),
}
ROLES: Final = tuple(PERMISSIONS)
_SERVICE_MAY: Final = (
    "the role service or admin may: `tandem token --role service` prints its token; the "
    "server takes it with TANDEM_AUTH=token and TANDEM_SERVICE_TOKEN, or one of a provider with TANDEM_AUTH=jwt"
)
_WHAT_OPENS_IT: Final = {Permission.WRITE_CATALOGUE: _SERVICE_MAY, Permission.DELETE: _SERVICE_MAY}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. Made once per token, and looked at all over a request.

    subject: the talent or client they are; of the others, whoever the token was made for. until_ms: when the token
    ends, in epoch milliseconds; None for never.
    """

    roles: tuple[str, ...]
    subject: str | None = None
    until_ms: int | None = None
    permissions: frozenset[Permission] = field(init=False)
    may_all: bool = field(init=False)  # sees whatever there is, so that nothing has to be looked at twice
    talent_id: str | None = field(init=False)  # whom a talent's token speaks for
    client_id: str | None = field(init=False)

    def __post_init__(self) -> None:
        none: frozenset[Permission] = frozenset()
        object.__setattr__(self, "permissions", none.union(*(PERMISSIONS.get(role, none) for role in self.roles)))
        object.__setattr__(self, "may_all", Permission.OBSERVE in self.permissions)
        object.__setattr__(self, "talent_id", self.subject if "talent" in self.roles else None)
        object.__setattr__(self, "client_id", self.subject if "client" in self.roles else None)

    def may(self, permission: Permission) -> bool:
        """Whether one of the roles grants it."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raises ForbiddenError unless one of the roles grants it."""
        if not self.may(permission):
            opens = _WHAT_OPENS_IT.get(permission, "ask for a token of another role")
            raise ForbiddenError(f"{self.named} may not {permission.value}; {opens}")

    def check_time(self, now_ms: int) -> None:
        """Raises UnauthenticatedError when the token has ended, which one of a stream may while it is open."""
        if self.until_ms is not None and now_ms >= self.until_ms:
            raise UnauthenticatedError("the token has expired: connect again with a new one")

    @property
    def named(self) -> str:
        """The roles, for a sentence."""
        return f"the role {' and '.join(self.roles) or 'none'}"


NOBODY: Final = Viewer(())  # before it is known who asks
ENGINEER: Final = Viewer(("engineer",))
SERVICE: Final = Viewer(("service",))
