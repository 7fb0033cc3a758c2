"""Columns of text values by ordinal: interned, filterable as bitmaps and countable as codes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.filters import number_of
from recommender.text import fold

Ordinals = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int32]

MISSING = 0  # code of "no value": fresh memory is zero, so columns that few documents use cost next to nothing
FEW = 256  # up to so many changes cached bitmaps are mended one by one; beyond, building them again is cheaper
POSTINGS_KEPT = 2_048  # cached bitmaps of one column; a filter rarely names more distinct values


def bitmap_of(ordinals: Ordinals) -> BitMap:
    """A bitmap of ordinals. Through `array`, which pyroaring takes in one go (ten times faster than iterating)."""
    return BitMap(array("I", ordinals.astype(np.uint32, copy=False).tobytes()))


def ordinals_in(bitmap: BitMap) -> Ordinals:
    """The ordinals of a bitmap, ascending."""
    return np.frombuffer(bitmap.to_array(), dtype=np.uint32)


Scalar = TypeVar("Scalar", bound=np.generic)


def grown(values: npt.NDArray[Scalar], size: int) -> npt.NDArray[Scalar]:
    """The array, or a zero-padded copy at least twice as long, so that index size - 1 is inside."""
    if size <= len(values):
        return values
    larger = np.zeros(max(size, 2 * len(values), 1_024), dtype=values.dtype)
    larger[: len(values)] = values
    return larger


class Vocabulary:
    """Spellings as small integers, and which of them are the same value. Codes are never taken back.

    form: two spellings with the same form are the same value.
    """

    def __init__(self, form: Callable[[str], str]) -> None:
        self._form = form
        self.spellings: list[str] = [""]  # by code; MISSING is no spelling
        self._code: dict[str, int] = {}
        self._value_of: list[int] = [MISSING]  # code of a spelling → code of its value
        self._value: dict[str, int] = {}  # folded → code of the value
        self.codes_of: list[list[int]] = [[]]  # code of a value → codes of its spellings
        self._numbers: list[float] = [np.nan]

    def code(self, spelling: str) -> int:
        """The code of a spelling, given at first sight."""
        found = self._code.get(spelling)
        if found is None:
            found = self._code[spelling] = len(self.spellings)
            self.spellings.append(spelling)
            value = self._value.setdefault(self._form(spelling), len(self.codes_of))
            if value == len(self.codes_of):
                self.codes_of.append([])
            self.codes_of[value].append(found)
            self._value_of.append(value)
            number = number_of(spelling)
            self._numbers.append(np.nan if number is None else number)
        return found

    def value(self, text: str) -> int | None:
        """The code of a value by any of its spellings; None for one that no document ever had."""
        return self._value.get(self._form(text))

    def value_of(self, code: int) -> int:
        """The value that a spelling stands for."""
        return self._value_of[code]

    @property
    def values(self) -> Codes:
        """Code of the value by code of the spelling."""
        return np.array(self._value_of, dtype=np.int32)

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        """The number by code of the spelling, NaN for one that is no number."""
        return np.array(self._numbers)

    @property
    def has_variants(self) -> bool:
        """Whether any value has more than one spelling."""
        return len(self.codes_of) < len(self.spellings)


class _Postings:
    """Bitmaps of the values that filters asked for, kept true while single documents change."""

    def __init__(self) -> None:
        self._by_value: dict[int, BitMap] = {}

    def get(self, value: int) -> BitMap | None:
        return self._by_value.get(value)

    def keep(self, value: int, posting: BitMap) -> BitMap:
        if len(self._by_value) >= POSTINGS_KEPT:
            self._by_value.clear()
        self._by_value[value] = posting
        return posting

    def clear(self) -> None:
        self._by_value.clear()

    def __bool__(self) -> bool:
        return bool(self._by_value)

    def discard(self, value: int, ordinal: int) -> None:
        if (posting := self._by_value.get(value)) is not None:
            posting.discard(ordinal)

    def add(self, value: int, ordinal: int) -> None:
        if (posting := self._by_value.get(value)) is not None:
            posting.add(ordinal)


class Column:
    """One value or none per ordinal. exact: values compare as they are (ids do), not folded."""

    def __init__(self, *, exact: bool = False) -> None:
        self.vocabulary = Vocabulary(str if exact else fold)
        self._codes: Codes = np.zeros(0, dtype=np.int32)
        self._postings = _Postings()

    def put(self, ordinals: Ordinals, spellings: Sequence[str | None]) -> None:
        """Replace the values of these ordinals (each once); None is no value."""
        if not len(ordinals):
            return
        code = self.vocabulary.code
        codes = np.array([MISSING if text is None else code(text) for text in spellings], dtype=np.int32)
        top = int(ordinals.max()) + 1
        if top > len(self._codes):
            if not codes.any():
                inside = ordinals < len(self._codes)
                ordinals, codes = ordinals[inside], codes[inside]
            else:
                self._codes = grown(self._codes, top)
        if self._postings and len(ordinals) <= FEW:
            value_of = self.vocabulary.value_of
            for ordinal, old, new in zip(
                ordinals.tolist(), self._codes[ordinals].tolist(), codes.tolist(), strict=True
            ):
                self._postings.discard(value_of(old), ordinal)
                self._postings.add(value_of(new), ordinal)
        else:
            self._postings.clear()
        self._codes[ordinals] = codes

    def codes(self, ordinals: Ordinals) -> Codes:
        """Codes of spellings, MISSING where there is none."""
        if not len(ordinals) or int(ordinals.max()) < len(self._codes):
            return self._codes[ordinals]
        found = np.zeros(len(ordinals), dtype=np.int32)
        inside = ordinals < len(self._codes)
        found[inside] = self._codes[ordinals[inside]]
        return found

    def has(self, ordinals: Ordinals, text: str) -> npt.NDArray[np.bool_]:
        """Which of these ordinals have the value."""
        is_it = np.zeros(len(self.vocabulary.spellings), dtype=np.bool_)
        value = self.vocabulary.value(text)
        if value is not None:
            is_it[self.vocabulary.codes_of[value]] = True
        return is_it[self.codes(ordinals)]

    def spelling_counts(self) -> npt.NDArray[np.int64]:
        """How many documents use each spelling, by its code."""
        return np.bincount(self._codes, minlength=len(self.vocabulary.spellings))

    def having(self, text: str) -> BitMap:
        """Ordinals whose value is `text`. Belongs to the column: do not change it."""
        value = self.vocabulary.value(text)
        if value is None:
            return BitMap()
        posting = self._postings.get(value)
        if posting is None:
            codes = self.vocabulary.codes_of[value]
            same = self._codes == codes[0] if len(codes) == 1 else np.isin(self._codes, codes)
            posting = self._postings.keep(value, bitmap_of(np.flatnonzero(same).astype(np.uint32)))
        return posting

    def having_any(self, texts: Iterable[str]) -> BitMap:
        """Ordinals whose value is one of the texts; a bitmap of the caller's own."""
        return BitMap.union(BitMap(), *(self.having(text) for text in texts))

    def numbers(self, ordinals: Ordinals) -> npt.NDArray[np.float64]:
        """Values as numbers, NaN where there is none."""
        return self.vocabulary.numbers[self.codes(ordinals)]


class NumberColumn:
    """One number per ordinal, NaN where there is none."""

    def __init__(self) -> None:
        self._numbers: npt.NDArray[np.float64] = np.zeros(0)

    def put(self, ordinals: Ordinals, numbers: Sequence[float]) -> None:
        """Replace the numbers of these ordinals (each once)."""
        if len(ordinals):
            before = len(self._numbers)
            self._numbers = grown(self._numbers, int(ordinals.max()) + 1)
            self._numbers[before:] = np.nan
            self._numbers[ordinals] = numbers

    def numbers(self, ordinals: Ordinals) -> npt.NDArray[np.float64]:
        """The numbers of ordinals that have been put."""
        return self._numbers[ordinals]


class SetColumn:
    """Any number of values per ordinal, each once: runs of codes in one heap that is only appended to."""

    def __init__(self) -> None:
        self.vocabulary = Vocabulary(fold)
        self._heap: Codes = np.zeros(0, dtype=np.int32)
        self._owner: Ordinals = np.zeros(0, dtype=np.uint32)  # whose each place of the heap is; 0: nobody's any more
        self._used = 0
        self._dead = 0
        self._start: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._length: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._postings = _Postings()

    def put(self, ordinals: Ordinals, sets: Sequence[Sequence[str]]) -> None:
        """Replace the values of these ordinals (each once). Of several spellings of a value the first counts."""
        if not len(ordinals):
            return
        runs = [self._codes_of(texts) if texts else [] for texts in sets]
        top = int(ordinals.max()) + 1
        self._start = grown(self._start, top)
        self._length = grown(self._length, top)
        if self._postings and len(ordinals) <= FEW:
            self._mend_postings(ordinals, runs)
        else:
            self._postings.clear()
        self._dead += int(self._length[ordinals].sum())
        self._owner[self._places(ordinals)] = 0
        lengths = np.array([len(run) for run in runs], dtype=np.int32)
        added = int(lengths.sum())
        self._heap = grown(self._heap, self._used + added)
        self._owner = grown(self._owner, self._used + added)
        fresh = slice(self._used, self._used + added)
        self._heap[fresh] = np.array([code for run in runs for code in run], dtype=np.int32)
        self._owner[fresh] = np.repeat(ordinals, lengths)
        self._start[ordinals] = self._used + np.cumsum(lengths) - lengths
        self._length[ordinals] = lengths
        self._used += added
        if self._dead > self._used // 2 and self._dead > FEW:
            self._compact()

    def _codes_of(self, texts: Sequence[str]) -> list[int]:
        code, value_of = self.vocabulary.code, self.vocabulary.value_of
        first: dict[int, int] = {}
        for text in texts:
            spelling = code(text)
            first.setdefault(value_of(spelling), spelling)
        return list(first.values())

    def _mend_postings(self, ordinals: Ordinals, runs: Sequence[Sequence[int]]) -> None:
        value_of = self.vocabulary.value_of
        for ordinal, run in zip(ordinals.tolist(), runs, strict=True):
            start = int(self._start[ordinal])
            for old in self._heap[start : start + int(self._length[ordinal])].tolist():
                self._postings.discard(value_of(old), ordinal)
            for new in run:
                self._postings.add(value_of(new), ordinal)

    def _places(self, ordinals: Ordinals) -> npt.NDArray[np.int64]:
        """Places of the heap that these ordinals own, run after run."""
        lengths = self._length[ordinals].astype(np.int64)
        before = np.cumsum(lengths) - lengths
        return np.repeat(self._start[ordinals] - before, lengths) + np.arange(int(lengths.sum()))

    def _compact(self) -> None:
        live = np.flatnonzero(self._owner[: self._used])
        self._heap, self._owner = self._heap[live].copy(), self._owner[live].copy()
        self._used, self._dead = len(live), 0
        owners = np.flatnonzero(self._length)
        # Every run moved down by the dead places before it, so its new start is the rank of its old one.
        self._start[owners] = np.searchsorted(live, self._start[owners])

    def lengths(self, ordinals: Ordinals) -> npt.NDArray[np.int32]:
        """How many values each ordinal has."""
        if not len(ordinals) or int(ordinals.max()) < len(self._length):
            return self._length[ordinals]
        found = np.zeros(len(ordinals), dtype=np.int32)
        inside = ordinals < len(self._length)
        found[inside] = self._length[ordinals[inside]]
        return found

    def codes(self, ordinals: Ordinals) -> Codes:
        """Codes of spellings of all these ordinals together."""
        return self._heap[self._places(ordinals[ordinals < len(self._length)])]

    def spelling_counts(self) -> npt.NDArray[np.int64]:
        """How many documents use each spelling, by its code."""
        live = self._heap[: self._used][self._owner[: self._used] > 0]
        return np.bincount(live, minlength=len(self.vocabulary.spellings))

    def having(self, text: str) -> BitMap:
        """Ordinals with a value that is `text`. Belongs to the column: do not change it."""
        value = self.vocabulary.value(text)
        if value is None:
            return BitMap()
        posting = self._postings.get(value)
        if posting is None:
            codes = self.vocabulary.codes_of[value]
            heap = self._heap[: self._used]
            same = heap == codes[0] if len(codes) == 1 else np.isin(heap, codes)
            owners = self._owner[: self._used][same]
            posting = bitmap_of(owners)
            posting.discard(0)
            self._postings.keep(value, posting)
        return posting

    def having_any(self, texts: Iterable[str]) -> BitMap:
        """Ordinals with a value that is one of the texts; a bitmap of the caller's own."""
        return BitMap.union(BitMap(), *(self.having(text) for text in texts))
