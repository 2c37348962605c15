"""B-projections of ACE and their derivatives by positions and strain, compiled by numba.

python-ace computes the derivatives of single functions too (`compute_b_grad`), but copies an array of functions x
neighbours x 3 once per neighbour, and has no virial of single functions. Here functions, couplings and radial splines
are python-ace's own; only the sums over neighbours and products are done again, in an order that suits the machine:

* R. Drautz, Phys. Rev. B 99, 014104 (2019), and 102, 024104 (2020) (recursions of the spherical harmonics);
* Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021).

The projections of the neighbours of an atom on a *channel*, phi = R(r) Y_lm(r/|r|), are summed up to the atomic base A;
a function is a sum of products of A with generalised Clebsch-Gordan factors. The derivative of a function is a short
sum over the real and imaginary parts of channels ("rows" below) of (derivative by A) x (gradient of phi), the same
product for all neighbours. Images of one atom are added up before it, and the six components of the virial are six
more columns of it, so they cost next to nothing.

Importing this module imports numba; the functions are compiled at their first use and kept on disk.
"""

# mypy: disable-error-code="no-untyped-def"
# (numba finds the types of what it compiles)
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

#: What the compiler may change: the order of sums and fused products, but NaN stays NaN.
FAST = {'contract', 'reassoc', 'nsz', 'arcp'}
#: Columns after those of the neighbours: the sum of the gradients (3) and the virial xx, yy, zz, yz, xz, xy.
EXTRA = 9


class Plan(NamedTuple):
    """A basis as flat arrays. Functions are numbered element by element, as python-ace orders them.

    A function f has the combinations `combination[f]` to `combination[f + 1]`, each a `factor` times the product of
    `rank[f]` elements of A, whose numbers begin at `term[f]` in `atomic`. Its derivative has the components
    `component[f]` to `component[f + 1]`: the rows `row` of the gradients of neighbours of `species`. The derivative by
    term t is added to components `real[t]` and `imaginary[t]` times `times_real[t]` and `times_imaginary[t]`.
    """

    first: np.ndarray
    rank: np.ndarray
    combination: np.ndarray
    term: np.ndarray
    component: np.ndarray
    factor: np.ndarray
    atomic: np.ndarray
    real: np.ndarray
    imaginary: np.ndarray
    times_real: np.ndarray
    times_imaginary: np.ndarray
    species: np.ndarray
    row: np.ndarray
    channel_radial: np.ndarray
    channel_l: np.ndarray


class Splines(NamedTuple):
    """Radial functions of the pairs of elements: at node `first[pair] + n` and r = n / `scale[pair]` the values
    `nodes[:, 0]` and the derivatives times the step `nodes[:, 1]`; zero from node `last[pair]` on."""

    nodes: np.ndarray
    first: np.ndarray
    last: np.ndarray
    scale: np.ndarray


def make_plan(basis: Any) -> tuple[Plan, Splines]:
    """Return the arrays of a `pyace.ACEBBasisSet`."""
    splines, columns = tabulate(basis)
    lists: dict[str, list[Any]] = {name: [] for name in Plan._fields}
    for name in ('first', 'combination', 'term', 'component'):
        lists[name].append(0)
    functions = []
    for one, many in zip(basis.basis_rank1, basis.basis, strict=True):
        functions += [_Function(f.mus, [columns[n - 1] for n in f.ns], [0], [[0]], [1.0]) for f in one]
        for f in many:
            # python-ace's radial functions of n and l come after those of two-body functions
            places = [
                basis.nradbase + (n - 1) * (basis.lmax + 1) + degree for n, degree in zip(f.ns, f.ls, strict=True)
            ]
            functions.append(_Function(f.mus, [columns[place] for place in places], f.ls, f.ms_combs, f.gen_cgs))
        lists['first'].append(len(functions))
    channels = sorted({channel for f in functions for channel in zip(f.ls, f.radial, strict=True)})
    lists['channel_l'], lists['channel_radial'] = map(list, zip(*channels, strict=True))
    starts = np.concatenate([[0], np.cumsum([2 * degree + 1 for degree, _ in channels])])
    row_of = {channel: int(start) for channel, start in zip(channels, starts, strict=False)}
    for function in functions:
        _add_function(lists, function, row_of, int(starts[-1]))
    kinds = {'factor': float, 'times_real': float, 'times_imaginary': float}
    plan = Plan(**{name: np.array(values, dtype=kinds.get(name, np.int64)) for name, values in lists.items()})
    return plan, splines


class _Function(NamedTuple):
    """Elements of the neighbours, columns of the radial functions, l, combinations of m and their factors."""

    species: list[int]
    radial: list[int]
    ls: list[int]
    combinations: list[list[int]]
    factors: list[float]


def _add_function(
    lists: dict[str, list[Any]], function: _Function, row_of: dict[tuple[int, int], int], n_rows: int
) -> None:
    """Append one function to the lists of a plan.

    python-ace keeps only one of two combinations that differ by the sign of all m, and takes the real part; A of -m is
    (-1)^m times the conjugate of A of m.

    :param row_of: l and radial column of a channel -> its first row: those of m = 0, m = 1 real, m = 1 imaginary, ...
        In A, which has m = -l to l, its numbers begin at the same place.
    """
    starts = [row_of[channel] for channel in zip(function.ls, function.radial, strict=True)]
    terms = [
        (mu, start, degree, m)
        for ms in function.combinations
        for mu, start, degree, m in zip(function.species, starts, function.ls, ms, strict=True)
    ]
    components = sorted(
        {(mu, start + max(0, 2 * abs(m) - 1) + part) for mu, start, _, m in terms for part in range(2 if m else 1)}
    )
    slots = {component: slot for slot, component in enumerate(components)}
    for term, (mu, start, degree, m) in enumerate(terms):
        factor = function.factors[term // len(starts)]
        sign = -1.0 if m < 0 and m % 2 else 1.0
        real = slots[mu, start + max(0, 2 * abs(m) - 1)]
        lists['atomic'].append(mu * n_rows + start + degree + m)
        lists['real'].append(real)
        lists['imaginary'].append(real + (m != 0))
        lists['times_real'].append(sign * factor)
        lists['times_imaginary'].append(0.0 if m == 0 else -factor if m > 0 else sign * factor)
    lists['rank'].append(len(starts))
    lists['factor'] += function.factors
    lists['combination'].append(len(lists['factor']))
    lists['term'].append(len(lists['atomic']))
    lists['species'] += [mu for mu, _ in components]
    lists['row'] += [row for _, row in components]
    lists['component'].append(len(lists['row']))


def tabulate(basis: Any) -> tuple[Splines, np.ndarray]:
    """Return python-ace's splines, and for each of its radial functions (those of two-body functions, then those of
    the others by n and l) the column they are in: equal ones are kept once."""
    radial = basis.radial_functions
    columns, kept = _distinct(np.array(radial.crad), radial.nradbase)
    tables, last, scale = [], [], []
    for mu_i in range(radial.nelements):
        for mu_j in range(radial.nelements):
            cutoff = radial.cut[mu_i][mu_j]
            intervals = int(cutoff / radial.deltaSplineBins)
            last.append(intervals)
            scale.append(intervals / cutoff)
            # a little beyond each node, so that rounding does not end in the interval before; the last from below
            points = np.arange(1, intervals + 1) * (1 + 1e-14)
            points[-1] = intervals * (1 - 1e-13)
            radial.evaluate_range(list(points / scale[-1]), radial.nradbase, radial.nradial, mu_i, mu_j)
            table = np.zeros((intervals + 1, 2, len(kept)))
            table[1:, 0] = np.hstack([radial.gr_vec, np.reshape(radial.fr_vec, (intervals, -1))])[:, kept]
            table[1:, 1] = np.hstack([radial.dgr_vec, np.reshape(radial.dfr_vec, (intervals, -1))])[:, kept] / scale[-1]
            tables.append(table)
    first = np.concatenate([[0], np.cumsum([len(table) for table in tables])[:-1]])
    return Splines(np.concatenate(tables), first, np.array(last), np.array(scale, dtype=float)), columns


def _distinct(mixing: np.ndarray, n_base: int) -> tuple[np.ndarray, list[int]]:
    """Return which column each radial function is in, and the functions that have columns.

    The functions of n and l are mixtures of the two-body ones, most often single ones, the same for all l.

    :param mixing: python-ace's `crad` (elements, elements, n, l, n_base).
    """
    kept = list(range(n_base))
    columns = list(kept)
    by_function = mixing.transpose(2, 3, 0, 1, 4).reshape(-1, mixing.shape[0] ** 2, n_base)
    for number, part in enumerate(by_function):
        single = int(np.argmax(part[0]))
        if (part == np.eye(n_base)[single]).all():
            columns.append(single)
        else:
            columns.append(len(kept))
            kept.append(n_base + number)
    return np.array(columns), kept


def warm_up() -> None:
    """Compile the kernel, or load it from numba's cache: before processes are forked, and when codes are set up."""
    kinds = dict.fromkeys(('factor', 'times_real', 'times_imaginary', 'scale'), float)
    plan = Plan(**{name: np.zeros(0, kinds.get(name, np.int64)) for name in Plan._fields})
    nothing = np.zeros(0, np.int64)
    splines = Splines(np.zeros((0, 2, 0)), nothing, nothing, np.zeros(0))
    evaluate(plan, splines, 0, nothing, np.zeros(1, np.int64), nothing, np.zeros((0, 3)), True)


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first use and keep the result on disk, if there is a place (numba raises if there is none)."""
    try:
        return njit(cache=True, fastmath=FAST)(function)
    except RuntimeError:
        return njit(fastmath=FAST)(function)


@_kept
def evaluate(plan, splines, n_elements, elements, starts, neighbours, vectors, gradients):
    """Return the projections of all functions in a configuration, and the sums of their gradients.

    :param elements: (n_atoms,) numbers of the elements, in ascending order. :param starts: (n_atoms + 1,) where the
        neighbours of each atom begin. :param neighbours: (n_pairs,) atoms, in ascending order for each atom.
        :param vectors: (n_pairs, 3) from the atom to its neighbours, Å. :param gradients: whether to compute them.
    :returns: (n_atoms, largest number of functions of an element) and (n_functions, 3 n_atoms + EXTRA n_elements), see
        :func:`places`.
    """
    n_atoms, n_functions = len(elements), len(plan.rank)
    n_rows, largest_l = 0, 0
    for degree in plan.channel_l:
        n_rows += 2 * degree + 1
        largest_l = max(largest_l, degree)
    most = _most(starts)
    # In a small cell a line of all atoms is not much longer than one of the neighbours, and spares a scatter per line.
    whole = n_atoms * n_atoms <= 2 * len(neighbours)
    width = max(most, n_atoms) if whole else most
    projections = np.zeros((n_atoms, _most(plan.first)))
    sums = np.zeros((n_functions if gradients else 0, 3 * n_atoms + EXTRA * n_elements))

    n_radial = splines.nodes.shape[2]
    values, slopes = np.empty((n_radial, most)), np.empty((n_radial, most))
    harmonics = np.empty(((largest_l + 1) * (largest_l + 2) // 2, 8, most))
    units = np.empty((7, most))
    base_real, base_imaginary = np.zeros(n_elements * n_rows), np.zeros(n_elements * n_rows)
    columns = np.empty((n_elements, n_rows if gradients else 0, 3 * width + EXTRA))
    scratch = np.empty((3, most))
    out = np.empty(3 * width + EXTRA)
    weights = np.empty(len(plan.row))
    targets, groups = np.empty(most, np.int64), np.empty(most, np.int64)
    first_atom = np.searchsorted(elements, np.arange(n_elements + 1))
    block = first_atom.copy()

    for i in range(n_atoms):
        near = neighbours[starts[i] : starts[i + 1]]
        ends = np.searchsorted(near, first_atom)
        if whole:
            groups[: len(near)] = near
        else:
            _group(near, ends, block, targets, groups)
        _radial(splines, elements[i] * n_elements, elements, near, vectors[starts[i] : starts[i + 1]],
                units, values, slopes)  # fmt: skip
        _harmonics(largest_l, len(near), units, harmonics)
        _base(plan, n_elements, n_rows, ends, values, harmonics, base_real, base_imaginary)
        if gradients:
            for mu in range(n_elements):
                _gradients(plan, ends[mu], ends[mu + 1], block[mu], block[mu + 1], groups, units, values, slopes,
                           harmonics, scratch, columns[mu])  # fmt: skip
        _functions(plan, elements[i], base_real, base_imaginary, projections[i], weights)
        if gradients:
            _derivatives(plan, i, elements[i], weights, columns, whole, block, targets, first_atom, out, sums)
    return projections, sums


def places(elements: np.ndarray, n_elements: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the sums of :func:`evaluate`: of the force on each atom (n_atoms, 3), and of minus the
    derivative by strain (n_elements, 6), xx, yy, zz, yz, xz, xy, where each element's neighbours have a part.

    :param elements: (n_atoms,), in ascending order.
    """
    first = np.searchsorted(elements, np.arange(n_elements + 1))
    shift = 3 * first + EXTRA * np.arange(n_elements + 1)
    width = np.diff(first)[elements]
    forces = (shift[elements] + np.arange(len(elements)) - first[elements])[:, None] + width[:, None] * np.arange(3)
    return forces, shift[1:, None] - 6 + np.arange(6)


@njit
def _most(starts):
    """Return the largest difference of two that follow each other, at least 1."""
    most = 1
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@njit
def _group(neighbours, ends, block, targets, groups):
    """Number the distinct atoms among the ordered neighbours.

    Fills `groups` (number of the atom of each neighbour), `targets` (those atoms) and `block` (where the atoms of each
    element begin among the targets).
    """
    count, element = 0, 0
    for k in range(len(neighbours)):
        while ends[element] <= k:
            block[element] = count
            element += 1
        if k == 0 or neighbours[k] != neighbours[k - 1]:
            targets[count] = neighbours[k]
            count += 1
        groups[k] = count - 1
    block[element:] = count


@njit(fastmath=FAST)
def _radial(splines, shift, elements, neighbours, vectors, units, values, slopes):
    """Fill `units` (x/r, y/r, z/r, 1/r, x, y, z) and the radial functions and their derivatives for all neighbours."""
    for k in range(len(neighbours)):
        x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
        r = np.sqrt(x * x + y * y + z * z)
        units[0, k], units[1, k], units[2, k], units[3, k] = x / r, y / r, z / r, 1 / r
        units[4, k], units[5, k], units[6, k] = x, y, z
        pair = shift + elements[neighbours[k]]
        place = r * splines.scale[pair]
        node = int(place)
        if node >= splines.last[pair]:
            values[:, k] = 0.0
            slopes[:, k] = 0.0
            continue
        t = place - node
        here, there = splines.nodes[splines.first[pair] + node], splines.nodes[splines.first[pair] + node + 1]
        for column in range(here.shape[1]):
            f, d = here[0, column], here[1, column]
            rise, end = there[0, column] - f, there[1, column]
            square, cube = 3 * rise - end - 2 * d, end + d - 2 * rise
            values[column, k] = f + t * (d + t * (square + t * cube))
            slopes[column, k] = (d + t * (2 * square + 3 * t * cube)) * splines.scale[pair]


@njit(fastmath=FAST)
def _harmonics(largest_l, n, units, out):
    """Fill `out` (lm with m >= 0 at l (l + 1) / 2 + m, 8, neighbours): complex Y, normalised to Y_00 = 1, the product
    of position and gradient, and the derivatives by x and z (that by y is i times the one by x), all of the
    continuation of Y off the unit sphere that is (x + i y)^m P_lm(z)."""
    x, y, z = units[0], units[1], units[2]
    for degree in range(largest_l + 1):
        for m in range(degree + 1):
            here = out[degree * (degree + 1) // 2 + m]
            # P in 0 and its derivative in 2
            if m == degree:
                norm = 1.0
                for k in range(1, degree + 1):
                    norm *= -np.sqrt(1 + 0.5 / k)
                here[0, :n] = norm
                here[2, :n] = 0.0
                continue
            below = out[(degree - 1) * degree // 2 + m]
            a = np.sqrt((4.0 * degree * degree - 1) / (degree * degree - m * m))
            if m == degree - 1:
                for k in range(n):
                    here[0, k] = a * z[k] * below[0, k]
                    here[2, k] = a * below[0, k]
                continue
            second = out[(degree - 2) * (degree - 1) // 2 + m]
            b = -np.sqrt(((degree - 1.0) ** 2 - m * m) / (4 * (degree - 1.0) ** 2 - 1))
            for k in range(n):
                here[0, k] = a * (z[k] * below[0, k] + b * second[0, k])
                here[2, k] = a * (below[0, k] + z[k] * below[2, k] + b * second[2, k])
    for k in range(n):
        # powers of x + i y, that below m and that of m
        low_real, low_imaginary, real, imaginary = 0.0, 0.0, 1.0, 0.0
        for m in range(largest_l + 1):
            for degree in range(m, largest_l + 1):
                here = out[degree * (degree + 1) // 2 + m]
                p, d = here[0, k], here[2, k]
                here[0, k], here[1, k] = p * real, p * imaginary
                here[2, k], here[3, k] = (m * p + z[k] * d) * real, (m * p + z[k] * d) * imaginary
                here[4, k], here[5, k] = m * p * low_real, m * p * low_imaginary
                here[6, k], here[7, k] = d * real, d * imaginary
            low_real, low_imaginary = real, imaginary
            real, imaginary = real * x[k] - imaginary * y[k], real * y[k] + imaginary * x[k]


@njit(fastmath=FAST)
def _base(plan, n_elements, n_rows, ends, values, harmonics, real, imaginary):
    """Fill the atomic base: for each element, channel and m = -l to l the sum of R Y over the neighbours."""
    for mu in range(n_elements):
        place = mu * n_rows
        for channel in range(len(plan.channel_l)):
            degree = plan.channel_l[channel]
            radial = values[plan.channel_radial[channel]]
            for m in range(degree + 1):
                y = harmonics[degree * (degree + 1) // 2 + m]
                a, b = 0.0, 0.0
                for k in range(ends[mu], ends[mu + 1]):
                    a += radial[k] * y[0, k]
                    b += radial[k] * y[1, k]
                real[place + degree + m], imaginary[place + degree + m] = a, b
                if m:
                    sign = -1.0 if m % 2 else 1.0
                    real[place + degree - m], imaginary[place + degree - m] = sign * a, -sign * b
            place += 2 * degree + 1


@njit(fastmath=FAST)
def _gradients(plan, start, end, low, high, groups, units, values, slopes, harmonics, scratch, columns):
    """Fill, for the neighbours `start` to `end` of one element, the rows of `columns`: gradient of R Y by x of each
    distinct atom `low` to `high`, by y, by z; their sums; the virial."""
    width = high - low
    gx, gy, gz = scratch[0], scratch[1], scratch[2]
    row = 0
    for channel in range(len(plan.channel_l)):
        degree = plan.channel_l[channel]
        radial, slope = values[plan.channel_radial[channel]], slopes[plan.channel_radial[channel]]
        for m in range(degree + 1):
            y = harmonics[degree * (degree + 1) // 2 + m]
            for part in range(2 if m else 1):
                # d/dy = i d/dx
                sign, other = (-1.0, 5) if part == 0 else (1.0, 4)
                sum_x = sum_y = sum_z = xx = yy = zz = yz = xz = xy = 0.0
                for k in range(start, end):
                    over = radial[k] * units[3, k]
                    along = slope[k] * y[part, k] - over * y[2 + part, k]
                    ax = along * units[0, k] + over * y[4 + part, k]
                    ay = along * units[1, k] + over * sign * y[other, k]
                    az = along * units[2, k] + over * y[6 + part, k]
                    gx[k], gy[k], gz[k] = ax, ay, az
                    sum_x += ax
                    sum_y += ay
                    sum_z += az
                    dx, dy, dz = units[4, k], units[5, k], units[6, k]
                    xx += ax * dx
                    yy += ay * dy
                    zz += az * dz
                    yz += ay * dz
                    xz += ax * dz
                    xy += ax * dy
                line = columns[row, : 3 * width + EXTRA]
                line[: 3 * width] = 0.0
                for k in range(start, end):
                    u = groups[k] - low
                    line[u] += gx[k]
                    line[width + u] += gy[k]
                    line[2 * width + u] += gz[k]
                extra = line[3 * width :]
                extra[0], extra[1], extra[2] = sum_x, sum_y, sum_z
                extra[3], extra[4], extra[5], extra[6], extra[7], extra[8] = xx, yy, zz, yz, xz, xy
                row += 1


@njit(fastmath=FAST)
def _functions(plan, element, base_real, base_imaginary, values, weights):
    """Fill in the values of the functions of an element, and the weights of their components: derivatives by A."""
    begin = plan.first[element]
    for f in range(begin, plan.first[element + 1]):
        rank, shift, component = plan.rank[f], plan.term[f], plan.component[f]
        weights[component : plan.component[f + 1]] = 0.0
        value = 0.0
        for combination in range(plan.combination[f], plan.combination[f + 1]):
            for t in range(rank):
                # the product of all others
                a, b = 1.0, 0.0
                for s in range(rank):
                    if s != t:
                        p, q = base_real[plan.atomic[shift + s]], base_imaginary[plan.atomic[shift + s]]
                        a, b = a * p - b * q, a * q + b * p
                weights[component + plan.real[shift + t]] += plan.times_real[shift + t] * a
                weights[component + plan.imaginary[shift + t]] += plan.times_imaginary[shift + t] * b
            p, q = base_real[plan.atomic[shift + rank - 1]], base_imaginary[plan.atomic[shift + rank - 1]]
            value += plan.factor[combination] * (a * p - b * q)
            shift += rank
        values[f - begin] = value


@njit(fastmath=FAST)
def _derivatives(plan, i, element, weights, columns, whole, block, targets, first_atom, out, sums):
    """Subtract the derivatives of the functions of atom `i`, of `element`, from their lines of sums."""
    width = first_atom[element + 1] - first_atom[element]
    own = 3 * first_atom[element] + EXTRA * element + i - first_atom[element]
    for f in range(plan.first[element], plan.first[element + 1]):
        first, end = plan.component[f], plan.component[f + 1]
        while first < end:
            mu = plan.species[first]
            last = first
            while last < end and plan.species[last] == mu:
                last += 1
            target = sums[f, 3 * first_atom[mu] + EXTRA * mu : 3 * first_atom[mu + 1] + EXTRA * (mu + 1)]
            if whole:
                _combine(plan.row, first, last, weights, columns, mu, target)
            else:
                line = out[: 3 * (block[mu + 1] - block[mu]) + EXTRA]
                line[:] = 0.0
                _combine(plan.row, first, last, weights, columns, mu, line)
                _scatter(line, targets[block[mu] : block[mu + 1]], first_atom[mu], target)
            # the neighbours together pull the atom the other way
            for axis in range(3):
                place = len(target) - EXTRA + axis
                sums[f, own + axis * width] -= target[place]
                target[place] = 0.0
            first = last


@njit
def _scatter(line, atoms, first, target):
    """Add a line of the atoms given to one of all atoms of the element, which begin at `first`."""
    width, all_width = len(atoms), (len(target) - EXTRA) // 3
    for u in range(width):
        place = atoms[u] - first
        target[place] += line[u]
        target[all_width + place] += line[width + u]
        target[2 * all_width + place] += line[2 * width + u]
    for k in range(EXTRA):
        target[3 * all_width + k] += line[3 * width + k]


@njit(fastmath=FAST)
def _combine(rows, first, last, weights, columns, mu, out):
    """Subtract the rows of components `first` to `last` times their weights from `out`.

    Four at a time, and by plain indices: numba counts references to every slice.
    """
    n = len(out)
    c = first
    while c + 4 <= last:
        w0, w1, w2, w3 = weights[c], weights[c + 1], weights[c + 2], weights[c + 3]
        r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
        for k in range(n):
            out[k] -= (
                w0 * columns[mu, r0, k] + w1 * columns[mu, r1, k] + w2 * columns[mu, r2, k] + w3 * columns[mu, r3, k]
            )
        c += 4
    while c < last:
        w0, r0 = weights[c], rows[c]
        for k in range(n):
            out[k] -= w0 * columns[mu, r0, k]
        c += 1
