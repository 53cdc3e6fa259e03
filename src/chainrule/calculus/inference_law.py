"""The tenth law: what `apply` computes, compared with `forward`.

`apply` is deterministic, treats each row alone, and changes no buffer and no generator. Beyond that

    a deterministic layer             apply = forward
    one that draws                    apply = ⟨forward⟩, the mean over its draws, if the output is
                                      linear in its noise
    one with running statistics       apply ≈ forward to 1 %, after many passes of one large batch

A layer that contains others is compared with the composition of what these apply, not with its own
`forward`: so only its own draws and its own statistics count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import evolve

from chainrule.calculus.derivative_laws import RESCUED, nearby
from chainrule.calculus.situations import LAYOUTS, Situation, all_situations, elsewhere, sizes
from chainrule.calculus.test_case import (
    EXACT,
    TINY,
    UNDEFINED,
    Bench,
    Case,
    Finding,
    LawViolation,
    are_identical,
    as_tuple,
    copied,
    flat,
    is_finite,
    laid,
    norm,
    rows_of,
    writes_into_read_only,
)

ROWS = 512
"""The rows of the batch whose statistics a layer learns."""
PASSES = 8000
"""The most passes of this batch: enough for a momentum of 0.999."""
IN_PERCENT = 0.01
"""How far `apply` may be from `forward` after these passes."""
DRAWS = 2**14
"""The most rows over which noise is averaged."""
MOST_NUMBERS = 2**20
"""Fewer rows are used if these would have more numbers than this."""
DEVIATIONS = 7.0
"""How many standard errors a mean may be off; a mean that is further off is drawn once more."""


def inference(case: Case) -> Finding:
    """`apply` is deterministic, treats rows alone and agrees with `forward`."""
    bench = Bench(case.layer)
    _require_no_effect(bench, case)
    _require_rows_alone(bench, case)
    if _has_statistics(bench, case):
        if case.layer._generators:
            return Finding(remarks=["forward draws and keeps statistics: apply is not compared"])
        return _agrees_after_many_passes(case)
    if case.layer._generators:
        if not case.layer.couples_batch:
            _require_a_draw_for_each_row(case)
        if case.layer.noise_is_linear:
            return _agrees_on_average(case)
        return Finding(remarks=["forward is not linear in its noise, as the layer declares"])
    return _agrees_exactly(case)


def _require_no_effect(bench: Bench, case: Case) -> None:
    """`apply` twice gives the same, whatever came before, and changes nothing."""
    once = bench.apply(case)
    if bench.has_changed_buffers():
        raise LawViolation("apply changes a buffer: only forward may do so")
    if bench.has_changed_generators():
        raise LawViolation("apply draws random numbers: only forward may do so")
    bench.forward(case)
    with np.errstate(all="ignore"):
        bench.layer.apply(*copied(case.others))
        bench.reset()
        bench.advance_generators()
        with elsewhere(seed=1):
            again = bench.layer.apply(*copied(case.inputs))
    if not are_identical(once, again):
        raise LawViolation(
            "apply gives different results for the same input: it must be deterministic, and "
            "depend on nothing but its input, parameters and buffers"
        )


def _require_rows_alone(bench: Bench, case: Case) -> None:
    for at in [case, *(case.of_size(n) for n in sizes(case))]:
        whole = bench.apply(at)
        for rows in (slice(0, 0), slice(0, 1), slice(at.batch // 2, at.batch)):
            part, same = bench.apply(at.rows(rows)), rows_of(whole, rows)
            if [np.shape(a) for a in as_tuple(part)] != [np.shape(a) for a in as_tuple(same)]:
                raise LawViolation(
                    f"apply returns another shape for {rows.stop - rows.start} row(s) of a batch"
                )
            error = norm(flat(part) - flat(same)) / (norm(same) + 1e-3 * norm(whole) + TINY)
            if is_finite(part) and is_finite(same) and not error <= EXACT:
                raise LawViolation(
                    "apply lets the rows of a batch influence each other: does it use statistics "
                    "of the batch? At inference, a row must not depend on which others are with it",
                    error,
                )


# ------------------------------------------------------------------------------- agreement


def _reference(bench: Bench, at: Case) -> Any:
    """What `apply` is compared with: `forward` in which the layers inside apply."""
    bench.reset()
    with np.errstate(all="ignore"):
        return bench.applying.forward(*laid(at.inputs, at.lay_inputs))


def _agrees_exactly(case: Case) -> Finding:
    finding = Finding(0.0, EXACT)
    bench = Bench(case.layer)
    for situation in _situations(case):
        at = situation.at
        on = bench if at.layer is case.layer else Bench(at.layer)
        try:
            expected, applied = _reference(on, at), on.apply(at)
        except UNDEFINED:
            continue
        except ValueError as failure:
            if writes_into_read_only(failure):
                continue  # the fourth law says so
            raise
        if not is_finite(expected) and not is_finite(applied):
            continue
        size = norm(expected)
        error = norm(flat(applied) - flat(expected)) / (size + TINY)
        if error <= EXACT:
            finding.figure = max(finding.figure or 0.0, error)
        elif not error <= RESCUED or not error * size <= 16 * _spread(at, expected):
            where = f" {situation.phrase}" if situation.phrase else ""
            raise LawViolation(f"apply and forward compute different outputs{where}", error)
    return finding


def _situations(case: Case) -> Iterator[Situation]:
    """All situations, and all layouts of the inputs in memory."""
    yield from all_situations(case)
    for phrase, lay in LAYOUTS.items():
        yield Situation(f"for inputs {phrase}", evolve(case, lay_inputs=lay))


def _spread(at: Case, y: Any) -> float:
    """How far the output changes when the point is perturbed in its last digits."""
    return max(norm(flat(_reference(Bench(near.layer), near)) - flat(y)) for near in nearby(at))


def _rows(case: Case) -> int:
    """`ROWS`, or fewer if a row is very large."""
    width = max(1, sum(int(np.prod(shape)) for shape in case.layer.input_shapes))
    return int(np.clip(4 * MOST_NUMBERS // width, 32, ROWS))


def _has_statistics(bench: Bench, case: Case) -> bool:
    """Whether `forward` changes a buffer of the layer itself, other than a carried state."""
    _reference(bench, case)
    buffers = zip(case.layer._buffers.values(), bench.layer._buffers.values(), strict=True)
    return not all(
        np.array_equal(a.value, b.value, equal_nan=True) for a, b in buffers if not a.open_shape
    )


def _agrees_after_many_passes(case: Case) -> Finding:
    """Parameters are large, so that a forgotten one shows, and the data is not standardized."""
    value = case.theta
    numbers = case.rng.uniform(0.5, 2.0, value.size) * case.rng.choice([-1.0, 1.0], value.size)
    drawn = case.with_parameters(numbers).of_size(_rows(case))
    at = drawn
    if not case.is_given:
        at = evolve(drawn, inputs=tuple(3 + 2 * x for x in drawn.inputs))
    bench = Bench(at.layer)
    before = flat(bench.apply(at))
    with np.errstate(all="ignore"):
        for number in range(1, PASSES + 1):
            expected = bench.applying.forward(*copied(at.inputs))
            if number % 20 == 0:
                applied = flat(bench.layer.apply(*copied(at.inputs)))
                if norm(applied - before) <= 1e-5 * norm(applied):
                    break
                before = applied
        applied = flat(bench.layer.apply(*copied(at.inputs)))
    error = norm(applied - flat(expected)) / (norm(expected) + TINY)
    if not error <= IN_PERCENT:
        raise LawViolation(
            f"after {number} passes of one batch of {at.batch} rows, apply still differs from "
            "forward: are the running statistics those of the batch, and does apply use them, and "
            "every parameter, as forward does?",
            error,
        )
    return Finding(error, IN_PERCENT)


def _require_a_draw_for_each_row(case: Case) -> None:
    """Equal rows get different noise."""
    one = case.rows(slice(0, 1))
    at = evolve(one, inputs=tuple(np.repeat(x, _rows(case), axis=0) for x in one.inputs))
    bench = Bench(at.layer)
    bench.reset()
    with np.errstate(all="ignore"):
        passes = [copied(bench.applying.forward(*copied(at.inputs))) for _ in range(8)]
    all_equal = all(
        are_identical(y, np.broadcast_to(y[:1], y.shape))
        for several in passes
        for y in as_tuple(several)
    )
    if all_equal and not all(are_identical(passes[0], y) for y in passes[1:]):
        raise LawViolation(
            "forward draws the same random numbers for all rows of a batch: draw for each row, "
            "such as with random(x.shape)"
        )


def _agrees_on_average(case: Case) -> Finding:
    """The mean of `forward` over many equal rows is what `apply` gives for one."""
    row = case.rows(slice(0, 1))
    expected = flat(Bench(case.layer).apply(row))
    if not is_finite(expected):
        return Finding()
    width = max(1, expected.size + sum(x.size for x in row.inputs))
    draws = int(np.clip(MOST_NUMBERS // width, ROWS, DRAWS))
    bench = Bench(case.layer)
    bench.reset()
    for attempt in (1, 4):  # a mean that is off by chance is drawn again, with more rows
        at = evolve(row, inputs=tuple(np.repeat(x, draws, axis=0) for x in row.inputs))
        total, squares, count = np.zeros_like(expected), np.zeros_like(expected), 0
        for _ in range(attempt):
            with np.errstate(all="ignore"):
                y = as_tuple(bench.applying.forward(*copied(at.inputs)))
            noisy = np.concatenate([part.reshape(draws, -1) for part in y], axis=1)
            total += noisy.sum(axis=0)
            squares += ((noisy - expected) ** 2).sum(axis=0)
            count += draws
        mean = total / count
        variance = np.maximum(squares / count - (mean - expected) ** 2, 0.0)
        # An event rarer than about 30 in all draws may not have occurred.
        allowed = DEVIATIONS * np.sqrt(variance / count) + (30 / count) * np.abs(expected)
        off = np.abs(mean - expected)
        error = norm(mean - expected) / (norm(expected) + TINY)
        if np.all(off <= allowed + EXACT * norm(expected)):
            return Finding(remarks=[f"apply is the mean of forward over {count:,} draws"])
    worst = int(np.argmax(off / (allowed + TINY)))
    raise LawViolation(
        f"apply is not the mean of forward over its random numbers: over {count:,} draws, one "
        f"output is {mean[worst]:.4g} on average, but apply gives {expected[worst]:.4g}. Does "
        "forward rescale what it keeps, as by 1/(1 − rate)? If the output is not linear in the "
        "noise, set noise_is_linear: ClassVar[bool] = False in the class",
        error,
    )
