"""A subclass of Layer is complete at the end of its ``class`` statement, decorated or not."""

from __future__ import annotations

import abc
import functools
import inspect
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import numpy as np
import pytest
from attrs import define, field, frozen

import chainrule
from chainrule import Dense, Graph, Input, Layer, Sequential, check_layer
from chainrule.core.errors import DefinitionError, ShapeError
from chainrule.core.parameter import Parameter
from chainrule.storage.classes import known_classes

X = np.arange(6.0).reshape(2, 3)


class Scale(Layer):
    """y = s x."""

    start: float = 2.0

    def build(self, input_shape, **options):
        self.scale = self.parameter("scale", input_shape, self.start)

    def forward(self, x):
        self.x = x
        return x * self.scale.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.x).sum(axis=0))
        return delta * self.scale.value

    def apply(self, x):
        return x * self.scale.value


class Shifted(Scale):
    offset: float = 1.0

    def forward(self, x):
        return super().forward(x) + self.offset

    def backward(self, delta):
        return super().backward(delta)

    def apply(self, x):
        return super().apply(x) + self.offset


def body_of(decorate):
    """The same class with and without decorators, such as `define`, that create it again."""

    class Affine(Scale):
        units: int = field(converter=int, validator=attrs.validators.ge(1), kw_only=True)
        names: list[str] = field(factory=list)
        inner: Any = field(init=False)
        hidden: int = field(default=0, repr=False, eq=False)
        couples_batch: ClassVar[bool] = False

        def __attrs_post_init__(self):
            self.inner = self.units + 1

        def forward(self, x):
            self.last = x
            return super().forward(x) + self.units

        def backward(self, delta):
            return super().backward(delta)

        def apply(self, x):
            return super().apply(x) + self.units

        @property
        def twice(self):
            return super().input_shape * 2

        @classmethod
        def three(cls):
            assert super().__new__ is not None
            return cls(units=3)

    return decorate(Affine)


DECORATORS = {
    "none": lambda cls: cls,
    "define": define,
    "define()": define(),
    "define(slots=False)": define(slots=False),
    "define, twice": lambda cls: define(slots=False)(define(slots=False)(cls)),
}
each_decorator = pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)


# ------------------------------------------------------------------------------- the class


def test_a_class_is_complete_before_its_first_instance():
    assert [f.name for f in attrs.fields(Shifted)] == ["start", "offset"]
    assert list(inspect.signature(Shifted).parameters) == ["start", "offset"]
    assert list(inspect.signature(Shifted.build).parameters) == [
        "self", "input_shape", "rng", "dtype",
    ]  # fmt: skip
    before = dict(vars(Shifted))
    layer = Shifted()
    layer.forward(X)
    assert dict(vars(Shifted)) == before
    assert vars(Shifted)["forward"].__wrapped__.__name__ == "forward"
    assert not hasattr(vars(Shifted)["forward"].__wrapped__, "__wrapped__")


@each_decorator
def test_an_explicit_define_changes_nothing(decorate, tmp_path):
    """Fields, repr, equality, saving, the laws: as without it."""
    cls, plain = body_of(decorate), body_of(lambda cls: cls)
    assert [f.name for f in attrs.fields(cls)] == [f.name for f in attrs.fields(plain)]
    assert str(inspect.signature(cls)) == str(inspect.signature(plain))
    layer = cls(1.5, ["a"], units="3")
    assert (layer.units, layer.inner, layer.hidden) == (3, 4, 0)
    assert repr(layer) == "Affine(start=1.5, units=3, names=['a'], inner=4)"
    assert repr(layer) == repr(plain(1.5, ["a"], units=3))
    assert layer == cls(1.5, ["a"], units=3, hidden=5) != cls(1.5, units=3)
    assert layer != cls(1.5, ["a"], units=4) and layer != plain(1.5, ["a"], units=3)
    with pytest.raises(TypeError, match="unhashable"):
        hash(layer)
    layer.units = "7"
    assert layer.units == 7
    for wrong in (lambda: cls(units=0), lambda: setattr(layer, "units", 0)):
        with pytest.raises(ValueError, match="'units' must be >= 1"):
            wrong()
    with pytest.raises(TypeError, match="Affine: 'units' must be given"):
        cls()
    layer = cls.three()
    np.testing.assert_array_equal(layer.forward(X), 2 * X + 3)
    np.testing.assert_array_equal(layer(X), 2 * X + 3)
    np.testing.assert_array_equal(layer.backward(np.ones_like(X)), np.full_like(X, 2))
    assert layer.twice == (3, 3)
    assert check_layer(cls(units=2), (3,), rng=0).ok
    layer.save(tmp_path / "model")
    again = chainrule.load(tmp_path / "model", layers=[cls])
    assert type(again) is cls and again == layer
    for copy in (layer.twin(), layer.unbuilt()):
        assert copy == layer
    layer.forget()
    assert layer == cls(units=3) and not hasattr(layer, "last")


@each_decorator
def test_a_missing_field_is_named(decorate):
    cls = body_of(decorate)
    layer = object.__new__(cls)
    for name in ("inner", "units"):
        with pytest.raises(AttributeError, match=name):
            getattr(layer, name)
    assert decorate is not DECORATORS["none"] or not hasattr(cls, "inner")


@each_decorator
def test_a_file_finds_the_class_and_not_the_one_that_define_replaced(decorate):
    cls = body_of(decorate)
    assert known_classes([])["class"]["Affine"] == [cls]


@pytest.mark.parametrize("decorate", [define, define(slots=False)], ids=["slots", "no slots"])
def test_a_subclass_of_a_decorated_class_may_be_plain_and_the_other_way_round(decorate):
    @decorate
    class First(Scale):
        units: int = 1

        def forward(self, x):
            return super().forward(x) + self.units

    class Second(First):
        more: int = 5

        def forward(self, x):
            return super().forward(x) + self.more

    @decorate
    class Third(Second):
        most: int = 7

    layer = Third(2.0, 1, 5, 8)
    np.testing.assert_array_equal(layer.forward(X), 2 * X + 6)
    np.testing.assert_array_equal(Second()(X), 2 * X + 6)
    assert repr(layer) == "Third(start=2.0, units=1, more=5, most=8)"
    assert Second(3.0, 4) == Second(3.0, 4) != Second(3.0, 5)


def test_options_of_define_work_above_the_class_and_after_its_base_class():
    @define(eq=False, repr=False)
    class Above(Layer):
        units: int = 3

    class Behind(Layer, eq=False, repr=False, kw_only=True):
        units: int = 3

    @define(kw_only=True, repr=True)
    class Long(Layer):
        units: int = 3

    for cls in (Above, Behind):
        layer = cls()
        assert layer == layer != cls() and len({layer, cls()}) == 2
        assert repr(layer) == f"{cls.__name__}()"
    assert repr(Long()) == "Long(units=3)"
    assert Above(4).units == 4
    for cls in (Behind, Long):
        with pytest.raises(TypeError, match="at most 0 arguments may come without a name, not 1"):
            cls(4)
    assert Long(units=3) == Long() != Long(units=4)


@pytest.mark.parametrize("slots", [True, False])
def test_define_may_say_that_what_is_assigned_is_not_converted(slots):
    class Written(Layer):
        units: int = field(default="3", converter=int)

    converts = Written()
    converts.units = "4"
    keeps = define(slots=slots, on_setattr=attrs.setters.NO_OP)(Written)("5")
    assert (converts.units, keeps.units) == (4, 5)
    keeps.units = "6"
    assert keeps.units == "6"


def test_what_attrs_adds_without_annotations_are_fields_too():
    @define
    class Old(Layer):
        units = attrs.field(default=3)

    class New(Layer):
        units = attrs.field(default=3)

    @attrs.define(slots=False, these={"units": attrs.field(default=3)})
    class Given(Layer):
        pass

    for cls in (Old, New, Given):
        assert (cls().units, cls(4).units, repr(cls(4))) == (3, 4, f"{cls.__name__}(units=4)")


@pytest.mark.parametrize("decorate", [frozen, define(frozen=True), frozen(slots=False)])
def test_a_frozen_class_is_rejected_at_its_definition(decorate):
    with pytest.raises(DefinitionError, match="Fixed is frozen") as caught:

        @decorate
        class Fixed(Layer):
            units: int = 3

    assert "class Fixed(Layer):" in caught.value.expected
    with pytest.raises(DefinitionError, match="Fixed is frozen"):

        class Fixed(Layer, frozen=True):
            pass


# ------------------------------------------------------------------------------- what is kept


class Prints(Layer):
    """Its author writes all that attrs would."""

    units: int

    def __init__(self, text):
        self.__attrs_init__(len(text))

    def __repr__(self):
        return f"<{self.units}>"

    def __eq__(self, other):
        return isinstance(other, Prints)

    def forward(self, x):
        return self.units * x


@each_decorator
def test_what_an_author_writes_is_kept_also_in_what_inherits_from_it(decorate):
    @decorate
    class Own(Prints):
        more: int = 7

        def __init__(self, text):
            super().__init__(text)

    @decorate
    class Inherits(Prints):
        more: int = 7

    for cls in (Prints, Own, Inherits):
        layer = cls("four")
        assert (layer.units, repr(layer)) == (4, "<4>")
        assert layer == cls("other") and layer == Prints("four")
        assert getattr(layer, "more", 7) == 7
        np.testing.assert_array_equal(layer(X), 4 * X)


@each_decorator
def test_custom_containers_keep_their_own_init_repr_and_eq(decorate):
    @decorate
    class Chain(Sequential):
        name: str = "chain"

    @decorate
    class Net(Graph):
        pass

    chain = Chain([Dense(2), Dense(3)], name="other")
    assert repr(chain) == "Chain([Dense(2), Dense(3)])" and chain.name == "other"
    assert chain == Chain([Dense(2), Dense(3)], name="other") != Chain([Dense(2), Dense(3)])
    x = Input((3,))
    assert repr(Net(x, Dense(3)(x))).startswith("Net: input → dense_1")
    assert Net(x, Dense(3)(x)) == Net(x, Dense(3)(x)) != Graph(x, Dense(3)(x))
    assert chain(X).shape == Net(x, Dense(3)(x))(X).shape == (2, 3)


def test_a_class_that_inherits_nothing_but_configuration_keeps_the_rest():
    class Narrow(Dense):
        pass

    layer = Narrow(3)
    assert repr(layer) == "Narrow(3)" and layer == Narrow(3) != Dense(3)
    assert layer(X).shape == (2, 3)


def test_a_mixin_may_come_first_or_last_and_bring_methods_and_a_repr():
    class Doubling:
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            return 2 * delta

        def __repr__(self):
            return "doubles"

    class First(Doubling, Layer):
        units: int = 3

    class Again(First):
        more: int = 4

    for layer in (First(), Again(1, 2)):
        assert repr(layer) == "doubles"
        np.testing.assert_array_equal(layer.backward(layer.forward(X)), 4 * X)
        with pytest.raises(ShapeError):
            layer.forward(X[:, :2])
    assert Doubling().forward(1) == 2 and "forward" in vars(First)


def test_an_attrs_class_that_is_not_a_layer_can_be_a_mixin():
    @define(slots=False)
    class Named:
        name: str = "x"

    class Both(Named, Scale):
        units: int = 3

    layer = Both()
    assert {f.name for f in attrs.fields(Both)} == {"name", "start", "units"}
    assert repr(Both(name="y")) == "Both(start=2.0, name='y', units=3)"
    np.testing.assert_array_equal(layer(X), 2 * X)


def test_abstract_and_generic_layers():
    T = TypeVar("T")

    class Abstract(Layer, abc.ABC):
        power: int = 2

        @abc.abstractmethod
        def forward(self, x): ...

    class Concrete(Abstract):
        def forward(self, x):
            return x**self.power

    class Holds(Layer, Generic[T]):
        value: T

        def forward(self, x):
            return x * self.value

    class HoldsMore(Holds[float]):
        more: float = 1.0

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
    np.testing.assert_array_equal(Concrete(3)(X), X**3)
    np.testing.assert_array_equal(HoldsMore(3.0)(X), 3 * X)
    assert repr(Holds[int](3)) == "Holds(value=3)"


def test_slots_of_an_authors_own_are_allowed():
    class Slotted(Layer):
        __slots__ = ("kept",)
        units: int = 3

        def forward(self, x):
            self.kept = x
            return +x

    layer = Slotted()
    layer.forward(X)
    assert layer.kept is X and "kept" not in vars(layer)


# ------------------------------------------------------------------------------- the methods


def test_no_method_is_wrapped_twice():
    def depth(method):
        count = 0
        while hasattr(method, "__wrapped__"):
            method, count = method.__wrapped__, count + 1
        return count

    for cls in (Scale, Shifted, *(body_of(d) for d in DECORATORS.values()), Dense, Sequential):
        for name in ("build", "forward", "apply", "backward", "backward_parameters"):
            assert depth(getattr(cls, name)) == 1, (cls, name)


def test_methods_of_other_layers_can_be_borrowed():
    class Borrows(Layer):
        forward = Scale.forward
        apply = Scale.forward
        backward = functools.wraps(Scale.backward)(lambda self, d: 3 * Scale.backward(self, d))

        def build(self, input_shape):
            self.scale = self.parameter("scale", input_shape, 2.0)

    layer = Borrows()
    np.testing.assert_array_equal(layer.forward(X), 2 * X)
    np.testing.assert_array_equal(layer.backward(X), 6 * X)
    for call in (layer.forward, layer.apply):
        with pytest.raises(ShapeError):
            call(X[:, :2])
    with pytest.raises(ShapeError):
        layer.backward(X[:1])


@each_decorator
def test_apply_and_backward_parameters_follow_an_overridden_method(decorate):
    @decorate
    class Tripled(Dense):
        def forward(self, x):
            return 3 * super().forward(x)

        def backward(self, delta):
            return super().backward(3 * delta)

    layer = Tripled(2)
    layer.build((3,), rng=0)
    y = layer.forward(X)
    np.testing.assert_array_equal(layer(X), y)
    layer.backward_parameters(np.ones_like(y))
    np.testing.assert_allclose(layer.weights.grad, 3 * X.T @ np.ones((2, 2)))


def test_build_may_name_its_options():
    seen = []

    class Named(Layer):
        def build(self, input_shape, *, rng=None, **options):
            seen.append((rng, options))
            self.w = self.parameter("w", input_shape, "glorot_uniform")

        def forward(self, x):
            return x * self.w.value

    class Inherits(Named):
        def build(self, input_shape, **options):
            super().build(input_shape, **options)

    for cls in (Named, Inherits):
        layer = cls()
        layer.build((3, 2), rng=0, dtype="float32")
        assert layer.dtype == np.float32 and layer.parameters.paths == ["w"]
        assert {"rng", "dtype"} <= set(inspect.signature(cls.build).parameters)
    assert seen == [(None, {})] * 2


# ------------------------------------------------------------------------------- attributes


def test_a_new_parameter_buffer_or_generator_can_be_assigned_to_its_name():
    class Noisy(Layer):
        def build(self, input_shape):
            self.scale = self.parameter("scale", input_shape, "ones")
            self.mean = self.buffer("mean", input_shape)
            self.coin = self.generator("coin")

        def forward(self, x):
            return x * self.scale.value

    layer = Noisy()
    layer.build((3,), rng=0)
    assert layer.parameters.paths == ["scale"] and layer.buffers.paths == ["mean"]
    assert list(layer.generators) == ["coin"]


@each_decorator
def test_properties_and_setters_of_an_author_work(decorate):
    log = []

    @decorate
    class Watched(Scale):
        units: int = 1

        def __setattr__(self, name, value):
            log.append(name)
            super().__setattr__(name, value)

        @property
        def rate(self):
            return self._rate

        @rate.setter
        def rate(self, value):
            self._rate = 2 * value

    layer = Watched()
    layer.rate = 3
    assert layer.rate == 6 and "rate" not in vars(layer) and log[-2:] == ["rate", "_rate"]
    layer.forward(X)
    with pytest.raises(DefinitionError, match="which a plain ndarray cannot replace"):
        layer.scale = np.ones(3)
    with pytest.raises(DefinitionError, match="would hide a property of Layer"):
        layer.dtype = np.float64


@pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
def test_a_parameter_is_guarded_also_where_attrs_validates(decorate):
    layer = body_of(decorate)(units=3)
    layer.forward(X)
    with pytest.raises(DefinitionError, match="which a plain ndarray cannot replace"):
        layer.scale = np.ones(3)
    layer.scale = layer.scale
    layer.units = "5"
    assert layer.units == 5


def test_an_option_that_attrs_does_not_know_is_named():
    with pytest.raises(DefinitionError, match="the class Typo has an invalid option: kwonly"):

        class Typo(Layer, kwonly=True):
            pass


def test_a_parameter_is_not_declared_as_a_field():
    with pytest.raises(
        DefinitionError, match="declares the parameter 'weights' as a field"
    ) as caught:

        class Declares(Layer):
            weights: Parameter

    assert "self.weights = self.parameter" in str(caught.value.hint)
