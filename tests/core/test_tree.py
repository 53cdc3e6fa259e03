"""The tree of layers: names, the walk, and copies with replacements."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.layer import Layer
from chainrule.core.tree import join, numbered, snake_case


@define(eq=False)
class Leaf(Layer):
    """A layer with one parameter, which shows whether it is reached."""

    def build(self, input_shape):
        self.parameter("shift", input_shape, "normal")

    def forward(self, x):
        return x + self.shift.value

    def backward(self, delta):
        self.shift.accumulate(delta.sum(axis=0))
        return delta


@define(eq=False)
class Holder(Layer):
    """The sum of all layers inside it, wherever they are held."""

    first: Any = None
    second: Any = None

    def forward(self, x):
        return sum((layer.forward(x) for layer in self.children().values()), 0 * x)

    def backward(self, delta):
        return sum((layer.backward(delta) for layer in self.children().values()), 0 * delta)


class Pair(NamedTuple):
    left: Any
    right: Any


class Layers(list):
    """A custom list."""


def two() -> tuple[Leaf, Leaf]:
    return Leaf(), Leaf()


HOLDING = {
    "attributes": (lambda a, b: Holder(a, b), ["first", "second"]),
    "a list": (lambda a, b: Holder([a, b]), ["leaf_1", "leaf_2"]),
    "a list with other things": (lambda a, b: Holder([None, a, "x", b, 3]), ["leaf_1", "leaf_2"]),
    "a tuple": (lambda a, b: Holder((a, b)), ["leaf_1", "leaf_2"]),
    "a dictionary": (lambda a, b: Holder({"up": a, 2: b, "n": 1}), ["up", "2"]),
    "two lists": (lambda a, b: Holder([a], [b]), ["leaf_1", "second_leaf_1"]),
    "two dictionaries": (lambda a, b: Holder({"up": a}, {"up": b}), ["up", "second_up"]),
    "a list and an attribute": (lambda a, b: Holder([a], b), ["leaf_1", "second"]),
    "a named tuple": (lambda a, b: Holder(Pair(a, b)), ["leaf_1", "leaf_2"]),
    "a custom list": (lambda a, b: Holder(Layers([a, b])), ["leaf_1", "leaf_2"]),
    "an ordered dictionary": (lambda a, b: Holder(OrderedDict(up=a, down=b)), ["up", "down"]),
    "lists in a list": (lambda a, b: Holder([[a, 3], [(b,)]]), ["leaf_1", "leaf_2"]),
    "dictionaries in a list": (lambda a, b: Holder([{"x": a}, {"x": b}]), ["leaf_1", "leaf_2"]),
    "lists in a dictionary": (
        lambda a, b: Holder({"up": [a], "on": [b]}),
        ["up_leaf_1", "on_leaf_1"],
    ),
    "keys that look like paths": (lambda a, b: Holder({"x/y": a, "": b}), ["x_y", "_"]),
    "a dictionary in another": (lambda a, b: Holder({"up": {"x": a, "y": b}}), ["up_x", "up_y"]),
    "a defaultdict": (lambda a, b: Holder(defaultdict(list, up=a, down=b)), ["up", "down"]),
}
each_way_of_holding = pytest.mark.parametrize(("make", "names"), HOLDING.values(), ids=HOLDING)


@each_way_of_holding
def test_every_layer_is_found_and_named_wherever_it_is_held(make, names):
    a, b = two()
    holder = make(a, b)
    assert list(holder.children()) == names
    assert [id(child) for child in holder.children().values()] == [id(a), id(b)]
    holder.build((3,), rng=0)
    assert holder.parameters.paths == [f"{name}.shift" for name in names]
    np.testing.assert_array_equal(
        holder.parameters.value, np.concatenate([a.shift.value, b.shift.value])
    )


@each_way_of_holding
def test_a_twin_has_its_own_layers_wherever_they_are_held(make, names):
    holder = make(*two())
    holder.build((3,), rng=0)
    twin = holder.twin()
    for field_name in ("first", "second"):
        assert type(getattr(twin, field_name)) is type(getattr(holder, field_name))
    for (path, one), (other_path, other) in zip(holder.walk(), twin.walk(), strict=True):
        assert path == other_path and one is not other and type(one) is type(other)
    for one, other in zip(holder.parameters, twin.parameters, strict=True):
        assert one is other
    x = np.ones((2, 3))
    np.testing.assert_array_equal(twin(x), holder(x))


def test_layers_created_by_build_are_found_too():
    class Deep(Layer):
        def build(self, input_shape):
            self.inner = [Leaf() for _ in range(3)]

        def forward(self, x):
            for layer in self.inner:
                x = layer.forward(x)
            return x

        def backward(self, delta):
            for layer in reversed(self.inner):
                delta = layer.backward(delta)
            return delta

    models = [Deep(), Deep()]
    for model in models:
        model.build((2,), rng=7, dtype="float32")
    assert models[0].parameters.paths == [f"leaf_{n}.shift" for n in (1, 2, 3)]
    assert models[0].parameters.value.dtype == np.float32
    np.testing.assert_array_equal(models[0].parameters.value, models[1].parameters.value)
    assert models[0].parameters.value.any()
    assert models[0].unbuilt().children() == {}


def test_the_walk_visits_parents_before_children_in_order():
    a, b, c, d = Leaf(), Leaf(), Leaf(), Leaf()
    inner = Holder([b, c])
    root = Holder([a, inner, d])
    assert [(path, id(layer)) for path, layer in root.walk()] == [
        ("", id(root)),
        ("leaf_1", id(a)),
        ("holder_1", id(inner)),
        ("holder_1/leaf_1", id(b)),
        ("holder_1/leaf_2", id(c)),
        ("leaf_2", id(d)),
    ]


def test_a_layer_in_two_places_is_visited_in_both_and_copied_once():
    shared = Leaf()
    root = Holder(shared, [shared])
    assert [path for path, _ in root.walk()] == ["", "first", "leaf_1"]
    copy = root.rebuilt({})
    assert copy.first is copy.second[0] and copy.first is not shared


def test_layers_nested_five_thousand_deep_are_walked_and_copied():
    root = Leaf()
    for _ in range(5000):
        root = Holder(root)
    copy = root.rebuilt({})
    depth = 0
    while isinstance(copy, Holder):
        copy, depth = copy.first, depth + 1
    assert depth == 5000
    assert sum(1 for _ in root.walk()) == 5001


def test_a_copy_can_replace_objects():
    class Keeps(Layer):
        table: Any
        names: Any = field(factory=dict)

        def forward(self, x):
            return +x

    old, new = object(), object()
    layer = Keeps([old, (old, {"a": old})], {"b": {old}})
    copy = layer.rebuilt({id(old): new})
    assert copy.table == [new, (new, {"a": new})] and copy.names == {"b": {new}}
    assert layer.table == [old, (old, {"a": old})]
    assert copy.table is not layer.table


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dense", "dense"),
        ("TwoPaths", "two_paths"),
        ("MLP", "mlp"),
        ("HTTPLayer2D", "http_layer2_d"),
    ],
)
def test_class_names_become_names_of_layers(name, expected):
    assert snake_case(name) == expected


@given(st.lists(st.sampled_from(["Dense", "Activation", "Softmax"])))
def test_numbered_names_are_unique_and_count_each_class_from_one(class_names):
    names = numbered(class_names)
    assert len(set(names)) == len(class_names)
    for kind in set(class_names):
        mine = [n for n, c in zip(names, class_names, strict=True) if c == kind]
        assert mine == [f"{kind.lower()}_{k + 1}" for k in range(len(mine))]


def test_paths_are_joined_by_slashes():
    assert (join("", "a"), join("a", "b"), join("a/b", "c")) == ("a", "a/b", "a/b/c")
