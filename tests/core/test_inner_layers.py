"""Layers inside layers: they apply inside `apply`, memory is no child, and build may build them."""

import numpy as np
import pytest

from chainrule import Activation, Dense, Graph, Input, Residual, Sequential, check_layer, load
from chainrule.core import layer_state
from chainrule.core.errors import BuildError, DefinitionError, DtypeError
from chainrule.core.layer import Layer

X = np.random.default_rng(0).normal(size=(6, 5))


class Drops(Layer):
    """Dropout: each entry is kept with probability ½ and doubled; `apply` keeps all."""

    def build(self, input_shape):
        self.draws = self.generator("draws")

    def forward(self, x):
        self.kept = 2.0 * (self.draws.random(x.shape) < 0.5).astype(x.dtype)
        return x * self.kept

    def backward(self, delta):
        return delta * self.kept

    def apply(self, x):
        return +x


class Centers(Layer):
    """Subtracts the mean of the batch in training, the running mean in use."""

    couples_batch = True

    def build(self, input_shape):
        self.mean = self.buffer("mean", input_shape)

    def forward(self, x):
        mean = x.mean(axis=0)
        self.mean.value = 0.5 * self.mean.value + 0.5 * mean
        return x - mean

    def backward(self, delta):
        return delta - delta.mean(axis=0)

    def apply(self, x):
        return x - self.mean.value


class Wraps(Layer):
    """Twice an inner layer; it has the default `apply`."""

    inner: Layer

    def forward(self, x):
        return 2 * self.inner.forward(x)

    def backward(self, delta):
        return self.inner.backward(2 * delta)


class Doubled(Sequential):
    """A sequence whose forward adds something, so it has the default `apply`, too."""

    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, delta):
        return super().backward(2 * delta)


class Unrolled(Layer):
    """Uses its cell three times, and remembers the twins."""

    cell: Layer

    def build(self, input_shape):
        self.cell.build(input_shape)

    def forward(self, x):
        self.steps = [self.cell.twin() for _ in range(3)]
        for step in self.steps:
            x = step.forward(x)
        return x

    def backward(self, delta):
        for step in reversed(self.steps):
            delta = step.backward(delta)
        return delta


def graph_of(layer):
    x = Input((5,))
    return Graph(x, layer(x))


WRAPPERS = {
    "a layer": Wraps,
    "a layer around a layer": lambda inner: Wraps(Wraps(inner)),
    "a layer around a sequence": lambda inner: Wraps(Sequential([inner])),
    "a layer around a graph": lambda inner: Wraps(graph_of(inner)),
    "a sequence with its own forward": lambda inner: Doubled([inner]),
    "a layer around such a sequence": lambda inner: Wraps(Doubled([inner])),
    "a sequence around a layer": lambda inner: Sequential([Wraps(inner)]),
    "a graph around a layer": lambda inner: graph_of(Wraps(inner)),
    "a layer that unrolls": Unrolled,
    "a layer around a layer that unrolls": lambda inner: Wraps(Unrolled(inner)),
    "a layer around a skip connection": lambda inner: Wraps(Residual(inner)),
}
each_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def built(model, seed=0):
    model.build((5,), rng=seed)
    return model


@each_wrapper
def test_a_random_layer_inside_drops_in_training_and_not_in_use(wrap):
    model = built(wrap(Drops()))
    factor = model(np.ones((1, 5)))[0, 0]
    for call in (model, model.apply):
        np.testing.assert_array_equal(call(X), factor * X)
    assert (model.forward(X) == 0).any() or not np.array_equal(model.forward(X), factor * X)


@each_wrapper
def test_running_statistics_inside_are_used_and_not_updated_in_use(wrap):
    model = built(wrap(Centers()))
    for _ in range(3):
        model.forward(X)
    before = model.buffers.value.copy()
    alone = model(X[:1])
    np.testing.assert_allclose(model(X)[:1], alone, rtol=1e-13)
    np.testing.assert_array_equal(model.buffers.value, before)
    assert before.any()


def test_a_layer_that_is_used_twice_inside_applies_in_both_places():
    drops = Drops()
    model = built(Wraps(Sequential([drops, Activation("tanh"), drops])))
    np.testing.assert_array_equal(model(X), 2 * np.tanh(X))


def test_using_a_model_leaves_its_training_pass_alone():
    model = built(Wraps(Sequential([Dense(4), Drops()])))
    y = model.forward(X)
    expected = model.backward(np.ones_like(y))
    model(X[:2])
    np.testing.assert_array_equal(model.backward(np.ones_like(y)), expected)


# ---------------------------------------------------------------- memory is not a child


def test_what_forward_remembers_is_no_child_no_parameter_and_in_no_file(tmp_path):
    model = built(Sequential([Unrolled(Dense(5)), Dense(2)]))
    before = [path for path, _ in model.walk()], model.parameters.paths, model.buffers.size
    y = model.forward(X)
    model.backward(np.ones_like(y))
    assert before == (
        [path for path, _ in model.walk()],
        model.parameters.paths,
        model.buffers.size,
    )
    assert model.parameters.size == 5 * 5 + 5 + 5 * 2 + 2
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", layers=[Unrolled])
    np.testing.assert_array_equal(loaded(X), model(X))
    assert check_layer(Unrolled(Dense(5)), (5,)).ok
    model.forget()
    assert "steps" not in vars(model[0])


def test_a_layer_that_is_remembered_in_every_form_is_no_child():
    class Remembers(Layer):
        def build(self, input_shape):
            self.inner = Dense(3)

        def forward(self, x):
            y = self.inner.forward(x)
            self.last = self.inner
            self.listed = [self.inner.twin(), (self.inner,)]
            self.named = {"a": Dense(4)}
            return y

        def backward(self, delta):
            return self.inner.backward(delta)

    layer = built(Remembers())
    layer.forward(X)
    assert list(layer.children()) == ["inner"] and layer.parameters.size == 18
    assert layer.twin().parameters.size == 18


def test_a_twin_of_an_inner_layer_that_is_not_built_is_refused_with_what_to_do():
    class Forgets(Unrolled):
        def build(self, input_shape):
            pass

    with pytest.raises(BuildError, match="parameters that no model would contain") as caught:
        Forgets(Dense(5)).build((5,))
    assert "in build" in caught.value.hint


# ---------------------------------------------------------------- names of Layer


@pytest.mark.parametrize(
    "name",
    ["twin", "replica", "children", "buffers", "parameters", "dtype", "rng", "forget", "_rng"],
)
def test_setting_an_attribute_that_would_hide_a_name_of_layer_is_a_named_error(name):
    class Hides(Layer):
        def forward(self, x):
            setattr(self, name, x)
            return x

        def backward(self, delta):
            return delta

    with pytest.raises((BuildError, DefinitionError), match=rf"Hides: self\.{name} cannot be set"):
        Hides().forward(X)


@pytest.mark.parametrize("name", ["parameters", "forward", "buffers", "twin", "_dtype"])
def test_a_field_that_would_hide_a_name_of_layer_is_a_named_error(name):
    for body in ({"__annotations__": {name: int}}, {name: 3}):
        with pytest.raises(DefinitionError, match=f"class Hides uses the name '{name}'"):
            type("Hides", (Layer,), body)


def test_what_an_author_may_still_override():
    class Own(Layer):
        couples_batch = True
        accepts_any_shape = True

        @property
        def known_input_shapes(self):
            return ((5,),)

        def forward(self, x):
            self.state = x  # the old name of buffers is free
            return x

        def backward(self, delta):
            return delta

        apply = forward

    assert Own().forward(X) is not None


# ---------------------------------------------------------------- inside build


class BuildsByHand(Layer):
    """Builds its inner network in `build`, by a call of its `build` or of the layer."""

    by_call: bool = False

    def build(self, input_shape):
        self.seen = self.dtype
        self.inner = Sequential([Dense(4), Activation("tanh"), Dense(2)])
        if self.by_call:
            self.inner(np.zeros((1, *input_shape)))  # float64 also in a float32 layer
        else:
            self.inner.build(input_shape)

    def forward(self, x):
        return self.inner.forward(x)

    def backward(self, delta):
        return self.inner.backward(delta)


@pytest.mark.parametrize("by_call", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_inner_network_that_build_builds_has_the_dtype_and_the_generator(by_call, dtype):
    models = [BuildsByHand(by_call) for _ in range(2)]
    for model in models:
        model.build((5,), rng=3, dtype=dtype)
    assert models[0].seen == models[0].inner.dtype == models[0].parameters.value.dtype == dtype
    np.testing.assert_array_equal(models[0].parameters.value, models[1].parameters.value)
    assert models[0].parameters.value.any()
    assert [p.path for p in models[0].parameters] == models[0].parameters.paths
    assert models[0].parameters.paths[0] == "inner/dense_1.weights"


@pytest.mark.parametrize("by_call", [False, True])
def test_a_layer_that_builds_by_hand_passes_all_laws(by_call, tmp_path):
    assert check_layer(BuildsByHand(by_call), (5,)).ok
    model = built(Sequential([BuildsByHand(by_call), Dense(3)]))
    model.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors", layers=[BuildsByHand])
    np.testing.assert_array_equal(loaded(X), model(X))


def test_a_failed_build_leaves_an_inner_layer_that_was_built_by_hand_alone():
    class Fails(Layer):
        inner: Layer

        def build(self, input_shape):
            self.inner.build(input_shape)
            raise ValueError("later")

    layer = Fails(Dense(3))
    with pytest.raises(BuildError, match="later"):
        layer.build((5,), rng=0)
    assert not layer.is_built and not layer.inner.is_built


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", [np.arange(5.0), np.arange(5), np.array(2.0)])
def test_a_buffer_keeps_a_given_array(values, dtype, tmp_path):
    class Weighs(Layer):
        def build(self, input_shape):
            self.factors = self.buffer("factors", values)

        def forward(self, x):
            return x * self.factors.value

        def backward(self, delta):
            return delta * self.factors.value

    layer = Weighs()
    layer.build((5,), dtype=dtype)
    assert layer.factors.dtype == dtype and layer.buffers.size == values.size
    np.testing.assert_array_equal(layer.factors.value, values)
    layer.factors.value = layer.factors.value + 1
    np.testing.assert_array_equal(layer.factors.value, values + 1)  # a copy
    layer.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors", layers=[Weighs])
    np.testing.assert_array_equal(loaded.buffers.value, layer.buffers.value)
    assert check_layer(Weighs(), (5,)).ok


def test_a_buffer_of_complex_numbers_is_refused_with_what_to_do():
    class Rotates(Layer):
        def build(self, input_shape):
            self.buffer("phases", np.ones(3) * 1j)

    with pytest.raises(DtypeError, match="real numbers") as caught:
        Rotates().build((3,))
    assert "real and the imaginary part" in caught.value.hint


# ---------------------------------------------------------------- two rows


class PoolsInThrees(Layer):
    def forward(self, x):
        return x.reshape(len(x), x.shape[1] // 3, 3).max(axis=-1)

    def backward(self, delta):
        return np.repeat(delta, 3, axis=1)


def test_a_misfit_that_an_empty_batch_cannot_show_is_reported_at_build():
    with pytest.raises(BuildError, match="two rows with ValueError: cannot reshape") as caught:
        Sequential([Dense(8), PoolsInThrees()]).build((5,))
    assert caught.value.place == "sequential/pools_in_threes_1"
    built(Sequential([Dense(9), PoolsInThrees()]))


def test_an_error_about_values_is_none_about_shapes():
    class Inverts(Layer):
        def forward(self, x):
            if (x <= 0).any():
                raise ValueError("only positive numbers")
            return np.linalg.inv(x)

        def backward(self, delta):
            return delta

    layer = Inverts()
    layer.build((2, 2))
    assert layer.output_shape == (2, 2)


def test_the_two_rows_leave_no_trace():
    calls = []

    class Counts(Centers):
        def build(self, input_shape):
            super().build(input_shape)
            self.draws = self.generator("draws")

        def forward(self, x):
            calls.append(len(x))
            self.draws.random()
            return super().forward(x + 1)

    one, two = Counts(), Counts()
    one.build((5,), rng=0)
    assert calls == [0, 2] and not one.buffers.value.any()
    two.build((5,), rng=0)
    assert one.draws.random() == two.draws.random() == np.random.default_rng(0).spawn(1)[0].random()


# ---------------------------------------------------------------- integers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.int64, np.uint64])
def test_integers_are_accepted_by_every_pass(kind, dtype):
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(kind)
    model = Sequential([Dense(2), Activation("tanh")])
    model.build((3,), rng=0, dtype=dtype)
    expected = model.forward(x.astype(dtype))
    for call in (model, model.forward, model.apply, model.twin().forward):
        y = call(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected)
    assert model.backward(np.ones_like(expected)).dtype == dtype


def test_a_first_forward_of_integers_builds_for_float64_or_for_the_other_input():
    model = Dense(2)
    assert model.forward(np.array([[1, 2]])).dtype == np.float64

    class Takes(Layer):
        def forward(self, x, mask):
            return x * mask

        def backward(self, delta):
            return delta, np.zeros_like(delta)

    layer = Takes()
    x = np.ones((2, 3), np.float32)
    assert layer.forward(x, np.ones((2, 3), bool)).dtype == layer.dtype == np.float32


def test_a_misfit_of_later_rows_is_reported_too():
    class Pairs(Layer):
        accepts_any_shape = True

        def forward(self, x):
            return x.reshape(len(x), x.shape[1] // 2, 2).mean(axis=-1)

        def backward(self, delta):
            return np.repeat(delta, 2, axis=1) / 2

    model = Sequential([Activation("tanh"), Pairs(), Activation("tanh"), Pairs()])
    model.build((8,))
    assert model(np.ones((3, 4))).shape == (3, 1)
    with pytest.raises(BuildError, match="two rows with ValueError: cannot reshape") as caught:
        model(np.ones((3, 6)))
    assert caught.value.place == "sequential/pairs_2"


def test_the_two_rows_leave_lists_of_the_layer_alone():
    class Counts(Layer):
        def build(self, input_shape):
            self.batches = []

        def forward(self, x):
            self.batches.append(len(x))
            return x

        def backward(self, delta):
            return delta

    layer = Counts()
    layer.build((3,))
    assert layer.batches == [0]


def test_a_layer_with_parameters_that_forward_creates_is_reported_at_build():
    class Creates(Layer):
        def forward(self, x):
            self.inner = Dense(3)
            return self.inner.forward(x)

        def backward(self, delta):
            return self.inner.backward(delta)

    with pytest.raises(BuildError, match="is created in forward") as caught:
        Sequential([Dense(4), Creates()]).build((5,))
    assert caught.value.place == "sequential/creates_1" and "in build" in caught.value.hint


def test_a_layer_without_parameters_may_be_created_in_forward():
    class Creates(Layer):
        def forward(self, x):
            self.function = Activation("tanh")
            return self.function.forward(x)

        def backward(self, delta):
            return self.function.backward(delta)

    assert check_layer(Creates(), (5,)).ok


def test_nested_layers_apply_in_a_single_twin(monkeypatch):
    model = Activation("tanh")
    for _ in range(30):
        model = Wraps(model)
    built(model)
    made = []
    twin = layer_state.twin
    monkeypatch.setattr(layer_state, "twin", lambda *given: made.append(given) or twin(*given))
    np.testing.assert_array_equal(model(X), 2.0**30 * np.tanh(X))
    assert len(made) == 1


def test_wrappers_nested_too_deep_for_the_stack_raise_a_named_error():
    class Around(Layer):
        inner: Layer

        def forward(self, x):
            return self.inner.forward(x)

        def backward(self, delta):
            return self.inner.backward(delta)

    for is_built in (False, True):
        layer = Dense(2)
        if is_built:
            layer.build((5,), rng=0)
        for _ in range(400):
            layer = Around(layer)
        for call in (lambda: layer.build((5,)), lambda: layer.forward(X), lambda: layer(X)):  # noqa: B023
            with pytest.raises(BuildError, match=r"nested too deep.*sys\.setrecursionlimit"):
                call()
        assert not layer.is_built
    shallow = Dense(2)
    for _ in range(20):
        shallow = Around(shallow)
    assert shallow(X).shape == (6, 2)
