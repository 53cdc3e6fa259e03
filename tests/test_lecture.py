"""The lecture's functions against their formulas, and the faults of the program they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule import lecture

# Activations as the lecture gives them: f(z) and f′(z) from one function. What they compute is
# written so that it also holds for complex z, where the truth below is taken from.
FUNCTIONS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "sigmoid": lambda z: (1 / (1 + np.exp(-z)), np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": lambda z: (np.tanh(z), 1 / np.cosh(z) ** 2),
    "sin": lambda z: (np.sin(z), np.cos(z)),
    "gaussian": lambda z: (np.exp(-(z**2) / 2), -z * np.exp(-(z**2) / 2)),
    "identity": lambda z: (z, np.ones_like(z)),
}


def cost(network: SimpleNamespace, weights: list[Any], biases: list[Any]) -> Any:
    """C, one sample, one neuron and one connection at a time, for real and complex parameters."""
    total = 0
    for y, target in zip(network.y_in, network.y_target, strict=True):
        for w, b, f_df in zip(weights, biases, network.f_df, strict=True):
            z = [b[j] + sum(y[k] * w[k, j] for k in range(len(y))) for j in range(len(b))]
            y = [f_df(z_j)[0] for z_j in z]
        total = total + sum((y_j - F_j) ** 2 for y_j, F_j in zip(y, target, strict=True))
    return total / (2 * len(network.y_in))


def complex_step_gradient(network: SimpleNamespace) -> tuple[list[Any], list[Any]]:
    """∂C/∂θ = Im C(θ + ih)/h, correct to the last digits because nothing is subtracted."""
    step = 1e-30
    parameters = [
        [np.array(p, complex) for p in network.weights],
        [np.array(p, complex) for p in network.biases],
    ]
    gradients: tuple[list[Any], list[Any]] = ([], [])
    for kind, of_kind in zip(parameters, gradients, strict=True):
        for p in kind:
            gradient = np.empty(p.shape)
            for index in np.ndindex(p.shape):
                p[index] += 1j * step
                gradient[index] = cost(network, *parameters).imag / step
                p[index] = p[index].real
            of_kind.append(gradient)
    return gradients


def make_network(
    widths: Sequence[int],
    batchsize: int,
    functions: Sequence[str],
    seed: int = 0,
    dtype: str = "float64",
) -> SimpleNamespace:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(dtype)

    return SimpleNamespace(
        weights=[draw(n, m) for n, m in pairwise(widths)],
        biases=[draw(m) for m in widths[1:]],
        y_in=draw(batchsize, widths[0]),
        y_target=draw(batchsize, widths[-1]),
        f_df=[FUNCTIONS[name] for name in functions],
    )


def gradient(network: SimpleNamespace) -> tuple[list[Any], list[Any]]:
    """The same gradient, as the lecture computes it."""
    y_layer, df_layer = lecture.apply_net(
        network.y_in, network.weights, network.biases, network.f_df
    )
    return lecture.backprop(network.y_target, y_layer, df_layer, network.weights)


@st.composite
def networks(draw: st.DrawFn) -> SimpleNamespace:
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    functions = [draw(st.sampled_from(sorted(FUNCTIONS))) for _ in widths[1:]]
    return make_network(widths, draw(st.integers(1, 5)), functions, draw(st.integers(0, 2**32 - 1)))


def ulps(value: Any, truth: mpmath.mpf) -> float:
    """The distance between value and truth in units of the last place of value's type."""
    spacing = np.spacing(np.abs(np.asarray(float(truth), value.dtype)))
    return float(abs(mpmath.mpf(float(value)) - truth) / mpmath.mpf(float(spacing)))


class TestTheLecturesFormulas:
    @given(network=networks())
    def test_the_gradient_of_any_network_is_that_of_its_cost(
        self, network: SimpleNamespace
    ) -> None:
        for ours, truth in zip(gradient(network), complex_step_gradient(network), strict=True):
            for layer, true_layer in zip(ours, truth, strict=True):
                np.testing.assert_allclose(layer, true_layer, rtol=1e-12, atol=1e-14)

    def test_the_gradient_agrees_with_central_differences(self) -> None:
        network = make_network([3, 5, 2], 4, ["sigmoid", "tanh"])
        step = 1e-5
        for kind, of_kind in zip((network.weights, network.biases), gradient(network), strict=True):
            for p, dp in zip(kind, of_kind, strict=True):
                for index in np.ndindex(p.shape):
                    value = p[index]
                    p[index] = value + step
                    above = cost(network, network.weights, network.biases)
                    p[index] = value - step
                    below = cost(network, network.weights, network.biases)
                    p[index] = value
                    assert dp[index] == pytest.approx((above - below) / (2 * step), abs=1e-9)

    def test_a_network_worked_by_hand_has_the_gradient_worked_by_hand(self) -> None:
        # Two samples, two neurons, one output. f(0) = 1/2, f(ln 2) = 2/3, f(ln 3) = 3/4 and
        # f′(0) = 1/4, f′(±ln 2) = 2/9, f′(ln 3) = 3/16, so that all values are fractions:
        # the first layer gives (3/4, 1/2) and (2/3, 3/4), the second 1/3 and 2/3.
        ln2, ln3 = np.log(2), np.log(3)
        weights = [np.array([[ln3, 0.0], [ln2, ln3]]), np.array([[12 * ln2], [12 * ln2]])]
        biases = [np.zeros(2), np.array([-16 * ln2])]
        y_target = np.array([[1.0], [1 / 3]])

        y_layer, df_layer = lecture.apply_net(np.eye(2), weights, biases)
        dw_layer, db_layer = lecture.backprop(y_target, y_layer, df_layer, weights)

        expected = {
            "y_1": (y_layer[1], [[3 / 4, 1 / 2], [2 / 3, 3 / 4]]),
            "df_1": (df_layer[0], [[3 / 16, 1 / 4], [2 / 9, 3 / 16]]),
            "y_2": (y_layer[2], [[1 / 3], [2 / 3]]),
            "df_2": (df_layer[1], [[2 / 9], [2 / 9]]),
            "dw_2": (dw_layer[1], [[-5 / 162], [-1 / 108]]),
            "db_2": (db_layer[1], [-1 / 27]),
            "dw_1": (dw_layer[0], [[-ln2 / 6, -2 * ln2 / 9], [8 * ln2 / 81, ln2 / 12]]),
            "db_1": (db_layer[0], [-11 * ln2 / 162, -5 * ln2 / 36]),
        }
        for name, (ours, by_hand) in expected.items():
            np.testing.assert_allclose(ours, by_hand, rtol=1e-13, err_msg=name)
        assert lecture.train_net(np.eye(2), y_target, 0.1, weights, biases) == pytest.approx(5 / 36)

    def test_the_gradient_agrees_with_fifty_digits_of_mpmath(self) -> None:
        network = make_network([2, 2, 1], 3, ["sigmoid", "sigmoid"], seed=7)
        shapes = [(2, 2), (2, 1), (2,), (1,)]
        flat = [float(v) for p in network.weights + network.biases for v in p.flat]

        def cost_of(*values: mpmath.mpf) -> mpmath.mpf:
            arrays, start = [], 0
            for shape in shapes:
                size = int(np.prod(shape))
                arrays.append(np.array(values[start : start + size], object).reshape(shape))
                start += size
            exact = SimpleNamespace(
                y_in=[[mpmath.mpf(float(v)) for v in row] for row in network.y_in],
                y_target=[[mpmath.mpf(float(v)) for v in row] for row in network.y_target],
                f_df=[lambda z: (1 / (1 + mpmath.exp(-z)), None)] * 2,
            )
            return cost(exact, arrays[:2], arrays[2:])

        dw_layer, db_layer = lecture.backprop(
            network.y_target,
            *lecture.apply_net(network.y_in, network.weights, network.biases),
            network.weights,
        )
        ours = np.concatenate([dp.ravel() for dp in dw_layer + db_layer])
        with mpmath.workdps(50):
            for n in range(len(flat)):
                order = tuple(int(m == n) for m in range(len(flat)))
                truth = mpmath.diff(cost_of, [mpmath.mpf(v) for v in flat], order)
                assert ours[n] == pytest.approx(float(truth), rel=1e-13)

    @given(network=networks())
    def test_the_gradient_of_a_batch_is_the_mean_over_its_samples(
        self, network: SimpleNamespace
    ) -> None:
        each = []
        for s in range(len(network.y_in)):
            one = SimpleNamespace(**vars(network))
            one.y_in, one.y_target = network.y_in[s : s + 1], network.y_target[s : s + 1]
            each.append([*gradient(one)[0], *gradient(one)[1]])
        together = [*gradient(network)[0], *gradient(network)[1]]
        for whole, *parts in zip(together, *each, strict=True):
            np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-12, atol=1e-14)


class TestTheSigmoid:
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_value_and_derivative_are_right_to_eight_ulp(self, dtype: str) -> None:
        reach = 87 if dtype == "float32" else 700  # beyond, f(−z) leaves the normal numbers
        z = np.concatenate([np.linspace(-reach, reach, 401), np.geomspace(1e-20, 1, 41)])
        z = z.astype(dtype)
        y, df = lecture.net_f_df(z)
        with mpmath.workdps(400):
            for z_j, y_j, df_j in zip(z, y, df, strict=True):
                decay = mpmath.exp(-mpmath.mpf(float(z_j)))
                assert ulps(y_j, 1 / (1 + decay)) <= 8
                assert ulps(df_j, decay / (1 + decay) ** 2) <= 8

    @given(
        z=st.sampled_from(["float32", "float64"]).flatmap(
            lambda dtype: hnp.arrays(dtype, 5, elements={"allow_nan": False})
        )
    )
    def test_no_z_gives_nan_or_a_warning(self, z: np.ndarray) -> None:
        y, df = lecture.net_f_df(z)
        rounding = 8 * np.finfo(z.dtype).eps
        assert ((y >= 0) & (y <= 1)).all()
        assert ((df >= 0) & (df <= 0.25 * (1 + rounding))).all()

    def test_the_largest_and_infinite_z_give_the_limits(self) -> None:
        largest = np.finfo(float).max
        y, df = lecture.net_f_df(np.array([-np.inf, -largest, -800.0, 800.0, largest, np.inf]))
        assert y.tolist() == [0, 0, 0, 1, 1, 1]
        assert df.tolist() == [0, 0, 0, 0, 0, 0]


class TestTheFunctions:
    @given(network=networks())
    def test_apply_net_simple_gives_the_last_layer_of_apply_net(
        self, network: SimpleNamespace
    ) -> None:
        arguments = (network.y_in, network.weights, network.biases, network.f_df)
        y_layer, df_layer = lecture.apply_net(*arguments)
        np.testing.assert_array_equal(lecture.apply_net_simple(*arguments), y_layer[-1])
        assert len(y_layer) == len(network.weights) + 1
        assert len(df_layer) == len(network.weights)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_every_array_keeps_the_type_of_the_network(self, dtype: str) -> None:
        network = make_network([3, 4, 2], 5, ["sigmoid", "sigmoid"], dtype=dtype)
        y_layer, df_layer = lecture.apply_net(network.y_in, network.weights, network.biases)
        dw_layer, db_layer = lecture.backprop(network.y_target, y_layer, df_layer, network.weights)
        lecture.gradient_step(0.1, network.weights, network.biases, dw_layer, db_layer)
        arrays = [*y_layer, *df_layer, *dw_layer, *db_layer, *network.weights, *network.biases]
        assert {str(array.dtype) for array in arrays} == {dtype}

    def test_float32_gradients_are_those_of_float64_to_float32_accuracy(self) -> None:
        narrow = make_network([3, 4, 2], 5, ["tanh", "sin"], dtype="float32")
        wide = SimpleNamespace(**vars(narrow))
        for name in ("weights", "biases"):
            setattr(wide, name, [p.astype("float64") for p in getattr(narrow, name)])
        wide.y_in, wide.y_target = narrow.y_in.astype(float), narrow.y_target.astype(float)
        for ours, truth in zip(gradient(narrow), gradient(wide), strict=True):
            for layer, true_layer in zip(ours, truth, strict=True):
                np.testing.assert_allclose(layer, true_layer, rtol=1e-4, atol=1e-6)

    def test_only_gradient_step_changes_an_array_and_it_does_so_in_place(self) -> None:
        network = make_network([2, 3, 1], 4, ["tanh", "identity"])
        given_arrays = [network.y_in, network.y_target, *network.weights, *network.biases]
        before = [array.copy() for array in given_arrays]
        dw_layer, db_layer = gradient(network)
        for array, copy in zip(given_arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)

        lecture.gradient_step(0.5, network.weights, network.biases, dw_layer, db_layer)
        parameters = given_arrays[2:]  # the same arrays as were put into the network
        for p, copy, dp in zip(parameters, before[2:], dw_layer + db_layer, strict=True):
            np.testing.assert_array_equal(p, copy - 0.5 * dp)

    @given(network=networks())
    def test_train_net_returns_the_cost_before_its_step_and_lowers_it_as_the_gradient_says(
        self, network: SimpleNamespace
    ) -> None:
        cost_before = cost(network, network.weights, network.biases)
        square = sum(float((dp**2).sum()) for kind in gradient(network) for dp in kind)
        eta = 1e-6
        returned = lecture.train_net(
            network.y_in, network.y_target, eta, network.weights, network.biases, network.f_df
        )
        assert returned == pytest.approx(cost_before, rel=1e-12)
        cost_after = cost(network, network.weights, network.biases)
        # C(w − η∇C) = C − η‖∇C‖² + O(η²)
        assert cost_before - cost_after == pytest.approx(eta * square, rel=1e-2, abs=1e-11)

    def test_training_learns(self) -> None:
        network = make_network([2, 8, 1], 50, ["tanh", "identity"])
        network.y_target = np.sin(2 * network.y_in[:, :1]) * network.y_in[:, 1:]
        costs = [
            lecture.train_net(
                network.y_in, network.y_target, 0.2, network.weights, network.biases, network.f_df
            )
            for _ in range(400)
        ]
        assert costs[-1] < 0.05 * costs[0]

    def test_one_function_serves_every_layer(self) -> None:
        network = make_network([2, 3, 2], 4, ["sin", "sin"])
        arguments = (network.y_in, network.weights, network.biases)
        np.testing.assert_array_equal(
            lecture.apply_net_simple(*arguments, FUNCTIONS["sin"]),
            lecture.apply_net_simple(*arguments, network.f_df),
        )

    def test_a_list_of_functions_of_another_length_is_refused(self) -> None:
        network = make_network([2, 3, 2], 4, ["sin", "sin"])
        for apply in (lecture.apply_net, lecture.apply_net_simple):
            with pytest.raises(ValueError, match="zip"):
                apply(network.y_in, network.weights, network.biases, [lecture.net_f_df])


# The program as it stands in the lecture's homework, to the letter. Only what it takes for granted
# is put around it: its names from NumPy, and its global variables, which `seed_program` sets.
SEED_PROGRAM = """
def net_f_df(z): # calculate f(z) and f'(z)
    val=1/(1+exp(-z)) # sigmoid
    return(val,exp(-z)*(val**2)) # return both f and f'

def forward_step(y,w,b): # calculate values in next layer, from input y
    z=dot(y,w)+b # w=weights, b=bias vector for next layer
    return(net_f_df(z)) # apply nonlinearity and return result

def apply_net(y_in): # one forward pass through the network
    global Weights, Biases, NumLayers
    global y_layer, df_layer # for storing y-values and df/dz values

    y=y_in # start with input values
    y_layer[0]=y
    for j in range(NumLayers): # loop through all layers
        # j=0 corresponds to the first layer above the input
        y,df=forward_step(y,Weights[j],Biases[j]) # one step
        df_layer[j]=df # store f'(z) [needed later in backprop]
        y_layer[j+1]=y # store f(z) [also needed in backprop]
    return(y)

def apply_net_simple(y_in): # one forward pass through the network
    # no storage for backprop (this is used for simple tests)

    y=y_in # start with input values
    y_layer[0]=y
    for j in range(NumLayers): # loop through all layers
        # j=0 corresponds to the first layer above the input
        y,df=forward_step(y,Weights[j],Biases[j]) # one step
    return(y)

def backward_step(delta,w,df):
    # delta at layer N, of batchsize x layersize(N))
    # w between N-1 and N [layersize(N-1) x layersize(N) matrix]
    # df = df/dz at layer N-1, of batchsize x layersize(N-1)
    return( dot(delta,transpose(w))*df )

def backprop(y_target): # one backward pass through the network
    # the result will be the 'dw_layer' matrices that contain
    # the derivatives of the cost function with respect to
    # the corresponding weight
    global y_layer, df_layer, Weights, Biases, NumLayers
    global dw_layer, db_layer # dCost/dw and dCost/db (w,b=weights,biases)
    global batchsize

    delta=(y_layer[-1]-y_target)*df_layer[-1]
    dw_layer[-1]=dot(transpose(y_layer[-2]),delta)/batchsize
    db_layer[-1]=delta.sum(0)/batchsize
    for j in range(NumLayers-1):
        delta=backward_step(delta,Weights[-1-j],df_layer[-2-j])
        dw_layer[-2-j]=dot(transpose(y_layer[-3-j]),delta)
        db_layer[-2-j]=delta.sum(0)/batchsize

def gradient_step(eta): # update weights & biases (after backprop!)
    global dw_layer, db_layer, Weights, Biases

    for j in range(NumLayers):
        Weights[j]-=eta*dw_layer[j]
        Biases[j]-=eta*db_layer[j]

def train_net(y_in,y_target,eta): # one full training batch
    # y_in is an array of size batchsize x (input-layer-size)
    # y_target is an array of size batchsize x (output-layer-size)
    # eta is the stepsize for the gradient descent
    global y_out_result

    y_out_result=apply_net(y_in)
    backprop(y_target)
    gradient_step(eta)
    cost=((y_target-y_out_result)**2).sum()/batchsize
    return(cost)
"""


def seed_program(network: SimpleNamespace) -> SimpleNamespace:
    """The program, ready to run on a network (of sigmoids, because it knows no others)."""
    layers = len(network.weights)
    variables: dict[str, Any] = {
        "exp": np.exp,
        "dot": np.dot,
        "transpose": np.transpose,
        "Weights": [w.copy() for w in network.weights],
        "Biases": [b.copy() for b in network.biases],
        "NumLayers": layers,
        "batchsize": len(network.y_in),
        "y_layer": [None] * (layers + 1),
        "df_layer": [None] * layers,
        "dw_layer": [None] * layers,
        "db_layer": [None] * layers,
    }
    exec(SEED_PROGRAM, variables)
    return SimpleNamespace(**variables)


class TestTheFaultsOfTheSeedProgram:
    @pytest.mark.parametrize("batchsize", [1, 7, 8, 100])
    def test_its_hidden_weight_gradients_are_batchsize_times_too_large(
        self, batchsize: int
    ) -> None:
        network = make_network([3, 5, 4, 2], batchsize, ["sigmoid"] * 3)
        seed = seed_program(network)
        seed.apply_net(network.y_in)
        seed.backprop(network.y_target)
        dw_truth, db_truth = complex_step_gradient(network)
        for j, factor in enumerate([batchsize, batchsize, 1]):
            np.testing.assert_allclose(seed.dw_layer[j], factor * dw_truth[j], rtol=1e-10)
            np.testing.assert_allclose(seed.db_layer[j], db_truth[j], rtol=1e-10)

    def test_the_missing_average_is_the_only_difference_of_its_backprop(self) -> None:
        batchsize = 8  # a power of two, by which floating-point numbers are divided exactly
        network = make_network([3, 5, 4, 2], batchsize, ["sigmoid"] * 3)
        seed = seed_program(network)
        seed.apply_net(network.y_in)
        seed.backprop(network.y_target)
        dw_layer, db_layer = lecture.backprop(
            network.y_target, seed.y_layer, seed.df_layer, network.weights
        )
        for j, factor in enumerate([batchsize, batchsize, 1]):
            np.testing.assert_array_equal(seed.dw_layer[j], factor * dw_layer[j])
            np.testing.assert_array_equal(seed.db_layer[j], db_layer[j])

    def test_the_cost_it_prints_is_twice_the_cost_whose_gradient_it_computes(self) -> None:
        network = make_network([3, 5, 2], 7, ["sigmoid"] * 2)
        dw_truth, _ = complex_step_gradient(network)
        true_cost = cost(network, network.weights, network.biases)
        seed = seed_program(network)
        printed = seed.train_net(network.y_in, network.y_target, 0.1)
        assert printed == pytest.approx(2 * true_cost, rel=1e-12)
        np.testing.assert_allclose(seed.dw_layer[-1], dw_truth[-1], rtol=1e-10)
        assert lecture.train_net(
            network.y_in, network.y_target, 0.1, network.weights, network.biases
        ) == pytest.approx(true_cost, rel=1e-12)

    @pytest.mark.parametrize(("dtype", "threshold"), [("float64", 709.78), ("float32", 88.72)])
    def test_its_derivative_is_nan_for_z_below_minus_710(
        self, dtype: str, threshold: float
    ) -> None:
        seed_f_df = seed_program(make_network([1, 1], 1, ["sigmoid"])).net_f_df

        def is_nan(z: float) -> bool:
            with np.errstate(over="ignore", invalid="ignore"):
                return bool(np.isnan(seed_f_df(np.array([z], dtype))[1][0]))

        finite, nan = np.array([-threshold + 1, -threshold - 1], dtype)
        while np.nextafter(finite, nan) != nan:  # halve the interval down to two neighbours
            middle = (finite + nan) / 2
            finite, nan = (finite, middle) if is_nan(middle) else (middle, nan)

        # It is where e⁻ᶻ overflows, which then meets a value that has become zero: ∞ · 0.
        overflow = -float(mpmath.log(mpmath.mpf(float(np.finfo(dtype).max))))
        assert not is_nan(finite)
        assert is_nan(nan)
        assert finite == pytest.approx(overflow, abs=2 * float(np.spacing(np.abs(finite))))
        assert round(-float(finite), 2) == threshold
        assert is_nan(-np.inf)
        with pytest.warns(RuntimeWarning, match=r"overflow|invalid"):
            seed_f_df(np.array([nan], dtype))
        assert np.isfinite(lecture.net_f_df(np.array([finite, nan, -np.inf], dtype))[1]).all()

    def test_its_derivative_is_lost_long_before_it_is_nan(self) -> None:
        z = np.array([-400.0])
        seed_f_df = seed_program(make_network([1, 1], 1, ["sigmoid"])).net_f_df
        truth = mpmath.exp(-400) / (1 + mpmath.exp(-400)) ** 2  # 1.9e-174, a number like any other
        assert seed_f_df(z)[1][0] == 0  # f² has underflowed
        assert lecture.net_f_df(z)[1][0] == pytest.approx(float(truth), rel=1e-15)

    def test_its_dweights_are_the_derivatives_of_the_cost_and_not_of_z_as_its_text_writes(
        self,
    ) -> None:
        network = make_network([3, 2], 5, ["sigmoid"])
        seed = seed_program(network)
        seed.apply_net(network.y_in)
        seed.backprop(network.y_target)
        np.testing.assert_allclose(
            seed.dw_layer[0], complex_step_gradient(network)[0][0], rtol=1e-10
        )

        # ∂z_j/∂w_kj of the text, averaged over the batch, by the complex step as well.
        dz_dw = np.empty((3, 2))
        for k, j in np.ndindex(3, 2):
            w = network.weights[0].astype(complex)
            w[k, j] += 1e-30j
            dz_dw[k, j] = ((network.y_in @ w)[:, j].imag / 1e-30).mean()
        np.testing.assert_allclose(dz_dw, network.y_in.mean(0)[:, None] * [1, 1], rtol=1e-12)
        assert np.abs(dz_dw - seed.dw_layer[0]).max() > 0.1
        # What its text then sets it equal to, ⟨Δ_j y_k⟩, is what it computes.
        y, df = FUNCTIONS["sigmoid"](network.y_in @ network.weights[0] + network.biases[0])
        delta = (y - network.y_target) * df
        np.testing.assert_allclose(
            seed.dw_layer[0], np.einsum("sk,sj->kj", network.y_in, delta) / 5, rtol=1e-12
        )

    def test_its_apply_net_simple_stores_the_input_though_it_says_no_storage(self) -> None:
        network = make_network([3, 4, 2], 5, ["sigmoid"] * 2)
        seed = seed_program(network)
        seed.apply_net(network.y_in)
        seed.backprop(network.y_target)
        right = seed.dw_layer[0]

        elsewhere = network.y_in + 1
        seed.apply_net(network.y_in)
        seed.apply_net_simple(elsewhere)  # a look at other data between the two passes
        assert seed.y_layer[0] is elsewhere
        seed.backprop(network.y_target)
        # The first layer's gradient is now wrong by the stored shift of 1 times Σ Δ.
        np.testing.assert_allclose(
            seed.dw_layer[0] - right, np.tile(5 * seed.db_layer[0], (3, 1)), rtol=1e-10, atol=1e-15
        )
        assert np.abs(seed.dw_layer[0] - right).max() > 1e-3
