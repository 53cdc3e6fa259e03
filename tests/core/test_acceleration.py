"""Acceleration: NumPy's numbers without the libraries, MKL's products with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import chainrule
from chainrule import Dense, MultiHeadAttention, derivatives, errors, show_config, use_fast
from chainrule.core import acceleration, mkl
from chainrule.core.acceleration import IN_USE, matrix_product
from core.acceleration_by_hand import interpreted_loops

RNG = np.random.default_rng(0)
TYPES = ["float32", "float64"]


@pytest.fixture
def fresh() -> Iterator[None]:
    """As at the start of a program in which the libraries may be used."""
    with use_fast(False):
        IN_USE.turn(True, "")
        yield


@pytest.fixture
def without_numba(monkeypatch, fresh) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)


@pytest.fixture
def fast(monkeypatch) -> Iterator[None]:
    """With numba and MKL, on every processor and with any number of threads."""
    monkeypatch.setattr(acceleration, "require_one_thread", lambda: None)
    monkeypatch.setattr(acceleration, "processor", lambda: "sapphirerapids")
    monkeypatch.setattr(acceleration, "LEAST_WORK", 2**15)
    with use_fast():
        assert IN_USE.loaded().gemm is not None, IN_USE.reason
        yield


def laid_out(draw: Any, array: Any) -> Any:
    """An array with these numbers, somewhere in memory: transposed, with gaps, reversed, …"""
    rows, columns = array.shape
    kind = draw(
        st.sampled_from(["rows", "columns", "wide", "tall", "steps", "reversed", "shifted"])
    )
    offset = draw(st.integers(0, 17))
    memory = np.full(4 * (rows + 3) * (columns + 3) + offset, np.nan, array.dtype)[offset:]
    views = {
        "rows": memory[: rows * columns].reshape(rows, columns),
        "columns": memory[: rows * columns].reshape(columns, rows).T,
        "wide": memory[: rows * (columns + 3)].reshape(rows, columns + 3)[:, 1 : columns + 1],
        "tall": memory[: columns * (rows + 3)].reshape(columns, rows + 3)[:, 2 : rows + 2].T,
        "steps": memory[: 4 * rows * columns].reshape(2 * rows, 2 * columns)[::2, ::2],
        "reversed": memory[: rows * columns].reshape(rows, columns)[::-1, ::-1],
        "shifted": memory[: 2 * rows * columns].reshape(2 * rows, columns)[1::2],
    }
    views[kind][...] = array
    return views[kind]


@st.composite
def products(draw: Any, largest: int = 9) -> tuple[Any, Any, Any]:
    """Two matrices and a place for their product, in all layouts; the numbers are integers."""
    dtype, sizes = draw(st.sampled_from(TYPES)), st.integers(1, largest)
    rows, inner, columns = draw(sizes), draw(sizes), draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    left, right = (rng.integers(-8, 9, shape) for shape in ((rows, inner), (inner, columns)))
    out = laid_out(draw, np.zeros((rows, columns), dtype))
    return laid_out(draw, left.astype(dtype)), laid_out(draw, right.astype(dtype)), out


def assert_is_product(left: Any, right: Any, out: Any, is_written: bool, kept: Any = 0) -> None:
    """The numbers are integers, so every order of the sum gives the same."""
    exact = np.einsum("ij,jk->ik", np.array(left, "int64"), np.array(right, "int64"))
    np.testing.assert_array_equal(out, exact + kept if is_written else kept)


# ------------------------------------------------------------------------------- without


def test_without_numba_numpy_computes_and_the_config_says_why(without_numba, capsys):
    left, right = RNG.normal(size=(80, 64)), RNG.normal(size=(64, 64))
    assert np.array_equal(matrix_product(left, right), np.dot(left, right))
    show_config()
    printed = capsys.readouterr().out
    assert f"chainrule {chainrule.__version__}, Python" in printed
    assert f"NumPy {np.__version__}" in printed and "BLAS of NumPy: " in printed
    assert "fast: off, numba is not installed: pip install 'chainrule[fast]'\n" in printed
    assert IN_USE.gemm is None and acceleration.blas_in_use() == acceleration.blas_name()


def test_use_fast_without_numba_is_a_named_error_that_changes_nothing(without_numba):
    before = {name: getattr(IN_USE, name) for name in IN_USE.__slots__}
    with pytest.raises(errors.MissingExtraError, match="use_fast needs numba") as caught:
        use_fast()
    assert caught.value.hint == "pip install 'chainrule[fast]'"
    assert before == {name: getattr(IN_USE, name) for name in IN_USE.__slots__}


def test_a_numba_that_fails_is_not_used(monkeypatch, fresh, capsys):
    def fail(*given: Any) -> None:
        raise SystemError("Numba needs NumPy 2.0 or less")

    monkeypatch.setattr(acceleration, "required", fail)
    show_config()
    assert "fast: off, Numba needs NumPy 2.0 or less\n" in capsys.readouterr().out


@pytest.mark.parametrize("reason", ["MKL is not installed", "NumPy's own BLAS is MKL"])
def test_without_mkl_only_steps_are_compiled(monkeypatch, fresh, capsys, reason):
    monkeypatch.setitem(sys.modules, "numba", type(sys)("numba"))
    sys.modules["numba"].__version__ = "0.61"
    monkeypatch.setattr(mkl, "PATTERNS", ())
    monkeypatch.setattr(mkl, "library", mkl.library.__wrapped__)
    monkeypatch.setattr(acceleration, "compiled", lambda function: mkl.library())
    monkeypatch.setattr(acceleration, "blas_threads", lambda: 1)
    if "own" in reason:
        monkeypatch.setattr(acceleration, "blas_name", lambda: "mkl-sdl 2024")
    show_config()
    printed = capsys.readouterr().out
    assert "fast: on, numba 0.61 compiles the steps of optimizers" in printed
    assert f"without MKL: {reason}" in printed and IN_USE.gemm is None


def test_the_variable_turns_it_off():
    program = "import chainrule; chainrule.show_config()"
    environment = {**os.environ, "CHAINRULE_FAST": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert "fast: off, CHAINRULE_FAST=0\n" in done.stdout


def test_without_the_variable_they_are_used_if_they_are_there():
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, chainrule\n"
        "from chainrule.core.acceleration import IN_USE\n"
        "assert IN_USE.compiles is None and IN_USE.dot is not np.dot\n"
        "layer = chainrule.Dense(99); layer.build((64,)); layer(np.ones((200, 64)))\n"
        "assert IN_USE.compiles is False and IN_USE.dot is np.dot\n"
        "chainrule.show_config()"
    )
    environment = {name: text for name, text in os.environ.items() if name != "CHAINRULE_FAST"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert "fast: off, numba is not installed" in done.stdout, done.stderr


def test_use_fast_holds_inside_the_block_or_from_then_on(fresh):
    assert IN_USE.compiles is None
    with use_fast(False):
        assert IN_USE.compiles is False and IN_USE.gemm is None
    assert IN_USE.compiles is None
    use_fast(False)
    assert IN_USE.compiles is False


def test_off_every_product_is_that_of_numpy():
    left, right = RNG.normal(size=(200, 150)), RNG.normal(size=(150, 100))
    with use_fast(False):
        assert np.array_equal(matrix_product(left, right), np.dot(left, right))
        stacks = np.stack([left, left]), np.stack([right, right])
        assert np.array_equal(matrix_product(*stacks, None, np.matmul), np.matmul(*stacks))
        out = np.empty((200, 100))
        assert matrix_product(left, right, out) is out
        assert np.array_equal(out, np.dot(left, right))


def test_the_threads_of_a_blas_that_does_not_say_are_those_of_the_variable(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy._core._multiarray_umath", sys)
    monkeypatch.setattr(sys, "__file__", "no library", raising=False)
    for text, threads in [("", None), ("all", None), ("3", 3)]:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", text)
        assert acceleration.blas_threads() == threads


# ------------------------------------------------------------------------------- by hand


@given(products(), st.sampled_from([0.0, 1.0]))
def test_gemm_gives_a_blas_what_it_can_read_and_refuses_the_rest(arrays, kept):
    left, right, out = arrays
    out[...] = 3
    with interpreted_loops():
        is_written = mkl.gemm(left, right, out, kept)
    is_kept = 3 if kept or not is_written else 0
    assert_is_product(left, right, out, is_written, is_kept)
    is_contiguous = left.flags.forc and right.flags.forc and out.flags.c_contiguous
    assert is_written or not is_contiguous or 1 in (*left.shape, *right.shape)


def test_gemm_refuses_matrices_that_do_not_fit_or_are_empty():
    square = np.ones((4, 4))
    with interpreted_loops():
        assert mkl.gemm(square, square, np.empty((4, 4)), 0.0)
        assert not mkl.gemm(square, square[:3], np.empty((4, 4)), 0.0)
        assert not mkl.gemm(square, square, np.empty((4, 3)), 0.0)
        assert not mkl.gemm(square[:0], square, np.empty((0, 4)), 0.0)
        assert not mkl.gemm(square[:, :0], square[:0], np.empty((4, 4)), 0.0)
        assert not mkl.gemm(square, np.broadcast_to(np.ones(4), (4, 4)), np.empty((4, 4)), 0.0)


def test_a_product_into_the_memory_of_a_factor_is_left_to_numpy():
    for place in (0, 1):
        factors = list(RNG.normal(size=(2, 64, 64)))
        exact = np.dot(*factors)
        with interpreted_loops():
            assert matrix_product(*factors, factors[place]) is factors[place]
        np.testing.assert_array_equal(factors[place], exact)


def test_matrices_without_a_layout_or_larger_than_the_integers_of_the_library_are_refused():
    assert mkl.layout(2, 2**31, (2**34, 8), 8)[1] == 0
    assert mkl.layout(2**31, 2, (8, 2**34), 8)[1] == 0
    assert mkl.layout(2, 3, (2**35, 8), 8)[1] == 0
    assert mkl.layout(2, 3, (28, 8), 8)[1] == 0
    assert mkl.layout(2, 3, (32, 8), 8) == (mkl.PLAIN, 4)
    assert mkl.layout(2, 3, (24, 16), 8)[1] == 0  # gaps in rows and columns
    assert mkl.layout(4, 4, (8, 8), 8)[1] == 0  # windows that overlap
    assert mkl.layout(4, 4, (8, -32), 8)[1] == 0
    assert mkl.layout(3, 2, (8, 32), 8) == (mkl.TRANSPOSED, 4)


def test_other_things_than_large_matrices_go_to_numpy():
    calls = []

    def noted(*given: Any, **options: Any) -> Any:
        calls.append(given)
        return np.matmul(*given, **options)

    large = RNG.normal(size=(64, 64))
    with interpreted_loops():
        for left, right in [
            (large[:, :7], large[:7]),
            (np.tile(large, (1, 4)), np.tile(large, (4, 1))[:, :4]),
            (np.stack([large] * 3), large),
            (large.astype(int), large.astype(int)),
            (large.astype("complex"), large),
            (large, large[0]),
            (np.ma.array(large), large),
        ]:
            np.testing.assert_allclose(matrix_product(left, right, None, noted), left @ right)
        assert len(calls) == 7
        matrix_product(large, large, None, noted)
    assert len(calls) == 7


@pytest.mark.parametrize("dtype", TYPES)
def test_layers_give_the_same_with_another_product(dtype):
    """Through every layer that shares it; and duals, which NumPy has to dispatch."""
    for layer, shape in [(Dense(40), (99,)), (MultiHeadAttention(4), (16, 32))]:
        layer.build(shape, rng=0, dtype=dtype)
        x = RNG.normal(size=(200, *shape)).astype(dtype)
        delta = RNG.normal(size=(200, *layer.output_shape)).astype(dtype)
        found = []
        for is_fast in (False, True):
            with interpreted_loops() if is_fast else use_fast(False):
                layer.parameters.zero_grad()
                passes = layer.forward(x), layer.backward(delta), layer.parameters.grad.copy()
                found.append([*passes, *derivatives.jvp(layer, x, x)])
        for one, other in zip(*found, strict=True):
            tolerance = 200 * np.finfo(dtype).eps * np.abs(other).max()
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


# ------------------------------------------------------------------------------- with MKL


@pytest.mark.peers
@settings(max_examples=500)
@given(products(largest=60), st.sampled_from([0.0, 1.0]))
def test_the_product_of_mkl_is_the_product(arrays, kept):
    left, right, out = arrays
    out[...] = 3
    gemm = acceleration.compiled(mkl.gemm)
    is_written = gemm(left, right, out, kept)
    assert_is_product(left, right, out, is_written, 3 if kept or not is_written else 0)


@pytest.mark.peers
@pytest.mark.parametrize("dtype", TYPES)
def test_a_product_of_mkl_does_not_depend_on_the_place_in_memory(fast, dtype):
    for shape in [(200, 150, 100), (33, 784, 17), (64, 64, 64), (7, 5000, 9)]:
        left, right = RNG.normal(size=shape[:2]), RNG.normal(size=shape[1:])
        found = set()
        for offset in range(17):
            memory = np.empty(left.size + offset, dtype)[offset:].reshape(left.shape)
            memory[...] = left
            found.add(matrix_product(memory, right.astype(dtype)).tobytes())
        assert len(found) == 1


@pytest.mark.peers
@pytest.mark.parametrize("dtype", TYPES)
def test_a_product_of_mkl_is_as_exact_as_that_of_numpy(fast, dtype):
    left, right = (RNG.normal(size=(300, 300)).astype(dtype) for _ in range(2))
    exact = left.astype("longdouble") @ right.astype("longdouble")
    with use_fast(False):
        error = np.abs(matrix_product(left, right) - exact).max()
    assert np.abs(matrix_product(left, right) - exact).max() < 3 * error


@pytest.mark.peers
def test_where_no_cache_can_be_written_functions_are_compiled_all_the_same(fast, monkeypatch):
    import numba

    njit, caches = numba.njit, []

    def without_cache(*given: Any, cache: bool = False, **options: Any) -> Any:
        caches.append(cache)
        if cache:
            raise RuntimeError("cannot cache function 'layout': no locator available")
        return njit(*given, **options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert acceleration.compiled.__wrapped__(mkl.layout)(2, 3, (24, 8), 8) == (mkl.PLAIN, 3)
    assert caches == [True, False]


@pytest.mark.peers
def test_mkl_has_one_thread(fast):
    assert mkl.library().MKL_Get_Max_Threads() == 1


@pytest.mark.peers
def test_types_that_mkl_does_not_know_are_left_to_numpy(fast):
    large = RNG.normal(size=(64, 64))
    small = large.astype("float32")
    swapped = large.astype(">f8")
    read_only = np.empty((64, 64))
    read_only.flags.writeable = False
    unaligned = np.zeros(64 * 64 * 8 + 1, "u1")[1:].view("float64").reshape(64, 64)
    unaligned[...] = large
    for left, right in [(small, large), (swapped, large), (swapped, swapped)]:
        assert np.array_equal(matrix_product(left, right), np.dot(left, right))
    np.testing.assert_allclose(matrix_product(unaligned, large), np.dot(large, large), atol=1e-12)
    with pytest.raises(ValueError, match=r"read-only|not acceptable"):
        matrix_product(large, large, read_only)


@pytest.mark.peers
@pytest.mark.parametrize("threads", [2, None])
def test_with_several_threads_of_numpys_blas_it_computes_the_products(
    monkeypatch, fresh, capsys, threads
):
    monkeypatch.setattr(acceleration, "blas_threads", lambda: threads)
    monkeypatch.setattr(acceleration, "processor", lambda: "sapphirerapids")
    show_config()
    told = f"has {threads or 'an unknown number of'} threads; with one, by OPENBLAS_NUM_THREADS=1"
    printed = capsys.readouterr().out
    assert "fast: on, numba" in printed and told in printed
    left, right = RNG.normal(size=(200, 150)), RNG.normal(size=(150, 100))
    assert np.array_equal(matrix_product(left, right), np.dot(left, right))
    assert acceleration.gemm_for(left.dtype) is None
    assert acceleration.blas_in_use() == acceleration.blas_name()


@pytest.mark.peers
def test_on_processors_of_amd_mkl_computes_convolutions_alone(monkeypatch, fresh, capsys):
    monkeypatch.setattr(acceleration, "require_one_thread", lambda: None)
    monkeypatch.setattr(acceleration, "processor", lambda: "znver3")
    left, right = RNG.normal(size=(200, 150)), RNG.normal(size=(150, 100))
    assert np.array_equal(matrix_product(left, right), np.dot(left, right))
    assert IN_USE.dot is np.dot and acceleration.gemm_for(left.dtype) is not None
    show_config()
    assert f"{mkl.version()} computes convolutions\n" in capsys.readouterr().out


@pytest.mark.peers
def test_the_config_names_mkl_and_numba(fast, capsys):
    import numba

    show_config()
    printed = capsys.readouterr().out
    assert f"fast: on, numba {numba.__version__} compiles" in printed
    assert f"{mkl.version()} computes products of matrices\n" in printed
    assert acceleration.blas_in_use() == mkl.version()
