"""The ten laws of a layer, one function for each.

Every law is checked on a `Case`: a built layer with random inputs and deltas. It returns a
`Finding`, with the largest relative error if the law is about numbers, or raises `LawViolation`.
The first line of a law's docstring is its statement in the report. The first two laws, which are
about derivatives, are in `chainrule.calculus.derivative_laws`, the last one, inference, is in
`chainrule.calculus.inference_law`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve

from chainrule.calculus import diagnosis
from chainrule.calculus.derivative_laws import (
    Spread,
    adjoint,
    located,
    nearby,
    tangent,
)
from chainrule.calculus.inference_law import inference
from chainrule.calculus.products import jacobian_vector
from chainrule.calculus.situations import FEW_SIZES, LAYOUTS, elsewhere, input_situations, sizes
from chainrule.calculus.test_case import (
    EXACT,
    TINY,
    UNDEFINED,
    Bench,
    Case,
    Finding,
    Gradients,
    LawViolation,
    are_identical,
    as_tuple,
    copied,
    flat,
    gradient_of,
    inner,
    is_finite,
    is_input,
    laid,
    norm,
    rows_of,
    shapes_by_name,
    shapes_of,
    vector,
    writes_into_read_only,
)
from chainrule.core import input_checks
from chainrule.core.errors import BackwardBeforeForwardError, StorageError
from chainrule.core.layer import Layer


def accumulate(case: Case) -> Finding:
    """Two backward passes add up; `zero_grad` resets the gradients."""
    finding = Finding(0.0, EXACT)
    bench = Bench(case.layer)
    for size in [case.batch, *sizes(case)]:
        at = case if size == case.batch else case.of_size(size)
        with located(f"for a batch of {size} row(s)"):
            _two_passes_add_up(bench, at, finding)
    _parameters_alone(bench, case, 0)
    return finding


def _two_passes_add_up(bench: Bench, at: Case, finding: Finding) -> None:
    u = at.delta()
    once = bench.passes(at, u)
    delta = copied(_deltas(once))
    again = bench.backward(at, u)  # after the same forward
    both = bench.gradients()
    if not are_identical(again, delta):
        raise LawViolation(
            "after one forward, a second backward gives a different delta: backward changes what "
            "forward remembered"
        )
    norms = once.norms()
    for path, total in both.items():
        first = once.arrays[path]
        error = norm(total - 2 * first) / (norms[path] + TINY)
        finding.figure = max(finding.figure or 0.0, error)
        if not error <= EXACT:
            raise LawViolation(_not_doubled(at, u, path, first, total), error)
    bench.forward(at, zero_grad=False)
    bench.backward(at, u)
    for path, total in bench.gradients().items():
        error = norm(total - 3 * once.arrays[path]) / (norms[path] + TINY)
        if not error <= EXACT:
            raise LawViolation(
                f"two backward passes do not add up in the gradient of {path} if forward is called "
                "in between: only zero_grad may reset a gradient",
                error,
            )
    afresh = bench.passes(at, u)
    for path, first in once.arrays.items():
        if not np.array_equal(first, afresh.arrays[path], equal_nan=True):
            raise LawViolation(
                f"after zero_grad {gradient_of(path)} differs from the first one: backward must "
                "depend on nothing but its delta and what the last forward remembered"
            )
    _parameters_alone(bench, at, at.batch, u, afresh)


def _deltas(once: Gradients) -> tuple[npt.NDArray[Any], ...]:
    """The deltas of the inputs."""
    return tuple(array for name, array in once.arrays.items() if is_input(name))


def _not_doubled(at: Case, u: Any, path: str, first: Any, total: Any) -> str:
    """The sentence for a gradient that is not twice as large after a second backward."""
    bench = Bench(at.layer)
    bench.passes(at, u)
    bench.forward(at, zero_grad=False)
    bench.backward(at, u)
    adds_after_forward = norm(bench.gradients()[path] - 2 * first) <= 1e-9 * (norm(first) + TINY)
    if adds_after_forward:
        return (
            f"after one forward, a second backward adds a different gradient of {path}: backward "
            "changes what forward remembered"
        )
    pattern = "the second replaces the first" if np.array_equal(first, total) else ""
    return (
        f"two backward passes do not add up in the gradient of {path}. {pattern}\n"
        "add with parameter.accumulate(…) instead of assigning to grad"
    )


def _parameters_alone(
    bench: Bench, case: Case, size: int, u: Any = None, whole: Gradients | None = None
) -> None:
    """`backward_parameters`, which training calls on the first layer, agrees with `backward`."""
    at = case if size == case.batch else case.rows(slice(0, size))
    u = at.delta() if u is None else u
    whole = whole or bench.passes(at, u)
    bench.forward(at)
    with np.errstate(all="ignore"):
        bench.layer.backward_parameters(copied(u))
    norms = whole.norms()
    for path, alone in bench.gradients().items():
        error = norm(whole.arrays[path] - alone) / (norms[path] + TINY)
        if not error <= EXACT and not are_identical(whole.arrays[path], alone):
            raise LawViolation(
                f"backward_parameters and backward give different gradients of {path}, for a batch "
                f"of {size} row(s)",
                error,
            )


def purity(case: Case) -> Finding:
    """Inputs and deltas are never changed; no later call changes an array that was returned."""
    # With new parameters, in case an earlier pass has changed the others for good.
    fresh = case.with_parameters(case.rng.normal(size=case.theta.size))
    _nothing_changes(Bench(fresh.layer), fresh)
    bench = Bench(case.layer)
    for situation in input_situations(case):
        with located(situation.phrase), suppress(*UNDEFINED if situation.phrase else ()):
            _nothing_changes(bench, situation.at)
    for phrase, lay in LAYOUTS.items():
        try:
            with located(f"for arrays {phrase}"):
                _nothing_changes(bench, evolve(case, lay_inputs=lay, lay_delta=lay))
        except ValueError as failure:
            if not writes_into_read_only(failure):
                raise
            raise LawViolation(
                "forward, backward or apply writes into a read-only array that it was given"
            ) from failure
    return Finding()


def _nothing_changes(bench: Bench, case: Case) -> None:
    bench.reset()
    layer = bench.layer
    inputs = laid(case.inputs, case.lay_inputs)
    values = [p.value.copy() for p in bench.parameters]
    u = laid(case.delta(), case.lay_delta)
    given_u = copied(u)
    with np.errstate(all="ignore"):
        y = layer.forward(*inputs)
        returned_y = copied(y)
        delta_in = layer.backward(u)
        returned_delta = copied(delta_in) if delta_in is not None else None
        applied = layer.apply(*inputs)
        returned_applied = copied(applied)
        later = layer.forward(*copied(case.others))
        layer.backward(case.like(later))
        layer.apply(*copied(case.others))
    for what, now, before, cause in (
        ("the input", inputs, case.inputs, "forward, backward or apply writes into it"),
        ("the delta", u, given_u, "backward writes into it"),
        ("the output of forward", y, returned_y, "a later call writes into it"),
        (
            "the delta that backward returned",
            delta_in,
            returned_delta,
            "a later call writes into it",
        ),
        ("the output of apply", applied, returned_applied, "a later call writes into it"),
        (
            "the value of a parameter",
            tuple(p.value for p in bench.parameters),
            tuple(values),
            "only an optimizer may change it",
        ),
    ):
        if before is not None and not are_identical(now, before):
            raise LawViolation(f"{what} has changed: {cause}")


def repeatable(case: Case) -> Finding:
    """The same input and generator give the same output; the same seed gives the same layer."""
    u = case.delta()
    with elsewhere(seed=1):
        before = _global_generators()
        one = case.passes(u)
        is_changed = _global_generators() != before
    if is_changed:
        raise LawViolation(
            "forward or backward changes the global random generator of NumPy or Python: take "
            'randomness from self.generator("…"), created in build'
        )
    with elsewhere(seed=2):
        _require_same(one, case.passes(u), "the second time")
    _nothing_leaks(case, u, one)
    shapes = case.layer.input_shapes
    built = [case.layer.unbuilt() for _ in range(2)]
    built[0].build(*shapes, rng=5, dtype=case.layer.dtype)
    with elsewhere(seed=2):
        built[1].build(*shapes, rng=5, dtype=case.layer.dtype)
    if not np.array_equal(built[0].parameters.value, built[1].parameters.value):
        raise LawViolation(
            "two layers built with the same seed differ: draw from self.rng in build"
        )
    return Finding()


def _require_same(one: Gradients, two: Gradients, when: str) -> None:
    pairs = [(one.output, two.output), *((a, two.arrays[name]) for name, a in one.arrays.items())]
    if not all(are_identical(a, b) for a, b in pairs):
        raise LawViolation(
            f"the same input gives a different result {when}: take randomness from "
            'self.generator("…"), created in build, and do not keep results between forward passes'
        )


def _nothing_leaks(case: Case, u: Any, alone: Gradients) -> None:
    """What a layer has computed before, for any batch, does not change what it computes now."""
    bench = Bench(case.layer)
    cases = [
        evolve(case, inputs=case.others),
        case,
        *(case.of_size(n) for n in sizes(case, FEW_SIZES)),
        case.rows(slice(0, 0)),
    ]
    for before in cases:
        bench.passes(before, before.delta())
        _require_same(alone, bench.passes(case, u), f"after a batch of {before.batch} row(s)")
        bench.forward(before)  # without backward, as when a validation batch comes in between
        bench.apply(before)
        _require_same(alone, bench.passes(case, u), f"after a batch of {before.batch} row(s)")


def _global_generators() -> tuple[Any, ...]:
    """The states of the global generators of NumPy and Python, comparable."""
    _, key, *rest = np.random.get_state()
    return np.asarray(key).tobytes(), *rest, random.getstate()


def batch(case: Case) -> Finding:
    """Rows do not influence each other; a batch of one and an empty batch work."""
    u = case.delta()
    whole = case.passes(u)
    bench = Bench(case.layer)
    for rows in (0, 1):
        with located(f"for a batch of {rows} row(s)"):
            part = bench.passes(case.rows(slice(0, rows)), rows_of(u, slice(0, rows)))
        for what, small, full in (
            ("the output", part.output, whole.output),
            *((gradient_of(n), part.arrays[n], a) for n, a in whole.arrays.items()),
        ):
            per_row = what == "the output" or "input" in what
            expected = shapes_of(rows_of(full, slice(0, rows))) if per_row else shapes_of(full)
            if shapes_of(small) != expected:
                raise LawViolation(
                    f"with a batch of {rows} row(s) {what} has the shape {shapes_of(small)}, "
                    f"but should have {expected}"
                )
    if case.layer.couples_batch or any(p.couples_batch for _, p in case.layer.walk()):
        return Finding(remarks=["rows influence each other, as the layer declares (couples_batch)"])
    finding = Finding(0.0, EXACT)
    for at in [case, *(case.of_size(n) for n in sizes(case, (2, 8, 65)))]:
        u = at.delta()
        whole = bench.passes(at, u)
        _rows_are_alone(bench, at, u, whole)
        if not case.layer.generators:
            _rows_add_up(bench, at, u, whole, finding)
    return Finding() if case.layer.generators else finding


def _rows_are_alone(bench: Bench, case: Case, u: Any, whole: Gradients) -> None:
    """Changing the other rows does not change the results of the first."""
    mixed = evolve(
        case,
        inputs=tuple(
            np.concatenate([x[:1], other[1:]])
            for x, other in zip(case.inputs, case.others, strict=True)
        ),
    )
    after = bench.passes(mixed, u)
    norms = whole.norms()
    compared = [("the output", after.output, whole.output, norm(whole.output))]
    compared += [
        (gradient_of(n), a, whole.arrays[n], norms[n])
        for n, a in after.arrays.items()
        if is_input(n)
    ]
    for what, one, two, size in compared:
        first, before = flat(rows_of(one, slice(0, 1))), flat(rows_of(two, slice(0, 1)))
        # The row may be small beside the others: it is compared relative to itself, unless it is
        # so small that it is only rounding.
        error = norm(first - before) / (norm(before) + 1e-3 * size + TINY)
        if not error <= EXACT:
            raise LawViolation(
                f"{what} of one row changes with the other rows of the batch: rows influence each "
                "other. If this is intended, set couples_batch: ClassVar[bool] = True in the class",
                error,
            )


def _rows_add_up(bench: Bench, case: Case, u: Any, whole: Gradients, finding: Finding) -> None:
    """The results of parts of a batch, single rows if there are few, add up to those of all."""
    cuts = range(case.batch + 1) if case.batch <= 8 else (0, 1, 3, case.batch // 2, case.batch)
    parts = []
    for first, last in itertools.pairwise(cuts):
        rows = slice(first, last)
        parts.append(bench.passes(case.rows(rows), rows_of(u, rows)).arrays)
    norms, spread = whole.norms(), Spread(case, u, whole)
    for name, array in whole.arrays.items():
        several = [part[name] for part in parts]
        joined = np.concatenate(several) if is_input(name) else sum(several)
        size = norms[name] + (0.0 if is_input(name) else sum(map(norm, several)))
        difference = norm(joined - array)
        error = difference / (size + TINY)
        finding.figure = max(finding.figure or 0.0, min(error, EXACT))
        if error <= EXACT:
            continue
        if difference <= 16 * spread[name] <= 1e-6 * size:
            continue
        pattern = diagnosis.factor(array, np.asarray(joined), {"the batch size": case.batch})
        raise LawViolation(
            f"{gradient_of(name)} of a batch differs from that of its rows one by one. "
            f"{pattern or ''}",
            error,
        )


def dtype(case: Case) -> Finding:
    """float32 in, float32 out, in every array, with the same numbers; float64 likewise."""
    layers = {}
    for kind in input_checks.DTYPES:
        layer = layers[kind] = case.layer.unbuilt()
        layer.build(*case.layer.input_shapes, rng=case.seed, dtype=kind)
        layer.parameters.value = case.layer.parameters.value.astype(np.float32)
        bench = Bench(layer)
        for size in (case.batch, 0, *sizes(case, FEW_SIZES)):
            some = case if size == case.batch else case.of_size(size)
            at = _in_type(some, layer, kind)
            with located(f"for a batch of {size} row(s) of {kind}"):
                found = {
                    "the output of forward": bench.forward(at),
                    "the output of apply": bench.apply(at),
                }
                _refuse_other_types(found, kind)
                passed = bench.passes(at, at.delta())
            _refuse_other_types({gradient_of(n): a for n, a in passed.arrays.items()}, kind)
        _refuse_other_types({s.path: s.value for s in bench.layer.buffers}, kind)
    single, double = input_checks.DTYPES
    finding = _same_numbers(case, layers[single], layers[double])
    # The rounding of float32 differs from processor to processor: no figure that a reader compares.
    return Finding(remarks=finding.remarks)


def _in_type(case: Case, layer: Layer, kind: np.dtype[Any]) -> Case:
    inputs = tuple(x.astype(kind) if x.dtype.kind == "f" else x for x in case.inputs)
    return evolve(case, layer=layer, inputs=inputs)


IN_FLOAT32 = 64 * float(np.finfo(np.float32).eps)
"""The tolerance for float32, unless the layer amplifies rounding more."""


def _same_numbers(case: Case, single: Layer, double: Layer) -> Finding:
    """Gradients in float32 are those in float64, to the accuracy of float32."""
    double.parameters.value = single.parameters.value
    double.buffers.value = single.buffers.value
    benches = Bench(single), Bench(double)
    finding = Finding(0.0, IN_FLOAT32)
    gains: dict[str, float] = {}  # of the ordinary batch, which comes first
    for size in (case.batch, *sizes(case, FEW_SIZES)):
        some = case if size == case.batch else case.of_size(size)
        at32 = _in_type(some, single, np.dtype(np.float32))
        at64 = _in_type(evolve(some, inputs=at32.inputs), double, np.dtype(np.float64))
        u = at32.delta()
        got = benches[0].passes(at32, u)
        if not is_finite(got.output) or not all(map(is_finite, got.arrays.values())):
            continue
        if case.layer.generators:
            _adjoint_in_float32(at32, u, got, size)
            continue
        wide = tuple(d.astype(np.float64) for d in u) if isinstance(u, tuple) else u.astype(float)
        expected = benches[1].passes(at64, wide)
        norms, spread = {"": norm(expected.output), **expected.norms()}, Spread(at32, u, got)
        # A number that happens to be small, or a slope in saturation, is rounded as others are.
        units = {n: norm(u) if n else np.sqrt(size) for n in norms}
        gains = gains or {n: norms[n] / (units[n] or 1.0) for n in norms}
        norms = {n: max(norms[n], gains[n] * units[n]) for n in norms}
        compared = [("the output", got.output, expected.output, norms[""], "")]
        compared += [
            (gradient_of(n), got.arrays[n], a, norms[n], n) for n, a in expected.arrays.items()
        ]
        for what, found, right, least, name in compared:
            difference = norm(flat(found) - flat(right))
            error = difference / (least + TINY)
            if error <= IN_FLOAT32:
                finding.figure = max(finding.figure or 0.0, error)
            # Rounding may be amplified, but a tenth of the number is more than that.
            elif not error <= 0.1 or not difference <= 16 * spread[name]:
                pattern = (
                    None
                    if not name
                    else diagnosis.factor(np.asarray(found, dtype=float), np.asarray(right), {})
                )
                raise LawViolation(
                    f"{what} differs between float32 and float64, for a batch of {size} row(s). "
                    f"{pattern or ''}",
                    error,
                )
    return finding


def _adjoint_in_float32(at: Case, u: Any, got: Gradients, size: int) -> None:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ in float32, for a layer that may draw other numbers in float64."""
    v = {
        name: at.rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes_by_name(at).items()
    }
    product = jacobian_vector(at, v, Finding(), Bench(at.layer, vector(at, v).astype(np.float32)))
    if not product.is_exact:
        return
    left = inner(u, product.value)
    right = sum(inner(got.arrays[name], part) for name, part in v.items())
    size_of_terms = norm(u) * norm(product.value) + sum(
        norm(got.arrays[name]) * norm(part) for name, part in v.items()
    )
    error = abs(left - right) / (size_of_terms + TINY)
    if error <= IN_FLOAT32:
        return
    # As in the first law: rounding may be amplified, such as by the variance of two rows.
    sides = [inner(u, jacobian_vector(near, v, Finding()).value) for near in nearby(at)]
    if not error <= 0.1 or not abs(left - right) <= 16 * max(abs(side - left) for side in sides):
        raise LawViolation(
            f"backward is not the adjoint of forward in float32, for a batch of {size} row(s)",
            error,
        )


def _refuse_other_types(found: dict[str, Any], kind: np.dtype[Any]) -> None:
    for what, arrays in found.items():
        for array in as_tuple(arrays):
            if array.dtype != kind:
                raise LawViolation(
                    f"the input is {kind}, but {what} is {array.dtype}: create arrays with like= "
                    "or zeros_like, and multiply by plain numbers, not by arrays of another dtype"
                )


def memory(case: Case) -> Finding:
    """`apply` changes nothing; `backward` before `forward` raises a named error."""
    bench = Bench(case.layer)
    try:
        bench.layer.backward(case.delta())
    except BackwardBeforeForwardError:
        pass
    else:
        raise LawViolation("backward before forward does not raise BackwardBeforeForwardError")
    carries = any(buffer.open_shape for buffer in bench.layer.buffers)  # for batches of one size
    for between in [
        evolve(case, inputs=case.others),
        *(case.of_size(n) for n in sizes(case, FEW_SIZES) if not carries),
    ]:
        u = case.delta()
        plain = bench.passes(case, u)
        bench.forward(case)
        states = [s.value.copy() for s in bench.layer.buffers]
        with np.errstate(all="ignore"):
            bench.layer.apply(*copied(between.inputs))
        if not all(map(np.array_equal, states, [s.value for s in bench.layer.buffers])):
            raise LawViolation("apply changes a buffer: only forward may do so")
        deltas = bench.backward(case, u)
        after = dict(zip([n for n in plain.arrays if is_input(n)], deltas, strict=True))
        for name, array in (after | bench.gradients()).items():
            if not are_identical(array, plain.arrays[name]):
                raise LawViolation(
                    f"{gradient_of(name)} changes when apply is called between forward and "
                    "backward: apply writes into the memory of forward"
                )
    return Finding()


def returns(case: Case) -> Finding:
    """The configuration survives saving and loading; the copy computes the same."""
    from chainrule import storage  # a later package, needed only for this law

    classes = {type(part) for _, part in case.layer.walk()}
    try:
        copy = storage.loads(storage.dumps(case.layer), layers=classes)
    except StorageError as error:
        raise LawViolation(f"the layer cannot be saved and loaded: {error}") from error
    if repr(copy.unbuilt()) != repr(case.layer.unbuilt()):
        raise LawViolation(f"the configuration {case.layer!r} was loaded as {copy!r}")
    if not are_identical(evolve(case, layer=copy).forward(), case.forward()):
        raise LawViolation("the saved and loaded copy computes different outputs")
    return Finding()


LAWS: dict[str, Callable[[Case], Finding]] = {
    "adjoint": adjoint,
    "tangent": tangent,
    "accumulate": accumulate,
    "purity": purity,
    "repeatable": repeatable,
    "batch": batch,
    "type": dtype,
    "memory": memory,
    "return": returns,
    "inference": inference,
}
"""The laws by name, in order."""
