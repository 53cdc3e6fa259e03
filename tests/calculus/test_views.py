"""Dual numbers and jets have the views that NumPy has: a later write reaches all that share memory.

A program of slices, reshapes, copies and writes is linear in its inputs, apart from the constants
that it writes. So its derivative along v is the same program applied to v, with zeros for the
constants, and NumPy itself computes it.
"""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Dense, Dual, Layer, Sequential, physics
from chainrule.calculus.jet import Jet, JetDelta
from chainrule.core.errors import NoTangentRuleError

PAIRS = ((0, 1),)
ORDERS = ("C", "F", "K")


def slices(rng, shape):
    """An index of slices, some with steps or backwards, perhaps with a list or a number."""
    some = (slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1))
    index = [some[rng.integers(len(some))] for _ in shape]
    if shape and rng.random() < 0.3:
        n = int(rng.integers(len(shape)))
        rows = int(shape[n])
        index[n] = [rows - 1, 0] if rng.random() < 0.6 else rows - 1
    if rng.random() < 0.2:
        index.insert(int(rng.integers(len(index) + 1)), None)
    return tuple(index)


def factors(rng, size):
    """A shape with so many entries."""
    found = [(size,), (-1,), *((n, size // n) for n in (2, 3, 4) if size and size % n == 0)]
    return found[rng.integers(len(found))]


def step(rng, arrays):
    """One step of a program: a function of the list of arrays and the unit of constants."""
    m, n = (int(k) for k in rng.integers(len(arrays), size=2))
    x, y = arrays[m], arrays[n]
    shape, order = x.shape, ORDERS[rng.integers(3)]
    axes = tuple(int(a) for a in rng.permutation(x.ndim))
    where, new = slices(rng, shape), factors(rng, x.size)
    larger = (2, *shape) if x.ndim < 3 else shape
    fits = y.ndim <= x.ndim and all(
        a in (1, b) for a, b in zip(y.shape[::-1], shape[::-1], strict=False)
    )
    axis = int(rng.integers(x.ndim))
    makes = [
        lambda z, one: z[m][where],
        lambda z, one: z[m][where],
        lambda z, one: z[m].reshape(new),
        lambda z, one: np.reshape(z[m], new, order="F"),
        lambda z, one: z[m].ravel(),
        lambda z, one: np.ravel(z[m], order),
        lambda z, one: z[m].flatten(order),
        lambda z, one: z[m].transpose(axes),
        lambda z, one: z[m].T,
        lambda z, one: np.moveaxis(z[m], 0, -1),
        lambda z, one: np.broadcast_to(z[m], larger) + 0,
        lambda z, one: np.broadcast_to(z[m][:1], shape) + 0,
        lambda z, one: z[m] + 0,
        lambda z, one: 2.0 * z[m],
        lambda z, one: -z[m],
        lambda z, one: z[m] / 4.0,
        lambda z, one: z[m].copy(),
        lambda z, one: np.copy(z[m], order),
        lambda z, one: np.zeros_like(z[m]),
        lambda z, one: np.flip(z[m], axis),
        lambda z, one: np.roll(z[m], 1, axis),
        lambda z, one: np.expand_dims(z[m], axis),
        lambda z, one: np.atleast_2d(z[m]),
        lambda z, one: np.squeeze(z[m]) if z[m].size > 1 else z[m],
        lambda z, one: np.array_split(z[m], 2, axis)[0],
        lambda z, one: np.real(z[m]),
        lambda z, one: np.cumsum(z[m], axis),
        lambda z, one: np.take(z[m], [0, 0], axis),
        lambda z, one: np.sum(z[m], axis, keepdims=True),
        lambda z, one: np.repeat(z[m], 2, axis),
        lambda z, one: z[m].astype(float),
        lambda z, one: np.stack([z[m], z[m]], axis=-1) if z[m].ndim < 3 else z[m],
        lambda z, one: np.concatenate([z[m], z[m]], axis) if z[m].size < 40 else z[m],
        lambda z, one: np.einsum("i...->...i", z[m]),
        lambda z, one: np.tril(z[m]) if z[m].ndim > 1 else z[m],
    ]
    if fits:
        makes += [lambda z, one: z[m] + z[n], lambda z, one: z[n] - z[m]]

    def assigned(z, one):
        z[m][where] = one

    def doubled(z, one):
        z[m][where] *= 2.0

    def raised(z, one):
        z[m][...] += z[n]

    def replaced(z, one):
        z[m][:] = z[n]

    if rng.random() < 0.4 and x.flags.writeable:
        writes = [assigned, doubled, *([raised, replaced] if fits else [])]
        return writes[rng.integers(len(writes))]
    made = makes[rng.integers(len(makes))]
    return lambda z, one: z.append(made(z, one))


def program(seed):
    """Random steps, chosen by what NumPy can do in the memory that they find."""
    rng = np.random.default_rng(seed)
    shape = [(4, 3), (3, 4), (2, 3, 2), (6,), (4, 4)][rng.integers(5)]
    order = ORDERS[rng.integers(2)]
    arrays, steps = [np.array(rng.normal(size=shape), order=order)], []
    start = arrays[0].copy(order="K")
    while len(steps) < 12:
        chosen = step(rng, arrays)
        trial = len(arrays)
        try:
            chosen(arrays, 1.0)
        except (ValueError, IndexError):
            continue
        if len(arrays) > trial and not (0 < arrays[-1].size < 100 and 0 < arrays[-1].ndim < 4):
            arrays.pop()
            continue
        steps.append(chosen)
    return start, steps


def run(steps, x, one):
    arrays = [x]
    for each in steps:
        each(arrays, one)
    return arrays


def moving(kind, x, moves):
    """x with derivatives along the given directions, and all parts of the result in their order."""
    parts = np.stack([x, *moves])  # keeps the order in memory
    if kind == "dual":
        return Dual(x, moves[0]), lambda y: [y.value, y.tangent]
    if kind == "jet":
        return Jet(parts, PAIRS), lambda y: y.parts
    if kind == "dual in jet":
        inner = Dual(parts[:2], parts[2:])
        return Jet(inner), lambda y: [*y.parts.value, *y.parts.tangent]
    inner = Jet(np.stack([parts[:2], parts[2:]]))
    return Jet(inner), lambda y: [*y.parts.parts[0], *y.parts.parts[1]]


@pytest.mark.parametrize("kind", ["dual", "jet", "dual in jet", "jet in jet"])
def test_writes_reach_the_same_arrays_as_in_numpy(kind):
    for seed in range(200 if kind in ("dual", "jet") else 60):
        x, steps = program(seed)
        moves = [np.sin(x * n) for n in (1, 2, 3)]  # in the same order in memory
        expected = run(steps, np.copy(x, "K"), 1.0)
        slopes = [run(steps, np.copy(v, "K"), 0.0) for v in moves]
        jet, parts_of = moving(kind, np.copy(x, "K"), moves)
        for n, found in enumerate(run(steps, jet, 1.0)):
            own = [expected[n], *(each[n] for each in slopes)]
            for part, wanted in zip(parts_of(found), own, strict=kind != "dual"):
                np.testing.assert_allclose(part, wanted, rtol=1e-12, atol=1e-12, err_msg=f"{seed}")


def test_a_view_of_one_number_cannot_be_changed_in_place():
    x = Jet(np.ones((2, 3)))
    view = x[0, ...]
    for change in (lambda v: v.__iadd__(1.0), lambda v: v.__imul__(2.0)):
        with pytest.raises(NoTangentRuleError, match=r"x\[0\] \+= a"):
            change(view)
    x[0] += 1.0  # NumPy's own way to write it
    assert view.value == 2.0


def test_what_numpy_writes_with_a_function_needs_a_jet_to_write_into():
    x = Jet(np.ones((2, 3)))
    for write in (
        lambda: np.put(np.zeros(3), [0], x[0]),
        lambda: np.put_along_axis(np.zeros(3), np.array([0, 1, 2]), x, axis=0),
        lambda: np.putmask(np.zeros(3), np.ones(3, bool), x),
    ):
        with pytest.raises(NoTangentRuleError, match="plain array"):
            write()


# ---- zeros in a backward become deltas together with all their views


def added(d, delta):
    d[:, 1:] += delta
    d[:, :-1] -= delta


def through_views(d, delta):
    later, earlier = d[:, 1:], d[:, :-1]
    later += delta
    earlier -= delta


def through_a_view_of_a_view(d, delta):
    flat = d.reshape(-1).reshape(d.shape)[:, :]
    flat[:, 1:] += delta
    d[:, :-1] -= delta


def at_places(d, delta):
    np.add.at(d.T, (slice(1, None),), delta.T)
    np.subtract(d[:, :-1], delta, out=d[:, :-1])


def put(d, delta):
    n = np.arange(delta.shape[1])[None].repeat(len(delta), axis=0)
    np.put_along_axis(d, n + 1, delta, axis=1)
    d[:, :-1] -= delta


@pytest.mark.parametrize(
    "make", [np.zeros_like, np.empty_like, lambda x: np.zeros(x.shape, like=x)]
)
@pytest.mark.parametrize("write", [added, through_views, through_a_view_of_a_view, at_places, put])
def test_a_backward_may_write_through_views_of_zeros_like_its_input(write, make):
    class Steps(Layer):
        def output_shape(self, input_shape):
            return (input_shape[0] - 1,)

        def forward(self, x):
            self.x = x
            return x[:, 1:] - x[:, :-1]

        def backward(self, delta):
            dx = make(self.x)
            if make is np.empty_like:
                dx[...] = 0.0
            write(dx, delta)
            return dx

    def gradient(layer):
        model = physics.Derivatives(
            Sequential([Dense(4), Activation("tanh"), layer, Dense(1)]), order=2
        )
        model.build((2,), rng=0)
        outputs = model.forward(x)
        model.parameters.zero_grad()
        return model.backward(tuple(np.cos(y) for y in outputs)), model.parameters.grad

    x = np.random.default_rng(0).normal(size=(5, 2))
    matrix = np.eye(4)[:, 1:] - np.eye(4)[:, :-1]

    class AsMatrix(Steps):
        def forward(self, x):
            return x @ matrix

        def backward(self, delta):
            return delta @ matrix.T

    for one, other in zip(gradient(Steps()), gradient(AsMatrix()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_delta_in_an_array_of_numbers_is_named():
    delta, x = JetDelta(np.ones((3, 2)), (), 1), Jet(np.ones((3, 2)), (), 1)
    view = x[:1]
    for write in (lambda: x.__setitem__(slice(1), delta[:1]), lambda: view.__iadd__(delta[:1])):
        with pytest.raises(NoTangentRuleError):
            write()
    with pytest.raises(NoTangentRuleError, match=r"zeros_like\(delta\)"):
        x[:] = delta


def test_a_write_reaches_the_array_that_was_flattened_and_shaped_again():
    a = Jet(np.arange(24.0).reshape(2, 4, 3), (), 1)
    b = np.broadcast_to(a[:1], a.shape) + 0
    b.ravel().reshape(b.shape)[0] = 1  # b is in NumPy's usual order, so this is a view of it
    np.testing.assert_array_equal(b.value, [[1.0, 1.0, 1.0], *[[0.0, 1.0, 2.0]] * 3])
    np.testing.assert_array_equal(b.first[0], [[0.0, 0.0, 0.0], *[[12.0, 13.0, 14.0]] * 3])
