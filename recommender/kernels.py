"""The loops that a list spends its time in, as machine code.

What they are for, and why what they find is exact, is said where they are called: coarse, scoring, retrieval.
"""

# What numba compiles it gives types to itself, and the first argument of an intrinsic is the compiler.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from recommender.compiled import compiled

CHUNK: Final = 512  # rows whose sums stay in the first-level cache while terms are added to them
WIDEST: Final = 128  # columns of `exact_products`; NumPy sums more of them in halves
FEWEST_KEPT: Final = 4096  # places for nominees before they are thinned for the first time
AHEAD: Final = 16  # rows that are fetched before their turn: no processor foresees a filter
GROUP: Final = 16  # lists whose scores are looked at together
LINE: Final = 64  # bytes of a cache line
FLOAT64_SLACK: Final = 2.0**-46  # of each part of a sum: swallows what float64 loses in any order of summing them


@intrinsic
def _fetch(_context, array, place, offset):
    """Have a cache line brought in, some bytes behind the begin of a place of the first axis; nobody waits for it."""

    def generated(context, builder, signature, arguments):
        of_array, of_place, of_offset = signature.args
        given = context.make_array(of_array)(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], of_place, numba.types.intp)
        behind = context.cast(builder, arguments[2], of_offset, numba.types.intp)
        begin = builder.add(builder.ptrtoint(given.data, ir.IntType(64)), behind)
        address = builder.add(begin, builder.mul(builder.extract_value(given.strides, 0), at))
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        )
        builder.call(prefetch, [builder.inttoptr(address, byte), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return numba.types.void(array, place, offset), generated


@compiled()
def quantise(factors, codes, scales, least):
    """Fill codes (rows, width) int8 and scales (rows,) float32: row ≈ scale · codes; both 0 for rows below `least`."""
    rows, width = factors.shape
    for i in range(rows):
        largest = 0.0
        for j in range(width):
            largest = max(largest, abs(np.float64(factors[i, j])))
        if not largest >= least:
            scales[i] = 0.0
            for j in range(width):
                codes[i, j] = 0
            continue
        scales[i] = largest / 127.0
        inverse = 1.0 / np.float64(scales[i])
        for j in range(width):
            code = np.rint(np.float64(factors[i, j]) * inverse)
            codes[i, j] = np.int8(min(max(code, -127.0), 127.0))


@compiled()
def measure(factors, codes, scales):
    """The largest ‖row − scale · codes‖ / scale, ‖row‖ / scale, and ‖row‖ of rows whose scale is 0; NaN and infinity
    where a row holds one."""
    rows, width = factors.shape
    spread, reach, floor = 0.0, 0.0, 0.0
    for i in range(rows):
        scale = np.float64(scales[i])
        missed, length = 0.0, 0.0
        for j in range(width):
            value = np.float64(factors[i, j])
            left = value - scale * codes[i, j]
            missed += left * left
            length += value * value
        if not np.isfinite(length) or scale < 0.0 or not np.isfinite(scale):
            return np.nan, np.nan, np.nan
        if scale > 0.0:
            spread = max(spread, np.sqrt(missed) / scale)
            reach = max(reach, np.sqrt(length) / scale)
        else:
            floor = max(floor, np.sqrt(length))
    return spread, reach, floor


@compiled()
def _rows(row_of, ordinals, start, stop, rows):
    """Row of each ordinal from start to stop, -1 without one."""
    known = len(row_of)
    for i in range(stop - start):
        ordinal = ordinals[start + i]
        if start + i + AHEAD < stop:
            _fetch(row_of, ordinals[start + i + AHEAD], 0)  # type: ignore[call-arg]
        rows[i] = row_of[ordinal] if ordinal < known else -1


@compiled()
def _add_products(rows, count, codes, scales, query, step, error, values, errors):
    """Add each row's rough product with the query to its value, and how far off that may be to its error."""
    width = codes.shape[1]
    if width == 0:
        return
    for i in range(count):
        row = rows[i]
        if i + AHEAD < count:
            for line in range(0, width, LINE):
                _fetch(codes, rows[i + AHEAD], line)  # type: ignore[call-arg]
            _fetch(scales, rows[i + AHEAD], 0)  # type: ignore[call-arg]
        if row < 0:
            continue
        dot = np.int32(0)
        for j in range(width):
            dot = np.int32(dot + np.int32(codes[row, j]) * np.int32(query[j]))  # wider sums are not vectorised
        scale = np.float64(scales[row])
        part = scale * (step * dot)
        values[i] += part
        errors[i] += scale * error + abs(part) * FLOAT64_SLACK


@compiled()
def _add_bias(rows, count, bias, values, errors):
    for i in range(count):
        row = rows[i]
        if i + AHEAD < count:
            _fetch(bias, rows[i + AHEAD], 0)  # type: ignore[call-arg]
        if row >= 0:
            values[i] += bias[row]
            errors[i] += abs(bias[row]) * FLOAT64_SLACK


@compiled()
def _add_sparse(ordinals, start, stop, sparse, added, place, values, errors):
    """Both ascend; the place of the first entry that is not before the last ordinal."""
    if place < len(sparse):
        for i in range(stop - start):
            ordinal = ordinals[start + i]
            while place < len(sparse) and sparse[place] < ordinal:
                step = 1  # in leaps: there may be many more entries than candidates
                while place + step < len(sparse) and sparse[place + step] < ordinal:
                    place += step
                    step *= 2
                place += 1
            if place == len(sparse):
                break
            if sparse[place] == ordinal:
                values[i] += added[place]
                errors[i] += abs(added[place]) * FLOAT64_SLACK
    return place


@compiled()
def _add_up(ordinals, start, stop, tables, bias_rows, bias, sparse, added, place, rows, values, errors):
    count = stop - start
    row_ofs, again, codes, scales, queries, steps, coarseness = tables
    for i in range(count):
        values[i] = 0.0
        errors[i] = 0.0
    for t in range(len(codes)):
        if not again[t]:
            _rows(row_ofs[t], ordinals, start, stop, rows)
        _add_products(rows, count, codes[t], scales[t], queries[t], steps[t], coarseness[t], values, errors)
    if len(bias):
        if not again[-1]:
            _rows(bias_rows, ordinals, start, stop, rows)
        _add_bias(rows, count, bias, values, errors)
    return _add_sparse(ordinals, start, stop, sparse, added, place, values, errors)


@compiled()
def rough_scores(ordinals, tables, bias_rows, bias, sparse, added, values, errors):
    """Fill the rough score of every candidate, and how far off each may be."""
    rows = np.empty(CHUNK, np.int32)
    place = 0
    for start in range(0, len(ordinals), CHUNK):
        stop = min(start + CHUNK, len(ordinals))
        place = _add_up(
            ordinals,
            start,
            stop,
            tables,
            bias_rows,
            bias,
            sparse,
            added,
            place,
            rows,
            values[start:stop],
            errors[start:stop],
        )


@compiled()
def nominate(ordinals, tables, bias_rows, bias, sparse, added, floor, k, after):
    """Ascending places of the candidates that may be among the best k behind a score of `after`.

    floor: what each error is increased by. See retrieval.shortlist for the argument.
    """
    rows = np.empty(CHUNK, np.int32)
    values, errors = np.empty(CHUNK), np.empty(CHUNK)
    size, room = 0, max(FEWEST_KEPT, 4 * k) + CHUNK
    places, highs, lows = np.empty(room, np.int64), np.empty(room), np.empty(room)
    least, sparse_place = -np.inf, 0
    for start in range(0, len(ordinals), CHUNK):
        stop = min(start + CHUNK, len(ordinals))
        sparse_place = _add_up(
            ordinals, start, stop, tables, bias_rows, bias, sparse, added, sparse_place, rows, values, errors
        )
        if size + CHUNK > room:
            least = max(least, _kth(lows[:size], k))
            size = _thin(places, highs, lows, size, least)
            if 2 * size > room - CHUNK:  # ties crowd in
                room = 2 * room
                places, highs, lows = _grown(places, size, room), _grown(highs, size, room), _grown(lows, size, room)
        for i in range(stop - start):
            error = errors[i] + floor
            high, low = values[i] + error, values[i] - error
            if high >= least and low <= after:
                places[size] = start + i
                highs[size] = high
                lows[size] = low if high < after else -np.inf
                size += 1
    least = max(least, _kth(lows[:size], k))
    return places[: _thin(places, highs, lows, size, least)].copy()


@compiled()
def exact_products(rows, factors, vector, values):
    """Fill each row's product with the vector in float64, 0 for row -1. At most WIDEST columns.

    Summed as NumPy sums so many: eight sums side by side, then those in pairs, then the rest one by one.
    """
    width = len(vector)
    whole = width - width % 8 if width >= 8 else 0
    for i in range(len(rows)):
        row = rows[i]
        if i + AHEAD < len(rows):
            for line in range(0, 4 * width, LINE):
                _fetch(factors, rows[i + AHEAD], line)  # type: ignore[call-arg]
        total = 0.0
        if row >= 0:
            if whole:
                a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                for j in range(0, whole, 8):
                    a += np.float64(factors[row, j]) * vector[j]
                    b += np.float64(factors[row, j + 1]) * vector[j + 1]
                    c += np.float64(factors[row, j + 2]) * vector[j + 2]
                    d += np.float64(factors[row, j + 3]) * vector[j + 3]
                    e += np.float64(factors[row, j + 4]) * vector[j + 4]
                    f += np.float64(factors[row, j + 5]) * vector[j + 5]
                    g += np.float64(factors[row, j + 6]) * vector[j + 6]
                    h += np.float64(factors[row, j + 7]) * vector[j + 7]
                total = ((a + b) + (c + d)) + ((e + f) + (g + h))
            for j in range(whole, width):
                total += np.float64(factors[row, j]) * vector[j]
        values[i] = total


@compiled()
def _kth(values, k):
    """The k-th largest; below everything where there are fewer."""
    if len(values) < k:
        return -np.inf
    return np.partition(values, len(values) - k)[len(values) - k]


@compiled()
def _thin(places, highs, lows, size, least):
    """Move those that still reach `least` to the front; how many they are."""
    kept = 0
    for i in range(size):
        if highs[i] >= least:
            places[kept], highs[kept], lows[kept] = places[i], highs[i], lows[i]
            kept += 1
    return kept


@compiled()
def _grown(values, size, room):
    grown = np.empty(room, values.dtype)
    grown[:size] = values[:size]
    return grown


@compiled()
def sift(scores, first, bias_rows, bias, lengths, margins, lost, ks, places, values, sizes, least, bars):
    """Add what may be among the best of each list to its nominees, of a tile of rough float32 scores.

    Shape of scores (items, groups, GROUP): lists come in groups; the bars of those that there are not are infinite.

    An item is worth lengths[list] · score + bias, which is off by at most half of the margin. first: place of the first
    item. least: the k-th largest worth so far, less the margin; bars: what a score must reach for that beside a
    bias of 0, in float32 and rounded down. sizes of -1 mark a list whose nominees are too many to be kept.
    """
    count, groups, _ = scores.shape
    inverse = np.zeros((groups, GROUP), np.float32)
    for at in range(len(lengths)):
        inverse[at // GROUP, at % GROUP] = 1.0 / lengths[at]
    for i in range(count):
        added = 0.0
        if len(bias) and bias_rows[i] >= 0:
            added = bias[bias_rows[i]]
        narrow = np.float32(added)
        for group in range(groups):
            reaching = np.int32(0)
            for j in range(GROUP):
                reaching += np.int32(scores[i, group, j] >= bars[group, j] - narrow * inverse[group, j])
            if reaching == 0:
                continue
            for j in range(GROUP):
                if not scores[i, group, j] >= bars[group, j] - narrow * inverse[group, j]:
                    continue
                at = group * GROUP + j
                worth = lengths[at] * np.float64(scores[i, group, j]) + added
                if worth < least[at]:
                    continue
                size = sizes[at]
                places[at, size] = first + i
                values[at, size] = worth
                sizes[at] = size + 1
                if size + 1 == places.shape[1]:
                    bars[group, j] = _raised_bar(at, lengths, margins, lost, ks, places, values, sizes, least)


@compiled()
def _raised_bar(at, lengths, margins, lost, ks, places, values, sizes, least):
    """Thin the nominees of a list; its new bar. One that stays full of ties is given up."""
    size = sizes[at]
    worst = _kth(values[at, :size], ks[at]) - margins[at]
    kept = _thin(places[at], values[at], values[at], size, worst)
    least[at] = worst
    sizes[at] = kept
    if 2 * kept > places.shape[1]:
        sizes[at] = -1
        return np.inf
    return (worst - 1e-6 * abs(worst)) / lengths[at] - lost[at]
