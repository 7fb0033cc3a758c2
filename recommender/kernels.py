"""The loops that a list spends its time in, as machine code.

What they are for, and why what they find is exact, is said where they are called: coarse, scoring, retrieval.
"""

# What numba compiles it gives types to itself, and the first argument of an intrinsic is the compiler.
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="call-arg, attr-defined, var-annotated"

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numba.extending import intrinsic

from recommender.compiled import compiled

CHUNK: Final = 512  # rows whose sums stay in the first-level cache while terms are added to them
WIDEST: Final = 128  # columns that are summed together; NumPy sums more of them in halves
FEWEST_KEPT: Final = 1024  # places for nominees before they are thinned for the first time
AHEAD: Final = 16  # rows that are fetched before their turn: no processor foresees a filter
HALVES: Final = 48  # at most: of the way between the least and the largest value
GROUP: Final = 16  # lists whose scores are looked at together
FOUR: Final = 4  # rows whose products are summed side by side
LINE: Final = 64  # bytes of a cache line
FLOAT64_SLACK: Final = 2.0**-46  # of each part of a sum: swallows what float64 loses in any order of summing them
FLOAT64_UNIT: Final = 2.0**-53
SIGN: Final = np.uint64(1 << 63)
LONGEST_SUM: Final = 2**31 - 1  # of products in int32

# Where the arrays of a dense term lie: loops take as many of them as there are, and are compiled once. See tables.
TABLE: Final = np.dtype(
    [
        *((name, np.int64) for name in ("row_of", "known", "factors", "rows", "width", "codes", "scales", "scale")),
        *((name, np.float64) for name in ("spread", "reach", "floor")),
    ]
)


def _address(context, builder, of, array, *places):
    """Where an element of an array lies, by its place on each axis."""
    given = context.make_array(of)(context, builder, array)
    found = builder.ptrtoint(given.data, ir.IntType(64))
    for stride, place in zip(cgutils.unpack_tuple(builder, given.strides), places, strict=False):
        found = builder.add(found, builder.mul(stride, place))
    return found


def _wide(context, builder, signature, arguments):
    """Those of the arguments that are numbers, as 64 bits."""
    return [
        context.cast(builder, value, of, numba.types.int64) if isinstance(of, numba.types.Integer) else value
        for value, of in zip(arguments, signature.args, strict=True)
    ]


def _lanes(builder, address, of, count, alignment):
    """So many numbers that lie side by side."""
    found = builder.load(builder.inttoptr(address, ir.VectorType(of, count).as_pointer()))
    found.align = alignment
    return found


@intrinsic
def _array(_context, address, kind):
    """A pointer to numbers of a kind."""

    def generated(context, builder, signature, arguments):
        (at, _) = _wide(context, builder, signature, arguments)
        return builder.inttoptr(at, context.get_value_type(signature.return_type))

    return numba.types.CPointer(kind.dtype)(address, kind), generated


@intrinsic
def _fetch(_context, array, place, offset):
    """Have a cache line brought in, some bytes behind the begin of a place of the first axis; nobody waits for it."""

    def generated(context, builder, signature, arguments):
        of, at, behind = _wide(context, builder, signature, arguments)
        address = builder.add(_address(context, builder, signature.args[0], of, at), behind)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        )
        builder.call(prefetch, [builder.inttoptr(address, byte), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return numba.types.void(array, place, offset), generated


def _folded(builder, one, other, size):
    """Neighbouring groups of so many lanes, added; of two vectors, those of the one and the other in turn."""
    lanes = one.type.count

    def groups(first):
        places = [
            behind + group + lane
            for group in range(first, lanes, 2 * size)
            for behind in ((0,) if one is other else (0, lanes))
            for lane in range(size)
        ]
        return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

    return builder.add(groups(0), groups(size))


def _totals(builder, sums):
    """The sum of the lanes of each vector, side by side."""
    size = 1
    while len(sums) > 1:
        sums = [_folded(builder, one, other, size) for one, other in zip(sums[::2], sums[1::2], strict=True)]
        size *= 2
    found = sums[0]
    while found.type.count > size:
        found = _folded(builder, found, found, size)
    return found


def _products(lanes):
    """A loop over the codes of FOUR rows at once, so many columns at a time."""

    @intrinsic
    def products(_context, codes, rows, at, query, begin, first, until, dots):
        """Add to the dots of FOUR rows, from a place on, the sums of products of their int8 codes with an int16 query.

        Columns from `first` until another, of whole `lanes`; begin: of the query. A row below 0 is read as 0.
        """
        long, whole, half, byte = (ir.IntType(bits) for bits in (64, 32, 16, 8))

        def generated(context, builder, signature, arguments):
            of, among, place, by, behind, column, end, to = _wide(context, builder, signature, arguments)
            row_at = _address(context, builder, signature.args[1], among, place)
            right = _address(context, builder, signature.args[3], by, behind)
            out = _address(context, builder, signature.args[7], to, place)
            rows_here = _lanes(builder, row_at, whole, FOUR, 4)
            lefts, sums = [], []
            for one in range(FOUR):
                row = builder.extract_element(rows_here, whole(one))
                row = builder.select(builder.icmp_signed("<", row, whole(0)), whole(0), row)
                lefts.append(_address(context, builder, signature.args[0], of, builder.sext(row, long)))
                zero = ir.Constant(ir.VectorType(whole, lanes // 2), [0] * (lanes // 2))
                sums.append(cgutils.alloca_once_value(builder, zero))
                builder.store(zero, sums[-1])  # the place is made once, these rows' sums begin here
            with cgutils.for_range_slice(builder, column, end, long(lanes), intp=long) as (here, _):
                number = _lanes(builder, builder.add(right, builder.mul(here, long(2))), half, lanes, 2)
                number = builder.sext(number, ir.VectorType(whole, lanes))
                for left, total in zip(lefts, sums, strict=True):
                    code = _lanes(builder, builder.add(left, here), byte, lanes, 1)
                    product = builder.mul(builder.sext(code, ir.VectorType(whole, lanes)), number)
                    # Neighbours first: processors have one instruction for both.
                    builder.store(builder.add(builder.load(total), _folded(builder, product, product, 1)), total)
            found = _totals(builder, [builder.load(total) for total in sums])
            kept = builder.store(
                builder.add(_lanes(builder, out, whole, FOUR, 4), found), builder.inttoptr(out, found.type.as_pointer())
            )
            kept.align = 4
            return context.get_dummy_value()

        return numba.types.void(codes, rows, at, query, begin, first, until, dots), generated

    return products


_thirty_twos, _sixteens = _products(32), _products(16)


@intrinsic
def _eights(_context, factors, row, column, vector, begin, count):
    """The sum in float64 of the products of factors of a row, from a column on, with numbers from a place on.

    count: of whole eights. Summed as NumPy does: eight sums side by side, then those in pairs.
    """
    long, single, double = ir.IntType(64), ir.FloatType(), ir.DoubleType()

    def generated(context, builder, signature, arguments):
        of, at, behind, by, first, until = _wide(context, builder, signature, arguments)
        left = _address(context, builder, signature.args[0], of, at, behind)
        right = _address(context, builder, signature.args[3], by, first)
        sums = cgutils.alloca_once_value(builder, ir.Constant(ir.VectorType(double, 8), [0.0] * 8))
        with cgutils.for_range_slice(builder, long(0), until, long(8), intp=long) as (place, _):
            factor = _lanes(builder, builder.add(left, builder.mul(place, long(4))), single, 8, 4)
            number = _lanes(builder, builder.add(right, builder.mul(place, long(8))), double, 8, 8)
            product = builder.fmul(builder.fpext(factor, ir.VectorType(double, 8)), number)
            builder.store(builder.fadd(builder.load(sums), product), sums)
        found = builder.load(sums)
        parts = [builder.extract_element(found, ir.IntType(32)(place)) for place in range(8)]
        while len(parts) > 1:
            parts = [builder.fadd(one, other) for one, other in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return numba.types.float64(factors, row, column, vector, begin, count), generated


@intrinsic
def _reaching(_context, scores, item, group, bars, inverse, added):
    """Which lists of a group an item's float32 scores reach the bars of, `added` besides: a bit for each."""
    long, single = ir.IntType(64), ir.FloatType()

    def generated(context, builder, signature, arguments):
        of, row, at, least, by, more = _wide(context, builder, signature, arguments)
        places = _address(context, builder, signature.args[0], of, row, at)
        bar, inverted = (
            _lanes(builder, _address(context, builder, kind, array, at), single, GROUP, 4)
            for kind, array in ((signature.args[3], least), (signature.args[4], by))
        )
        one = builder.insert_element(ir.Constant(ir.VectorType(single, GROUP), ir.Undefined), more, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), GROUP), [0] * GROUP)
        bar = builder.fsub(bar, builder.fmul(builder.shuffle_vector(one, one, mask), inverted))
        found = builder.fcmp_ordered(">=", _lanes(builder, places, single, GROUP, 4), bar)
        return builder.zext(builder.bitcast(found, ir.IntType(GROUP)), long)

    return numba.types.int64(scores, item, group, bars, inverse, added), generated


@intrinsic
def _lowest(_context, bits):
    """Place of the lowest bit that is set."""

    def generated(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return numba.types.int64(bits), generated


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
def _length(vector):
    """Its Euclidean length; squares of what is very small or large are lost."""
    largest, total = 0.0, 0.0
    for number in vector:
        largest = max(largest, abs(number))
    if largest > 0.0:
        for number in vector:
            total += (number / largest) * (number / largest)
    return largest * np.sqrt(total)


@compiled()
def quantise_query(vector, spread, reach, floor, codes):
    """Fill codes (width,) int16; their step, and by what times a row's scale, and what besides, a product is off.

    See coarse.coarse_query.
    """
    width = len(vector)
    if width == 0:
        return 0.0, 0.0, 0.0
    top = min(32767, LONGEST_SUM // (127 * width))  # so that no sum of products overflows
    largest = 0.0
    for number in vector:
        largest = max(largest, abs(number))
    step = largest / top
    if step < 1e-290:  # nothing, or next to nothing
        step = 0.0
    left = np.empty(width)
    for j in range(width):
        codes[j] = np.int16(np.rint(vector[j] / step)) if step > 0.0 else np.int16(0)
        left[j] = vector[j] - step * codes[j]
    length = _length(vector)
    lost = _length(left) + FLOAT64_UNIT * width * largest
    off = spread * length + (reach + spread) * lost
    off += 2 * width * FLOAT64_UNIT * reach * length
    return step, off * (1 + 1e-9), floor * length * (1 + 1e-9)


@compiled()
def _rows(table, ordinals, start, stop, rows):
    """Row of each ordinal from start to stop, -1 without one and behind them."""
    known = table["known"]
    row_of = numba.carray(_array(table["row_of"], np.int32), (known,))
    for i in range(stop - start):
        ordinal = ordinals[start + i]
        rows[i] = row_of[ordinal] if ordinal < known else -1
    rows[stop - start :] = -1


@compiled()
def _coarse_products(table, rows, count, query, begin, dots):
    """Fill the sum of products of each row's codes with the query from a place on; of anything where there is no row.

    rows go on to the next FOUR.
    """
    width = table["width"]
    codes = numba.carray(_array(table["codes"], np.int8), (table["rows"], width))
    most, whole = width - width % 32, width - width % 16
    dots[:] = 0
    for first in range(0, count, FOUR):
        for i in range(first + AHEAD, min(first + AHEAD + FOUR, count)):
            for line in range(0, width, LINE):
                _fetch(codes, rows[i], line)
        _thirty_twos(codes, rows, first, query, begin, 0, most, dots)
        if whole > most:
            _sixteens(codes, rows, first, query, begin, most, whole, dots)
        for j in range(whole, width):
            for i in range(first, first + FOUR):
                dots[i] += np.int32(codes[max(rows[i], 0), j]) * np.int32(query[begin + j])


@compiled()
def _add_coarse(table, rows, count, dots, step, error, values, errors):
    """Add each row's rough product to its value, and how far off that may be to its error: a loop of its own, since
    processors do several rows of it at once."""
    scales = numba.carray(_array(table["scales"], np.float32), (table["rows"],))
    for i in range(count):
        scale = np.float64(scales[rows[i]]) if rows[i] >= 0 else 0.0
        part = scale * (step * dots[i])
        values[i] += part
        errors[i] += scale * error + abs(part) * FLOAT64_SLACK


@compiled()
def _wide_product(factors, row, vectors, begin):
    """As _add_exact, of more than WIDEST columns: block by block."""
    width, total = factors.shape[1], 0.0
    for first in range(0, width, WIDEST):
        end = min(first + WIDEST, width)
        whole = end - (end - first) % 8
        part = _eights(factors, row, first, vectors, begin + first, whole - first)
        for j in range(whole, end):
            part += np.float64(factors[row, j]) * vectors[begin + j]
        total += part
    return total


@compiled()
def _add_exact(factors, scale, rows, count, vectors, begin, values):
    """Add each row's product with the vector from a place on, in float64, to its value, times its scale if any has one.

    Each is summed by itself, in an order that depends on its width alone.
    """
    width = factors.shape[1]
    whole = width - width % 8
    for i in range(count):
        if i + AHEAD < count:
            ahead = rows[i + AHEAD]
            for line in range(0, 4 * width, LINE):
                _fetch(factors, ahead, line)
            _fetch(factors, ahead, 4 * width - 1)
        row = rows[i]
        if row < 0:
            continue
        if width > WIDEST:
            part = _wide_product(factors, row, vectors, begin)
        else:
            part = _eights(factors, row, 0, vectors, begin, whole)
            for j in range(whole, width):
                part += np.float64(factors[row, j]) * vectors[begin + j]
        if len(scale):
            part *= scale[row]
        values[i] += part


@compiled()
def exact_products(rows, factors, vector, values):
    """Add each row's product with the vector to its value, nothing for row -1."""
    _add_exact(factors, vector[:0], rows, len(rows), vector, 0, values)


@compiled()
def _add_bias(rows, count, bias, values, errors):
    for i in range(count):
        found = bias[rows[i]] if rows[i] >= 0 else 0.0
        values[i] += found
        errors[i] += abs(found) * FLOAT64_SLACK


@compiled()
def _add_sparse(ordinals, start, stop, sparse, added, place, until, values, errors):
    """Both ascend; the place of the first entry that is not before the last ordinal."""
    for i in range(stop - start):
        ordinal = ordinals[start + i]
        while place < until and sparse[place] < ordinal:
            step = 1  # in leaps: there may be many more entries than candidates
            while place + step < until and sparse[place + step] < ordinal:
                place += step
                step *= 2
            place += 1
        if place == until:
            break
        if sparse[place] == ordinal:
            values[i] += added[place]
            errors[i] += abs(added[place]) * FLOAT64_SLACK
    return place


@compiled()
def _add_up(ordinals, start, stop, sums, coarse, places, room, values, errors):
    """Fill the sum of all terms for each ordinal from start to stop, exactly where there are no queries.

    sums: the parts of a score as scoring.sums gives them. coarse: what `_quantised` makes of their vectors.
    """
    tables, vectors, bias, ends, sparse, added = sums
    queries, steps, offs = coarse
    rows, dots = room
    count, exactly = stop - start, len(queries) == 0
    for i in range(count):
        values[i] = 0.0
        errors[i] = 0.0
    begin, known_by = 0, np.int64(-1)
    for t in range(len(tables) - 1):
        table = tables[t]
        if table["rows"] > 0 and (exactly or offs[t] > 0.0):
            if table["row_of"] != known_by:
                _rows(table, ordinals, start, stop, rows)
                known_by = table["row_of"]
            if exactly:
                shape = (table["rows"], table["width"])
                factors = numba.carray(_array(table["factors"], np.float32), shape)
                scale = numba.carray(_array(table["scale"], np.float64), (shape[0] if table["scale"] != 0 else 0,))
                _add_exact(factors, scale, rows, count, vectors, begin, values)
            else:
                _coarse_products(table, rows, count, queries, begin, dots)
                _add_coarse(table, rows, count, dots, steps[t], offs[t], values, errors)
        begin += table["width"]
    for s in range(len(ends)):
        if places[s] < ends[s]:
            places[s] = _add_sparse(ordinals, start, stop, sparse, added, places[s], ends[s], values, errors)
    for b in range(len(bias)):
        if tables[-1]["row_of"] != known_by:
            _rows(tables[-1], ordinals, start, stop, rows)
            known_by = tables[-1]["row_of"]
        _add_bias(rows, count, bias[b], values, errors)


@compiled()
def _quantised(tables, vectors):
    """Codes of the vectors, side by side, and the step and error of each table's; what every error is increased by."""
    count, begin, floor = len(tables) - 1, 0, 0.0
    queries, steps, offs = np.empty(max(len(vectors), 1), np.int16), np.empty(count), np.empty(count)
    for t in range(count):
        table = tables[t]
        width = table["width"]
        some = slice(begin, begin + width)
        steps[t], offs[t], least = quantise_query(
            vectors[some], table["spread"], table["reach"], table["floor"], queries[some]
        )
        floor += least
        begin += width
    return (queries, steps, offs), floor


@compiled()
def _room():
    """For the rows of a chunk, and the sums of products of their codes."""
    return np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)


@compiled()
def _first_places(ends):
    """Where the entries of each sparse term begin, as they lie one behind the other."""
    places = np.empty(len(ends), np.int64)
    for s in range(len(ends)):
        places[s] = ends[s - 1] if s > 0 else 0
    return places


@compiled()
def rough_scores(ordinals, sums, values, errors):
    """Fill the rough score of every candidate, and how far off each may be."""
    coarse, floor = _quantised(sums[0], sums[1])
    room, places = _room(), _first_places(sums[3])
    for start in range(0, len(ordinals), CHUNK):
        stop = min(start + CHUNK, len(ordinals))
        _add_up(ordinals, start, stop, sums, coarse, places, room, values[start:stop], errors[start:stop])
        for i in range(start, stop):
            errors[i] += floor


@compiled()
def exact_scores(ordinals, sums):
    """The score of every candidate, to the last bit that of scoring.score."""
    nothing = np.empty(0, np.int16), np.empty(0), np.empty(0)
    room, places = _room(), _first_places(sums[3])
    values, errors = np.empty(len(ordinals)), np.empty(CHUNK)
    for start in range(0, len(ordinals), CHUNK):
        stop = min(start + CHUNK, len(ordinals))
        _add_up(ordinals, start, stop, sums, nothing, places, room, values[start:stop], errors)
    return values


@compiled()
def nominate(ordinals, sums, k, after):
    """Ascending, the candidates that may be among the best k behind a score of `after`.

    See retrieval.best for the argument.
    """
    coarse, floor = _quantised(sums[0], sums[1])
    room, sparse_places = _room(), _first_places(sums[3])
    values, errors = np.empty(CHUNK), np.empty(CHUNK)
    size, most = 0, max(FEWEST_KEPT, 4 * k) + CHUNK
    places, highs, lows = np.empty(most, np.int64), np.empty(most), np.empty(most)
    least = -np.inf
    for start in range(0, len(ordinals), CHUNK):
        stop = min(start + CHUNK, len(ordinals))
        _add_up(ordinals, start, stop, sums, coarse, sparse_places, room, values, errors)
        if size + CHUNK > most:
            least = max(least, _bar(lows[:size], k))
            size = _thin(places, highs, lows, size, least)
            if 2 * size > most - CHUNK:  # ties crowd in
                most = 2 * most
                places, highs, lows = _grown(places, size, most), _grown(highs, size, most), _grown(lows, size, most)
        count = stop - start
        values[count : count + GROUP] = -np.inf
        for first in range(0, count, GROUP):
            reaching = 0
            for i in range(GROUP):
                reaching += values[first + i] + (errors[first + i] + floor) >= least
            if reaching == 0:
                continue
            for i in range(first, min(first + GROUP, count)):
                error = errors[i] + floor
                high, low = values[i] + error, values[i] - error
                places[size], highs[size], lows[size] = start + i, high, low if high < after else -np.inf
                size += (high >= least) & (low <= after)  # what is not kept is overwritten
    least = max(least, _bar(lows[:size], k))
    return ordinals[places[: _thin(places, highs, lows, size, least)]]


@compiled()
def best(ordinals, sums, k, after, few):
    """The best k candidates behind a score of `after`, and some more, ties at both ends among them; their scores, which
    descend; whether the first k have no tie. Up to `few` are all scored."""
    if len(ordinals) > max(few, 3 * k):
        ordinals = nominate(ordinals, sums, k, after)
    scores = exact_scores(ordinals, sums)
    if len(ordinals) <= k and after == np.inf:
        return descending(ordinals, scores, k)
    least = _bar(scores[scores < after] if after < np.inf else scores, k)
    size, chosen, found = 0, np.empty(len(scores), np.uint32), np.empty(len(scores))
    for i in range(len(scores)):
        chosen[size], found[size] = ordinals[i], scores[i]
        size += least <= scores[i] <= after  # what is not kept is overwritten
    return descending(chosen[:size], found[:size], k)


@compiled()
def descending(ordinals, scores, k):
    """Both by descending score, and whether that alone says what the first k are."""
    size = len(scores)
    keys, places = np.empty((2, size), np.uint64), np.empty((2, size), np.uint32)
    least, most = ~np.uint64(0), np.uint64(0)
    bits = scores.view(np.uint64)
    for i in range(size):
        # As integers, the larger the score the smaller: the bits of those above 0 but the sign, all of the others.
        key = bits[i] ^ (SIGN - np.uint64(1)) if bits[i] < SIGN else bits[i]
        keys[0, i], places[0, i] = key, i
        least, most = min(least, key), max(most, key)
    digits = 0
    while digits < 64 and (most - least) >> np.uint64(digits) > 0:
        digits += 1
    for first in (max(digits - 16, 0), 0):  # in two rounds as a rule, what those leave is nearly in order
        now = 0
        for shift in range(first, digits, 8):
            _by_digit(keys[now], places[now], keys[1 - now], places[1 - now], least, np.uint64(shift))
            now = 1 - now
        if _inserted(keys[now], places[now]):
            break
        keys[0], places[0] = keys[now], places[now]
    order = places[now]
    ordinals, scores = ordinals[order], scores[order]
    return ordinals, scores, not (scores[1 : k + 1] == scores[:-1][:k]).any()


@compiled()
def _by_digit(keys, places, to_keys, to_places, least, shift):
    """Move keys, and with them their places, into the order of eight bits of what they are above the least."""
    ends = np.zeros(257, np.int64)
    for key in keys:
        ends[(((key - least) >> shift) & np.uint64(255)) + np.uint64(1)] += 1
    for digit in range(256):
        ends[digit + 1] += ends[digit]
    for i in range(len(keys)):
        digit = ((keys[i] - least) >> shift) & np.uint64(255)
        to_keys[ends[digit]], to_places[ends[digit]] = keys[i], places[i]
        ends[digit] += 1


@compiled()
def _inserted(keys, places):
    """Sort by moving each to where it belongs; whether few moves were enough."""
    left = 8 * len(keys)
    for i in range(1, len(keys)):
        key, place, at = keys[i], places[i], i
        while at > 0 and keys[at - 1] > key and left > 0:
            keys[at], places[at] = keys[at - 1], places[at - 1]
            at -= 1
            left -= 1
        keys[at], places[at] = key, place
    return left > 0


@compiled()
def _bar(values, k):
    """What at least k of the values reach, and not many more as a rule; below everything where there are fewer.

    By halves: to count is some thirty times as quick as to move numbers about.
    """
    least, most, finite = np.inf, -np.inf, 0
    for value in values:
        if value > -np.inf:
            finite += 1
            least, most = min(least, value), max(most, value)
    if finite < k:
        return -np.inf
    for _ in range(HALVES):
        middle = least + (most - least) / 2
        if not least < middle < most:
            break
        reaching = 0
        for value in values:
            reaching += value >= middle
        if reaching < k:
            most = middle
            continue
        least = middle
        if reaching <= k + k // 8:
            break
    return least


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
            reaching = _reaching(scores, i, group, bars, inverse, narrow)
            while reaching:
                j = _lowest(reaching)
                reaching &= reaching - 1
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
