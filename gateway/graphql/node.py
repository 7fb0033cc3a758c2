"""What everything with a Relay id has in common, and paging's two shared parts."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Anything that `node(id:)` can fetch again, e.g. a talent.")
class Node:
    """Relay's interface; the id's codec is in ids.py."""

    id: strawberry.ID = strawberry.field(
        description='Relay id: opaque, global, stable, e.g. `"VHQtNDdNKT8"`. Not the marketplace\'s own.'
    )


@strawberry.type(description="Where a page stands in its list, e.g. `{ hasNextPage: true, endCursor: … }`.")
class PageInfo:
    """Relay's page info."""

    has_next_page: bool = strawberry.field(description="Whether more comes after this page, e.g. `true`.")
    has_previous_page: bool = strawberry.field(description="Whether something came before, e.g. `false` on page one.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first edge, e.g. null on an empty page.")
    end_cursor: str | None = strawberry.field(description="Pass it as `after` for the next page, e.g. `after: $end`.")
