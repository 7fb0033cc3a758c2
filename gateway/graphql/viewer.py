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


PERMISSIONS: dict[str, frozenset[Permission]] = {
    "engineer": frozenset({Permission.READ, Permission.WRITE_EVENTS}),
    "service": frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. subject: the talent or client they are; None for an engineer or a service."""

    roles: tuple[str, ...]
    subject: str | None = None

    def require(self, permission: Permission) -> None:
        """Raises ForbiddenError unless one of the roles grants it."""
        if not any(permission in PERMISSIONS.get(role, ()) for role in self.roles):
            raise ForbiddenError(
                f"the role {' and '.join(self.roles) or 'none'} may not {permission.value}: start the server with "
                "TANDEM_AUTH=token and TANDEM_SERVICE_TOKEN, and send that token as `Authorization: Bearer …`"
            )


ENGINEER = Viewer(("engineer",))
SERVICE = Viewer(("service",))
