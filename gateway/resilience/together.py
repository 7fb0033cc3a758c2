"""One question for all who ask at the same time."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from recommender.degradation import CURRENT

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Question(Generic[Key, Answer]):
    """What is asked next. context: of who asked first, whose trace shows it. is_begun: whether its turn is the next."""

    answered: asyncio.Future[Mapping[Key, Answer]]
    context: contextvars.Context
    keys: dict[Key, None] = field(default_factory=dict)
    is_begun: bool = False


class Together(Generic[Key, Answer]):
    """Gathers what is asked while a question is under way into the next one. Used on one event loop.

    So no answer is of a time before it was asked for, and who comes in a crowd costs next to nothing: waking the thread
    of a server's connections and reading its answer is once for all. One who leaves takes nothing from the others.
    ask: answers each of some distinct keys. at_once: how many questions may be under way.
    """

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]], *, at_once: int = 1) -> None:
        self._ask = ask
        self._free = at_once
        self._next: _Question[Key, Answer] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, keys: Iterable[Key]) -> list[Answer]:
        """The answer of each key."""
        question = self._next
        if question is None:
            answered = asyncio.get_running_loop().create_future()
            question = self._next = _Question(answered, contextvars.copy_context())
            self._begin()
        wanted = list(keys)
        question.keys.update(dict.fromkeys(wanted))
        current, begun_s = CURRENT.get(), time.monotonic()
        waited_s = 0.0 if current is None else current.waited_s
        answers = await asyncio.shield(question.answered)
        if current is not None:  # whoever asked first
            current.waited_s = max(current.waited_s, waited_s + time.monotonic() - begun_s)
        return [answers[key] for key in wanted]

    def _begin(self) -> None:
        """Ask what is next in the loop's next turn, by when others of this one have joined; unless it has to wait."""
        question = self._next
        if self._free and question is not None and not question.is_begun:
            self._free -= 1
            question.is_begun = True
            task = asyncio.create_task(self._ask_it(question), context=question.context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask_it(self, question: _Question[Key, Answer]) -> None:
        self._next = None
        try:
            answers = await self._ask(list(question.keys))
        except BaseException as error:
            question.answered.set_exception(error) if isinstance(error, Exception) else question.answered.cancel()
            question.answered.cancelled() or question.answered.exception()  # who asked may have left
            if not isinstance(error, Exception):
                raise
        else:
            question.answered.set_result(answers)
        finally:
            self._free += 1
            self._begin()
