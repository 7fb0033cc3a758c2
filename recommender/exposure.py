"""A floor of exposure: of every twenty rows so many are new jobs, as long as there are any."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

BLOCK: Final = 20  # rows, counted from the first: a page of the default size


@dataclass(frozen=True, slots=True)
class Floor:
    """share: of the rows, in (0, 1]. days: a job posted within so many is new."""

    share: float
    days: int

    @property
    def of_block(self) -> int:
        """New rows of every block."""
        return ceil(round(self.share * BLOCK, 9))  # 0.15 · 20 is 3.0000000000000004


def give_new_their_share(is_new: Sequence[bool], of_block: int, held: Collection[int] = ()) -> list[int]:
    """An order of the places 0 … n−1 with at least `of_block` new items in every twenty rows, best new ones first.

    held: rows that stay as they are; new ones among them count. The k-th new one of a block of f free rows comes by
    its row ⌈k·f/q⌉: no sooner than it must, and earlier only where it would have stood anyway. Where nothing new is
    left, where a block has more held rows than leave room, and in what is left of a last block (which gets its part,
    rounded down) there are fewer.
    """
    stay = set(held)
    free = [row for row in range(len(is_new)) if row not in stay]
    new, rest = deque(row for row in free if is_new[row]), deque(row for row in free if not is_new[row])
    order = list(range(len(is_new)))
    for start in range(0, len(is_new), BLOCK):
        block = range(start, min(start + BLOCK, len(is_new)))
        open_rows = [row for row in block if row not in stay]
        room = BLOCK - (len(block) - len(open_rows))
        wanted = min(max(0, of_block - sum(is_new[row] for row in block if row in stay)), room)
        given = 0
        for nth, row in enumerate(open_rows, 1):
            is_due = given < wanted * nth // room
            takes_new = bool(new) and (is_due or not rest or new[0] < rest[0])
            order[row] = (new if takes_new else rest).popleft()
            given += takes_new
    return order
