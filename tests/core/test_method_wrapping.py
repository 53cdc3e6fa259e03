"""What runs around a layer's methods: building completely or not at all, and checking arrays."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import pytest
from attrs import field, frozen

from chainrule.core.errors import (
    BackwardBeforeForwardError,
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    DtypeError,
    ShapeError,
)
from chainrule.core.layer import Layer
from chainrule.core.layer_state import field_names
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense
from chainrule.layers.softmax import Softmax
from laws.unusual_layers import BatchNorm, Dropout, Halves, Product

X = np.arange(6.0).reshape(2, 3)


def built(layer, *shapes, **how):
    layer.build(*(shapes or ((3,),)), **{"rng": 0, **how})
    return layer


def everything(layer):
    """Everything in a layer and those inside it: identities, and the numbers in arrays."""
    found = []
    for path, part in layer.walk():
        for name, value in part.attributes().items():
            if name != "_unrolled":  # how a sequence is gone through, worked out at first use
                found.append((path, name, id(value)))
        for parameter in (*part._parameters.values(), *part._buffers.values()):
            found.append((path, parameter.value.tobytes(), parameter.grad.tobytes()))
        for name, generator in part._generators.items():
            found.append((path, name, str(generator.bit_generator.state)))
    return found


def refused(kind, layer, call, *arguments):
    """The error of a call that must be rejected and change nothing."""
    before = everything(layer)
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert everything(layer) == before
    assert isinstance(caught.value, ChainruleError)
    return caught.value


# ------------------------------------------------------------------------------- the class


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_missing_method_is_named(method):
    class Half(Layer):
        if method == "backward":

            def forward(self, x):
                return +x

    layer = Half()
    with pytest.raises(DefinitionError, match=f"Half has no {method}"):
        layer.build((3,))
        layer.forward(X)
        layer.backward(X)


def test_methods_can_be_defined_in_any_way_python_allows():
    def doubled(method):
        @functools.wraps(method)
        def wrapper(self, *arguments):
            return 2 * method(self, *arguments)

        return wrapper

    class Odd(Layer):
        forward = lambda self, x: 3 * x  # noqa: E731

        @doubled
        def backward(self, delta):
            return 1.5 * delta

        backward_parameters = backward

    layer = built(Odd())
    np.testing.assert_array_equal(layer.forward(X), 3 * X)
    np.testing.assert_array_equal(layer.backward(X), 3 * X)
    for call in (layer.backward, layer.backward_parameters):
        refused(ShapeError, layer, call, X[:1])


class Grandparent(Layer):
    def build(self, input_shape):
        self.parameter("scale", input_shape, 2.0)

    def forward(self, x):
        self.x = x
        return x * self.scale.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.x).sum(axis=0))
        return delta * self.scale.value

    def apply(self, x):
        return x * self.scale.value


class Child(Grandparent):
    shift: float = 1.0

    def build(self, input_shape):
        super().build(input_shape)
        self.parameter("offset", input_shape, 5.0)

    def forward(self, x):
        return super().forward(x) + self.offset.value

    def backward(self, delta):
        self.offset.accumulate(delta.sum(axis=0))
        return super().backward(delta)

    def apply(self, x):
        return super().apply(x) + self.offset.value


def test_a_subclass_can_call_the_methods_of_its_parent():
    layer = Child()
    np.testing.assert_array_equal(layer(X), 2 * X + 5)
    np.testing.assert_array_equal(layer.forward(X), 2 * X + 5)
    np.testing.assert_array_equal(layer.backward(np.ones_like(X)), np.full_like(X, 2))
    assert layer.parameters.paths == ["scale", "offset"]
    np.testing.assert_array_equal(layer.scale.grad, X.sum(axis=0))
    np.testing.assert_array_equal(layer.offset.grad, [2, 2, 2])
    refused(ShapeError, layer, layer.forward, X[:, :2])
    refused(ShapeError, layer, layer.backward, X[:1])


def test_methods_of_a_mixin_belong_to_the_layer():
    class Doubling:
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            return 2 * delta

    class Doubles(Doubling, Layer):
        pass

    class DoublesAgain(Doubles):
        pass

    for layer in (Doubles(), DoublesAgain()):
        np.testing.assert_array_equal(layer.forward(X), 2 * X)
        np.testing.assert_array_equal(layer.backward(X), 2 * X)
        assert layer.input_shape == (3,)
        refused(ShapeError, layer, layer.forward, X[:, :2])
        refused(ShapeError, layer, layer.backward, X[:1])
    assert Doubling().forward(X[0, 0]) == 0  # and the mixin itself is as it was


def test_the_signature_of_build_is_that_of_the_author_with_rng_and_dtype():
    built(Child())
    assert list(inspect.signature(Child.build).parameters) == [
        "self",
        "input_shape",
        "rng",
        "dtype",
    ]


# ------------------------------------------------------------------------------- inputs


WRONG_INPUTS = {
    "too wide": (np.ones((2, 4)), ShapeError),
    "too narrow": (np.ones((2, 2)), ShapeError),
    "one row": (np.ones(3), ShapeError),
    "a number": (np.ones(()), ShapeError),
    "too many axes": (np.ones((2, 3, 1)), ShapeError),
    "transposed": (X.T, ShapeError),
    "float32": (X.astype(np.float32), DtypeError),
    "float16": (X.astype(np.float16), DtypeError),
    "objects": (X.astype(object), DtypeError),
    "strings": (X.astype(str), DtypeError),
    "bytes": (X.astype(bytes), DtypeError),
    "complex numbers": (X * 1j, DtypeError),
    "the other byte order": (X.astype(">f8"), DtypeError),
    "a list": (X.tolist(), DtypeError),
    "nothing": (None, DtypeError),
    "a plain number": (1.0, DtypeError),
    "a string": ("abc", DtypeError),
}
MODELS = {
    "dense": lambda: Dense(2),
    "activation first": lambda: Sequential([Activation("tanh"), Dense(2), Activation("tanh")]),
    "dense first": lambda: Sequential([Dense(4), Sequential([Activation("tanh"), Dense(2)])]),
    "with state": lambda: Sequential([BatchNorm(), Dropout(), Dense(2)]),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@each_model
@pytest.mark.parametrize(("x", "kind"), WRONG_INPUTS.values(), ids=WRONG_INPUTS)
def test_an_input_that_does_not_fit_is_rejected_and_nothing_changes(make, x, kind):
    model = built(make())
    y = model.forward(X)
    model.backward(np.ones_like(y))
    for call in (model.forward, model.apply):
        error = refused(kind, model, call, x)
        assert error.expected is not None and error.received is not None
    model.backward(np.ones_like(y))  # still along the last forward pass that was none in vain


@each_model
@pytest.mark.parametrize("x", [x for x, kind in WRONG_INPUTS.values()], ids=WRONG_INPUTS)
def test_an_unbuilt_model_that_rejects_its_first_batch_stays_unbuilt(make, x):
    model = make()
    try:
        model.forward(x)
    except ChainruleError:
        assert not model.is_built
        assert not any(set(part.__dict__) - field_names(type(part)) for _, part in model.walk())
    else:  # there are shapes and types among them for which a new model can be built
        assert model.input_shape == x.shape[1:] and model.dtype == x.dtype
        assert x.dtype in (np.float32, np.float64)


def test_the_error_for_a_wrong_shape_has_place_expected_received_and_hint():
    model = built(Sequential([Dense(5), Sequential([Activation("tanh"), Dense(2)])]))
    error = refused(ShapeError, model, model.forward, np.ones((7, 31)))
    assert "the input has the wrong width" in str(error)
    assert error.expected == "(batch, …, 3)" and error.place == "sequential/dense_1"
    assert error.received == "(7, 31), produced by input"
    assert "unbuilt()" in error.hint
    assert refused(ShapeError, model, model.forward, np.ones(3)).hint.endswith("x[np.newaxis]")
    flattened = refused(ShapeError, model, model.forward, np.ones((4, 3, 1)))
    assert flattened.hint == "x.reshape(len(x), 3)" and "wrong width" in str(flattened)
    dtype = refused(DtypeError, model, model.forward, np.ones((2, 3), np.float32))
    assert (dtype.expected, dtype.received) == (np.float64, np.float32)
    assert dtype.hint == "x.astype('float64'), or build the model for float32"
    assert "newaxis" not in refused(DtypeError, model, model.forward, X * 1j).hint


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_wrong_number_of_inputs_is_rejected(number):
    layer = built(Product(), (3,), (3,))
    error = refused(ShapeError, layer, layer.forward, *[X] * number)
    assert "wrong number of inputs" in str(error)
    unbuilt = Product()
    refused(BuildError, unbuilt, unbuilt.forward, *[X] * number)
    assert not unbuilt.is_built


def test_inputs_of_different_types_build_nothing():
    layer = Product()
    refused(DtypeError, layer, layer.forward, X, X.astype(np.float32))
    assert not layer.is_built


@pytest.mark.parametrize(
    "x", [[[1, 2, 3], [4, 5, 6]], ((1, 2, 3), (4, 5, 6)), X.astype(int) + 1, X.astype("f2") + 1]
)
def test_calling_a_layer_converts_what_is_real(x):
    layer = built(Grandparent())
    expected = 2 * np.arange(1.0, 7.0).reshape(2, 3)
    y = layer(x)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, expected)
    single = built(Grandparent(), dtype="float32")(x)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, expected)


@pytest.mark.parametrize(
    "x", [[[1, 2, 3], [4, 5]], "abc", None, [[1j, 0, 0]], [["a", "b", "c"]], X.astype(object), {}]
)
def test_calling_a_layer_rejects_what_is_not_real(x):
    layer = built(Grandparent())
    error = refused(DtypeError, layer, layer, x)
    assert "Grandparent" in str(error) and error.received is not None


def test_arrays_of_other_libraries_are_converted_by_a_call_and_rejected_by_forward():
    class Foreign:
        """Like a tensor of PyTorch: it has a dtype, but not one of NumPy."""

        dtype, shape = "their float64", (2, 3)

        def __array__(self, dtype=None, copy=None):
            return X.copy()

    layer = built(Grandparent())
    np.testing.assert_array_equal(layer(Foreign()), 2 * X)
    refused(DtypeError, layer, layer.forward, Foreign())


# ------------------------------------------------------------------------------- the backward pass


def test_backward_before_forward_is_a_named_error():
    for layer in (built(Dense(2)), built(Sequential([Dense(2)])), Dense(2)):
        for call in (layer.backward, layer.backward_parameters):
            for delta in (np.ones((2, 2)), 1.0, (X, X)):
                error = refused(BackwardBeforeForwardError, layer, call, delta)
                assert "forward(x) first" in error.expected
    layer = built(Dense(2))
    layer(X)
    layer.apply(X)
    refused(BackwardBeforeForwardError, layer, layer.backward, np.ones((2, 2)))
    layer.forward(X)
    layer.forget()
    refused(BackwardBeforeForwardError, layer, layer.backward, np.ones((2, 2)))


@each_model
@pytest.mark.parametrize(
    "delta", [np.ones((2, 3)), np.ones((1, 2)), np.ones((3, 2)), np.ones(2), np.ones((2, 2, 1))]
)
def test_a_delta_of_the_wrong_shape_or_batch_is_rejected_and_nothing_changes(make, delta):
    model = built(make())
    model.forward(X)
    for call in (model.backward, model.backward_parameters):
        error = refused(ShapeError, model, call, delta)
        assert error.expected == (2, 2) and str(delta.shape) in str(error.received)
        assert "∂C/∂y" in error.hint


@pytest.mark.parametrize("delta", [1.0, [[1.0, 1.0], [1.0, 1.0]], None, "abc"])
def test_a_delta_that_is_not_an_array_is_rejected(delta):
    model = built(Dense(2))
    model.forward(X)
    error = refused(DtypeError, model, model.backward, delta)
    assert error.received == type(delta).__name__


def test_the_delta_of_several_outputs_is_a_tuple_of_their_shapes():
    layer = built(Halves(), (5,))
    left, right = layer.forward(np.ones((2, 5)))
    assert layer.output_shapes == ((2,), (3,))
    assert layer.backward((left, right)).shape == (2, 5)
    refused(ShapeError, layer, layer.backward, (right, left))
    refused(ShapeError, layer, layer.backward, (left,))
    for wrong in (left, [left, right], (left, 1.0)):
        refused(ChainruleError, layer, layer.backward, wrong)


def test_a_float64_delta_in_a_float32_model_is_rejected_and_nothing_changes():
    model = built(Sequential([Dense(4), Activation("tanh"), Dense(2)]), dtype="float32")
    for zero in (False, True):
        y = model.forward(X.astype(np.float32))
        if zero:
            model.parameters.zero_grad()
        refused(DtypeError, model, model.backward, np.ones(y.shape))


# ------------------------------------------------------------------------------- building


def test_build_takes_shapes_a_seed_and_a_type():
    layer = Dense(2)
    layer.build([3], rng=np.random.default_rng(5), dtype=np.float32)
    assert (layer.input_shape, layer.output_shape, layer.dtype) == ((3,), (2,), np.float32)
    other = Dense(2)
    other.build((np.int64(3),), rng=5, dtype="float32")
    np.testing.assert_array_equal(layer.weights.value, other.weights.value)
    assert not np.array_equal(layer.weights.value, built(Dense(2), rng=6).weights.value)


def test_without_a_seed_every_model_is_different():
    one, two = (built(Dense(2), rng=None) for _ in range(2))
    assert not np.array_equal(one.weights.value, two.weights.value)


def test_a_generator_continues_from_one_model_to_the_next():
    rng = np.random.default_rng(0)
    one, two = (built(Dense(2), rng=rng) for _ in range(2))
    assert not np.array_equal(one.weights.value, two.weights.value)


@pytest.mark.parametrize("shape", [3, "3", ("a",), (-1,), (2.5,), None, 3.0])
def test_an_invalid_shape_is_rejected(shape):
    layer = Dense(2)
    error = refused(ShapeError, layer, layer.build, shape)
    assert "tuple of integers" in error.expected
    assert (error.hint == "(3,)") == (shape == 3 and isinstance(shape, int))


@pytest.mark.parametrize("rng", ["seed", -1, 1.5, True, [1, "a"], np.random])
def test_an_invalid_seed_is_rejected(rng):
    layer = Dense(2)
    error = refused(ConfigurationError, layer, lambda: layer.build((3,), rng=rng))
    assert "numpy.random.Generator" in error.expected


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex128", ">f8", "no type", 3, object])
def test_only_float32_and_float64_can_be_built_for(dtype):
    layer = Dense(2)
    error = refused(DtypeError, layer, lambda: layer.build((3,), dtype=dtype))
    assert error.expected == "'float32' or 'float64'"


@pytest.mark.parametrize("shapes", [(), ((3,), (3,)), ((3,), (3,), (3,))])
def test_a_wrong_number_of_shapes_is_rejected(shapes):
    for layer in (Dense(2), Sequential([Dense(2)])):
        refused(BuildError, layer, layer.build, *shapes)
    error = refused(BuildError, (layer := Dense(2)), layer.build, *shapes)
    assert "input_shape" in error.expected and "build(" in error.received


def test_building_twice_is_rejected_and_unbuilt_is_the_hint():
    layer = built(Dense(2))
    error = refused(BuildError, layer, layer.build, (4,))
    assert "unbuilt()" in error.hint
    again = built(layer.unbuilt(), (4,))
    assert (again.input_shape, layer.input_shape) == ((4,), (3,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_batch_determines_shape_and_dtype(dtype):
    for use in (Layer.forward, Layer.apply, Layer.__call__):
        model = Sequential([Dense(4), Activation("tanh"), Dense(2)])
        y = use(model, X.astype(dtype)) if use is Layer.__call__ else None
        if use is Layer.forward:
            y = model.forward(X.astype(dtype))
        if use is Layer.apply:
            y = model.apply(X.astype(dtype))
        assert y.dtype == model.dtype == dtype and y.shape == (2, 2)
        assert model.input_shape == (3,) and model.parameters.value.dtype == dtype


def test_a_first_batch_of_integers_makes_a_float64_model():
    model = Dense(2)
    assert model([[1, 2, 3]]).shape == (1, 2)
    assert model.dtype == np.float64


class Fails(Layer):
    """Changes many things in `build`, then fails."""

    inner: Any = field(factory=lambda: [Dense(2), Dense(2)])
    units: int | None = None
    how: str = "build"

    def build(self, input_shape):
        self.units = input_shape[0]
        self.parameter("weights", input_shape)
        self.buffer("mean", input_shape)
        self.generator("coin")
        self.extra = Dense(3)
        self.inner[0].build(input_shape)
        if self.how == "build":
            raise KeyError("no")

    def forward(self, x):
        self.remembered = x
        x = self.inner[1].forward(self.inner[0].forward(x))
        if self.how == "forward":
            raise IndexError("no")
        if self.how == "interrupted":
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize(
    ("how", "kind"),
    [("build", BuildError), ("forward", BuildError), ("interrupted", KeyboardInterrupt)],
)
def test_a_build_that_fails_leaves_all_layers_as_they_were(how, kind):
    first = built(BatchNorm())
    failing = Fails(how=how)
    model = Sequential([first, Dense(3), failing])
    before = everything(model)
    with pytest.raises(kind):
        model.build((3,), rng=0)
    assert everything(model) == before
    assert failing.units is None
    for part in (failing, *failing.inner):
        assert set(part.__dict__) == field_names(type(part))
    assert first.is_built and not model.is_built
    model.layers[2].how = ""
    model.build((3,), rng=0)  # and it can be repaired


def test_the_error_of_a_failing_build_says_where_and_why():
    with pytest.raises(BuildError) as caught:
        Sequential([Dense(3), Fails()]).build((2,))
    assert caught.value.place == "sequential/fails_1"
    assert "build fails with KeyError" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(
        BuildError, match="forward fails on an empty batch with IndexError"
    ) as caught:
        Fails(how="forward").build((2,))
    assert isinstance(caught.value.__cause__, IndexError)


def test_an_error_in_forward_after_building_is_unchanged_but_has_its_place():
    class Touchy(Layer):
        def forward(self, x):
            if len(x):
                raise ZeroDivisionError("one row too many")
            return +x

    model = built(Sequential([Dense(3), Sequential([Touchy()])]))
    for call in (model.forward, model.apply):
        with pytest.raises(ZeroDivisionError) as caught:
            call(X)
        assert any("sequential/sequential_1/touchy_1" in note for note in caught.value.__notes__)
        assert any("(2, 3)" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    "result", [None, 3.0, np.ones(3), np.ones((1, 3)), [np.ones((0, 3))], (), np.float64(1)]
)
def test_a_forward_that_does_not_keep_the_batch_is_rejected(result):
    class Careless(Layer):
        def forward(self, x):
            return result

    layer = Careless()
    error = refused(BuildError, layer, layer.build, (3,))
    assert "one row for each row" in str(error)


@pytest.mark.parametrize("where", ["build", "__attrs_post_init__"])
def test_plain_arrays_where_parameters_belong_are_rejected(where):
    def set_them(self, *_):
        self.weights = np.zeros((3, 2))

    careless = type("Careless", (Layer,), {where: set_them, "forward": lambda self, x: +x})
    layer = careless()
    error = refused(DefinitionError, layer, layer.build, (3,))
    assert "self.weights to a plain array" in str(error)
    assert error.received == "ndarray of shape (3, 2), float64"
    assert 'self.parameter("weights", (3, 2), "glorot_uniform")' in error.hint


@pytest.mark.parametrize("array", [np.zeros((3, 2)), [[0.0] * 2] * 3, None, 0.0])
def test_a_parameter_and_its_shape_cannot_be_replaced(array):
    for layer, name in ((Dense(2), "weights"), (Child(), "scale"), (Grandparent(), "scale")):
        built(layer)
        parameter = getattr(layer, name)
        error = refused(DefinitionError, layer, setattr, layer, name, array)
        assert f"self.{name}.value = …" in error.hint
        assert getattr(layer, name) is parameter
    layer = Dense(2)
    layer.weights = array  # not built: nothing is lost


def test_a_parameter_of_another_layer_can_be_shared_by_assigning_it_in_build():
    class Reversed(Layer):
        other: Dense

        def build(self, input_shape):
            self.weights = self.other.weights

        def forward(self, x):
            self.x = x
            return x @ self.weights.value.T

        def backward(self, delta):
            self.weights.accumulate(delta.T @ self.x)
            return delta @ self.weights.value

    there = Dense(2, use_bias=False)
    model = built(Sequential([there, Reversed(there)]))
    assert model.parameters.size == 6
    w, delta = there.weights.value, np.ones_like(X)
    np.testing.assert_allclose(model.forward(X), X @ w @ w.T, rtol=1e-15)
    model.backward(delta)
    np.testing.assert_allclose(
        there.weights.grad, X.T @ delta @ w + delta.T @ X @ w, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize(
    "name", ["two words", "", "1st", 3, None, "_rng", "forward", "units", "parameters", "taken"]
)
@pytest.mark.parametrize("what", ["parameter", "buffer", "generator"])
def test_an_invalid_or_taken_name_is_rejected(what, name):
    class Named(Layer):
        units: int = 3

        def build(self, input_shape):
            self.parameter("taken", input_shape)
            shape = () if what == "generator" else (input_shape,)
            getattr(self, what)(name, *shape)

        def forward(self, x):
            return +x

    layer = Named()
    refused(DefinitionError, layer, layer.build, (3,))


def test_parameters_are_created_only_while_building():
    layer = built(Dense(2))
    for call in (
        lambda: layer.parameter("more", (3,)),
        lambda: layer.buffer("more", (3,)),
        lambda: layer.generator("more"),
        lambda: layer.rng,
    ):
        error = refused(BuildError, layer, call)
        assert "build(self, input_shape)" in error.hint


def test_an_empty_batch_gives_the_shapes_and_changes_no_buffer_and_no_generator():
    class Running(Layer):
        """A plain running mean: the mean of no rows is not a number."""

        def build(self, input_shape):
            self.buffer("mean", input_shape, 0.25)
            self.generator("coin")

        def forward(self, x):
            self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(axis=0)
            self.draw = self.coin.random()
            return x - self.mean.value

        def backward(self, delta):
            return +delta

    alone, inside, deep = Running(), Running(), Running()
    built(alone)
    model = built(Sequential([alone, inside, Sequential([Dense(3), deep])]))
    np.testing.assert_array_equal(model.buffers.value, np.full(9, 0.25))
    spawning = np.random.default_rng(0)
    first, second = (spawning.spawn(1)[0].random() for _ in range(2))
    for layer, draw in ((alone, first), (inside, first), (deep, second)):
        layer.forward(X)
        assert layer.draw == draw


def test_building_issues_no_warnings_about_the_empty_batch():
    class Standardized(Layer):
        def forward(self, x):
            return (x - x.mean(axis=0)) / x.std(axis=0)

    built(Standardized())  # pytest turns warnings into errors


def test_attributes_of_an_unbuilt_layer_raise_errors_that_say_what_to_do():
    layer = Dense(2)
    for name in ("dtype", "input_shape", "input_shapes", "output_shape", "parameters"):
        with pytest.raises(BuildError, match="not built yet") as caught:
            getattr(layer, name)
        assert "build(input_shape)" in caught.value.hint
    with pytest.raises(AttributeError, match=r"Dense has no attribute 'weights'.*not built yet"):
        _ = layer.weights
    assert not hasattr(built(layer), "probabilities")
    with pytest.raises(AttributeError, match="call forward first"):
        _ = layer.inputs


def test_a_layer_with_several_inputs_has_input_shapes_and_no_input_shape():
    layer = built(Product(), (3,), (3,))
    assert layer.input_shapes == ((3,), (3,)) and layer.output_shape == (3,)
    with pytest.raises(ShapeError, match="2 inputs, not one"):
        _ = layer.input_shape


def test_only_layers_that_declare_it_accept_rows_of_any_shape():
    for layer in (Activation("tanh"), Softmax(), Sequential([Activation("tanh"), Softmax()])):
        built(layer)
        assert layer.forward(np.ones((2, 4, 5))).shape == (2, 4, 5)
    mixed = built(Sequential([Activation("tanh"), Grandparent()]))
    refused(ShapeError, mixed, mixed.forward, np.ones((2, 4)))


def test_a_frozen_attrs_object_can_be_a_field():
    @frozen
    class Settings:
        power: int

    class Power(Layer):
        settings: Settings

        def forward(self, x):
            return x**self.settings.power

    layer = Power(Settings(2))
    np.testing.assert_array_equal(layer(X), X**2)
    assert layer.twin().settings is layer.settings


@pytest.mark.parametrize(
    ("name", "words"),
    [("zero_grad", "parameters.zero_grad()"), ("weight", "weights"), ("cuda", "on the CPU")],
)
def test_what_other_libraries_call_it_is_named_by_what_to_use_here(name, words):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': that is") as caught:
        getattr(built(Dense(2)), name)
    assert words in str(caught.value)


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(
        AttributeError, match=r"no attribute 'paramters': did you mean 'parameters'"
    ):
        _ = built(Dense(2)).paramters
