"""Who asks, and what each role may do: one table."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.graphql.errors import ForbiddenError


class Permission(enum.Enum):
    """What a viewer may be allowed to do."""

    READ = "read"
    WRITE_EVENTS = "record events"
    WRITE_CATALOGUE = "change or delete talents and jobs"
    SEND_OPERATIONS = "send operations that nobody trusted before"


PERMISSIONS: dict[str, frozenset[Permission]] = {
    "engineer": frozenset({Permission.READ, Permission.WRITE_EVENTS, Permission.SEND_OPERATIONS}),
    "service": frozenset({Permission.READ, Permission.WRITE_EVENTS, Permission.WRITE_CATALOGUE}),
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. subject: the talent or client they are; None for an engineer or a service."""

    roles: tuple[str, ...]
    subject: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether one of the roles grants it."""
        return any(permission in PERMISSIONS.get(role, ()) for role in self.roles)

    def require(self, permission: Permission) -> None:
        """Raises ForbiddenError unless one of the roles grants it."""
        if not self.may(permission):
            raise ForbiddenError(
                f"the role {' and '.join(self.roles) or 'none'} may not {permission.value}: start the server with "
                "TANDEM_AUTH=token and TANDEM_SERVICE_TOKEN, and send that token as `Authorization: Bearer …`"
            )


NOBODY = Viewer(())  # before it is known who asks
ENGINEER = Viewer(("engineer",))
SERVICE = Viewer(("service",))
