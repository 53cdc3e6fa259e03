"""The output layer: the one that gives a number for each class or each target.

    given    Sequential([Dense(30), Activation("tanh")])
    fitted   Sequential([Dense(30), Activation("tanh"), Dense(3)])      for three classes

A model that ends with a `Dense`, or with a `Softmax`, has its own, which must have the right width.
"""

from __future__ import annotations

import copy
from typing import Any

from attrs import frozen

from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of, not_a_layer
from chainrule.graph.plan import Plan
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense
from chainrule.layers.softmax import Softmax

HIDDEN = 100
"""The width of the hidden layer if no model is given, as in scikit-learn's MLPClassifier."""


@frozen
class Network:
    """A network with its output layer.

    Attributes
    ----------
    layers
        The network, not built yet.
    width
        The number of its outputs.
    gives_probabilities
        Whether it ends with a Softmax.
    """

    layers: Layer
    width: int
    gives_probabilities: bool


def network_for(
    given: Any, features: int, widths: tuple[int, ...], meaning: str, place: str
) -> Network:
    """A copy of a model, with an output layer.

    Parameters
    ----------
    given
        The model, not built yet; None for one hidden layer of 100.
    features
        The width of a row of the inputs.
    widths
        The numbers of outputs that are possible, the one to add first.
    meaning
        What the outputs are, for errors: ``"3 classes"``.
    place
        The estimator, for errors.

    Raises
    ------
    DefinitionError
        The model is not a layer.
    ConfigurationError
        The model is built already.
    ShapeError
        The model does not take such rows, does not end with a vector, or has an output layer of
        another width.
    """
    if given is None:
        given = Sequential([Dense(HIDDEN), Activation("relu")])
    if not isinstance(given, Layer):
        raise not_a_layer(place, given, "model=None, or a layer that is not built yet")
    if given.is_built:
        raise ConfigurationError(
            f"{place}: the model is built already, and every fit starts with a new one",
            expected="a model that is not built yet",
            received=f"one with {given.parameters.size:,} parameters",
            hint="model.unbuilt()",
        )
    tried = copy.deepcopy(given)
    tried.build((features,), rng=0)
    if len(tried.output_shapes) != 1 or len(tried.output_shape) != 1:
        raise ShapeError(
            f"{place}: the model does not end with one vector for each row",
            expected="(batch, n)",
            received=", ".join(map(batch_of, tried.output_shapes)),
            hint="end with Flatten()" if len(tried.output_shapes) == 1 else "one output",
        )
    last, width = _last_layer(tried), tried.output_shape[0]
    if not isinstance(last, Dense | Softmax):
        return Network(_extended(copy.deepcopy(given), Dense(widths[0])), widths[0], False)
    if width not in widths:
        raise ShapeError(
            f"{place}: the output layer does not have the right width",
            place=repr(last),
            expected=f"{' or '.join(map(str, widths))}, for {meaning}",
            received=f"{width}",
            hint="leave out the output layer, and it is added; a hidden Dense is followed by an "
            "Activation",
        )
    return Network(copy.deepcopy(given), width, isinstance(last, Softmax))


def _last_layer(model: Layer) -> Layer:
    """The layer of a built model that its output comes from."""
    plan = Plan.of(model)
    return next(step.layer for step in plan.steps if plan.outputs[0] in step.makes)


def _extended(model: Layer, layer: Layer) -> Layer:
    before = model.layers if type(model) is Sequential else [model]
    return Sequential([*before, layer])
