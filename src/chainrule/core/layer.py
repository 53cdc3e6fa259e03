"""The layer: two methods of plain NumPy.

A layer computes y = f(x; θ) for a batch of rows x with its parameters θ. Backpropagation needs
two things of it, and they are its two methods:

    forward(x)        returns y = f(x; θ), and remembers what the way back needs
    backward(delta)   is given  Δ = ∂C/∂y  and returns  ∂C/∂x = Jᵀ Δ  with  J = ∂y/∂x;
                      on the way it adds  ∂C/∂θ = (∂y/∂θ)ᵀ Δ  to each parameter's gradient

A network is layers one behind the other, so its backward pass is the chain rule: the delta that
comes out of one layer goes into the one before. That is all of it. A layer of one's own is

    class Linear(Layer):
        units: int                                              # fields are configuration

        def build(self, input_shape):                           # the shape of one row
            shape = (*input_shape, self.units)
            self.weights = self.parameter("weights", shape, "glorot_uniform")

        def forward(self, inputs):                              # (batch, n_in) -> (batch, units)
            self.inputs = inputs                                # remembered for the way back
            return inputs @ self.weights.value

        def backward(self, delta):                              # (batch, units) -> (batch, n_in)
            self.weights.accumulate(self.inputs.T @ delta)
            return delta @ self.weights.value.T

What flows through the two methods decides what comes out: arrays give values and gradients,
`Dual` numbers exact derivatives along a direction, an empty batch the shape of the output. The
one rule for it: call ``np.*`` on what you are given, create arrays with ``like=`` or
``zeros_like``, never force an input with ``np.asarray``, never write into an input.
"""

from __future__ import annotations

import reprlib
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    Self,
    TypeVar,
    dataclass_transform,
    overload,
)

import attrs
import numpy as np
import numpy.typing as npt

from chainrule.core import (
    building,
    class_definition,
    initializers,
    input_checks,
    layer_state,
    messages,
    method_wrapping,
    ownership,
    tree,
)
from chainrule.core.deprecation import renamed_attribute
from chainrule.core.equations import Equations, unknown
from chainrule.core.errors import DefinitionError
from chainrule.core.initializers import Initializer
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.tree import Tree
from chainrule.core.types import Shape

Called = TypeVar("Called", covariant=True)


class Extendable(Protocol[Called]):
    """What a layer can be called on instead of arrays: the node of a graph."""

    def extended_by(self, layer: Any, inputs: Any, /) -> Called:
        """What calling the layer on these inputs gives."""


@dataclass_transform(field_specifiers=(attrs.field,))
class Layer(Tree):
    """What every layer is.

    Subclass it, and write

    * ``forward(self, *inputs)``: the training pass; set on ``self`` what backward needs;
    * ``backward(self, delta)``: Jᵀ delta, for several inputs a tuple; accumulates the gradients;
    * optionally ``build(self, *input_shapes)``: create parameters with `parameter`;
    * optionally ``apply(self, *inputs)``: inference, where it differs or can be had for less.

    The class is an attrs class by itself (see `chainrule.core.class_definition`). Its annotated
    fields, such as ``units: int`` or ``rate: float = attrs.field(default=0.5, kw_only=True)``, are
    the layer's configuration: its repr, its equality and what is saved. Options of `attrs.define`
    follow the name, ``class Scale(Layer, kw_only=True)``; an explicit ``@define`` above the class
    does the same. With ``repr=False`` a layer prints like ``Dense(30)``, without what is default.
    An ``__init__``, ``__repr__`` or ``__eq__`` that is written in the class, or in one that it
    inherits from, is kept.

    The layer's state is two things: its parameters, which are shared with its twins, and its
    memory of the last forward pass, which is private.

    Around these methods (see `chainrule.core.method_wrapping`) every layer builds itself at its
    first batch, refuses inputs that it was not built for and deltas that do not fit its last
    output, and stays as it was where building fails.
    """

    couples_batch: ClassVar[bool] = False
    """True says that rows of a batch see each other, as in batch normalization."""
    accepts_any_shape: ClassVar[bool] = False
    """True says that the layer works on rows of any shape, whatever it was built for."""

    # What a layer knows of itself. Class attributes stand for "nothing yet".
    _dtype: np.dtype[Any] | None = None
    _rng: np.random.Generator | None = None
    _input_shapes: tuple[Shape, ...] | None = None
    _output_shapes: tuple[Shape, ...] = ()
    _delta_shape: Any = None  # of the delta that fits the last forward pass
    _place: Any = None  # where it stands: see `chainrule.core.ownership`
    _initial: frozenset[str] = frozenset()  # the attributes that were there before build
    _lasting: frozenset[str] = frozenset()  # the attributes that are not memory
    _parameters: dict[str, Parameter] = {}  # noqa: RUF012 - replaced, never changed
    _buffers: dict[str, Parameter] = {}  # noqa: RUF012
    _generators: dict[str, np.random.Generator] = {}  # noqa: RUF012
    _begins_frozen: bool = False  # whether what build makes is frozen

    # What `chainrule.core.class_definition` notes of a class.
    _handwritten: ClassVar[dict[str, Any]] = {}  # of __init__, __repr__ and __eq__
    _guarded: ClassVar[frozenset[str]] = frozenset()  # attributes that are not simply stored
    _store = object.__setattr__  # stores those: a function of attrs, where it runs validators

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        class_definition.define(cls, options)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        class_definition.finish(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        # Every `forward` comes here. The dictionary is asked itself: `__getattr__` below makes
        # each look-up by `self.` several times slower.
        attributes = self.__dict__
        if name in type(self)._guarded or name in attributes.get("_parameters", ()):
            class_definition.set_guarded(self, name, value)
        else:
            attributes[name] = value

    # ---------------------------------------------------------------- what an author writes

    # To type checkers, (*arguments: Any, **options: Any) is a signature that any other overrides:
    # an author's methods take the inputs of his own layer. None of them is called with options.

    def build(self, *input_shapes: Any, **options: Any) -> None:
        """Create the parameters for inputs of these shapes, which do not count the batch axis.

        An author writes ``build(self, input_shape)``, or one shape for each input, and calls
        `parameter` in it. Type checkers see what a caller may add where the author also declares
        ``**options: Any``. A caller may add ``rng=`` (a seed or a Generator; fresh randomness if
        not given) and ``dtype=`` (``"float32"`` or ``"float64"``, the default). After `build`, an
        empty batch is sent through `forward` to learn the shape of the output.

        Raises
        ------
        BuildError
            Where the layer is built already, or its `build` or `forward` fails; the layer is then
            as it was before.
        """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The training pass: y = f(x; θ). Remembers on ``self`` what `backward` needs."""
        raise DefinitionError(f"{type(self).__name__} has no forward", hint="write it")

    def backward(self, delta: Any, /) -> Any:
        """The vector-Jacobian product ∂C/∂x = Jᵀ delta; adds to each parameter's gradient."""
        raise DefinitionError(f"{type(self).__name__} has no backward", hint="write it")

    def apply(self, *inputs: Any, **options: Any) -> Any:
        """Inference: y = f(x; θ), with nothing remembered. By default `forward` of a twin."""
        return self.twin().forward(*inputs)

    def backward_parameters(self, delta: Any, /) -> None:
        """`backward` where nobody asks for ∂C/∂x, as in the first layer of a network.

        A layer may save that product here. The default is `backward`.
        """
        self.backward(delta)

    def equations(self) -> Equations:
        """The layer on paper, for `chainrule.explain`: see `chainrule.core.equations`.

        The default says what holds for any layer: y = f(x) and ∂C/∂x = J_fᵀ Δ.
        """
        return unknown(self)

    # ---------------------------------------------------------------- what an author calls

    def parameter(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create a parameter in `build` and set it as ``self.<name>``.

        Write ``self.weights = self.parameter("weights", …)``: so readers and type checkers see
        the attribute.

        Parameters
        ----------
        name
            What it is called, an identifier such as ``"weights"``.
        shape
            The shape of the array.
        initializer
            A name such as ``"glorot_uniform"``, a number, or an `Initializer`.
        """
        created = building.create(self, name, shape, initializers.get(initializer))
        self._parameters = {**self._parameters, name: created}
        return created

    def buffer(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create an array in `build` that is kept but not learned, such as a running mean.

        Like a parameter it is ``self.<name>``, shared by twins and stored in files; no optimizer
        sees it.

        Parameters
        ----------
        name, shape, initializer
            As for `parameter`.
        """
        created = building.create(self, name, shape, initializers.get(initializer))
        self._buffers = {**self._buffers, name: created}
        return created

    state = renamed_attribute(
        "_state_by_old_name",
        advice="layer.buffers, or layer.buffer(name, shape) to create one",
        removed_in="0.3",
    )

    @property
    def _state_by_old_name(self) -> building.StateByOldName:
        return building.StateByOldName(self)

    def generator(self, name: str) -> np.random.Generator:
        """Create a random generator in `build`; from then on it is ``self.<name>``.

        It is spawned from the one given to `build`, so that a seed repeats the layer's draws.
        """
        spawned = self.rng.spawn(1)[0]
        building.refuse_name(self, name)
        setattr(self, name, spawned)
        self._generators = {**self._generators, name: spawned}
        return spawned

    @property
    def rng(self) -> np.random.Generator:
        """The generator given to `build`, while the layer is being built."""
        if self._rng is None:
            raise messages.not_building(self)
        return self._rng

    # ---------------------------------------------------------------- what a layer knows

    @property
    def is_built(self) -> bool:
        """Whether the parameters are there."""
        return self._input_shapes is not None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers that it was built for: float32 or float64."""
        return messages.require_built(self)._dtype  # type: ignore[return-value]

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """The shape of a row of each input, without the batch axis."""
        return messages.require_built(self)._input_shapes or ()

    @property
    def input_shape(self) -> Shape:
        """The shape of a row of the only input."""
        return messages.only(self, "input", self.input_shapes)

    @property
    def known_input_shapes(self) -> tuple[Shape, ...] | None:
        """The shapes to build for where `build` is given none, if the layer knows them."""
        return None

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """The shape of a row of each output, without the batch axis."""
        return messages.require_built(self)._output_shapes

    @property
    def output_shape(self) -> Shape:
        """The shape of a row of the only output."""
        return messages.only(self, "output", self.output_shapes)

    @property
    def parameters(self) -> ParameterVector:
        """All that is learned, here and in the layers below, as one flat vector."""
        return ParameterVector(self._collected("_parameters"), self.dtype)

    @property
    def buffers(self) -> ParameterVector:
        """All that is kept but not learned, here and in the layers below, as one flat vector."""
        return ParameterVector(self._collected("_buffers"), self._dtype or np.float64)

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators, here and in the layers below, by path."""
        return self._collected("_generators")

    def _collected(self, kind: str) -> dict[str, Any]:
        return {
            f"{path}.{name}" if path else name: part
            for path, layer in self.walk()
            for name, part in getattr(layer, kind).items()
        }

    # ---------------------------------------------------------------- what a caller does

    @overload
    def __call__(self, *inputs: Extendable[Called]) -> Called: ...
    @overload
    def __call__(self, *inputs: npt.ArrayLike) -> npt.NDArray[Any]: ...

    def __call__(self, *inputs: Any) -> Any:
        """Inference on anything that NumPy takes for an array of real numbers: see `apply`.

        Called on nodes of a graph, such as ``Input((64,))``, it gives a node: see `Graph`.

        A layer with several outputs returns a tuple of arrays. Type checkers cannot know how many
        outputs a layer has and infer one array; ``a, b = model(x)`` passes them without a cast.
        """
        for node in inputs:
            if hasattr(node, "extended_by"):
                return node.extended_by(self, inputs)
        return self.apply(*input_checks.as_inputs(self, inputs))

    def save(self, path: Any) -> None:
        """Write the layer to one file, from which `chainrule.load` makes it again."""
        from chainrule import storage  # the one way down the house, for the sake of model.save

        storage.save(self, path)

    def save_weights(self, path: Any) -> None:
        """Write the numbers alone to a file, for a model that is made in another way."""
        from chainrule import storage

        storage.save_weights(self, path)

    def load_weights(self, path: Any) -> None:
        """Bring the numbers of a file into the layer, if they are those of its paths and shapes."""
        from chainrule import storage

        storage.load_weights(self, path)

    def freeze(self) -> Self:
        """Keep all parameters, here and in the layers below, as they are; returns the layer.

        What is frozen takes no part in training: no gradient is computed for it, nor a delta that
        only it would need, and a `Trainer` does not change a bit of it, whatever its optimizer
        remembers. `backward` still returns ∂C/∂x, and a derivative is what it is: the functions of
        `chainrule.derivatives` and `check_layer` look at all parameters.

        States, such as running means, are no parameters, and `forward` goes on with them.

        A layer that is not built yet is built with frozen parameters. It is the parameter that is
        frozen (see `Parameter.trainable`), so twins and shared layers are frozen along with it;
        copies and pickles stay frozen, while `unbuilt`, and files, begin with all of it trainable.

        In a loop of one's own, ``optimizer.descend(model.parameters)`` leaves out what is frozen;
        ``optimizer.step(value, gradient)`` sees two vectors and cannot.
        """
        return self._set_trainable(False)

    def unfreeze(self) -> Self:
        """Let all parameters, here and in the layers below, learn again; returns the layer."""
        return self._set_trainable(True)

    def _set_trainable(self, trainable: bool) -> Self:
        for _, layer in self.walk():
            for parameter in layer._parameters.values():
                parameter.trainable = trainable
            if not layer.is_built:
                layer.__dict__["_begins_frozen"] = not trainable
        return self

    def twin(self) -> Self:
        """The same layer in another place: the same parameters, a memory of its own."""
        return self.rebuilt({}, keep=self._lasting_parts())

    def unbuilt(self) -> Self:
        """A layer with the same configuration that is not built yet."""
        return self.rebuilt(
            {}, keep={id(part): layer_state.initial(part) for _, part in self.walk()}
        )

    def forget(self) -> None:
        """Let go of the memory of the last forward pass."""
        for _, layer in self.walk():
            lasting = (
                layer_state.field_names(type(layer))
                | layer_state.lasting(layer)
                | layer_state.RECORD
            )
            for name in set(layer.__dict__) - lasting:
                del layer.__dict__[name]
            layer.__dict__.pop("_delta_shape", None)
            if layer._place is ownership.BY_ITSELF:
                del layer.__dict__["_place"]

    def replica(self, parts: dict[int, Any]) -> Self:
        """A twin in which other objects stand for some parameters, states or generators.

        Parameters
        ----------
        parts
            What shall stand for an object, by the object's ``id``.
        """
        return self.rebuilt(parts, keep=self._lasting_parts())

    def _lasting_parts(self) -> dict[int, frozenset[str]]:
        known = layer_state.KNOWN_EVERYWHERE
        return {id(layer): layer_state.lasting(layer) | known for _, layer in self.walk()}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        parts = layer_state.copied_parts(self, memo)
        copy = self.replica(parts)
        memo.update(parts)
        memo[id(self)] = copy
        return copy

    def __copy__(self) -> Self:
        return self.twin()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # What attrs would pickle is the fields alone: the weights would be lost without a word.
        kept = layer_state.lasting(self) | layer_state.KNOWN_EVERYWHERE - {"_rng"}
        fields = layer_state.field_names(type(self))
        parts = {k: v for k, v in self.attributes().items() if k in fields or k in kept}
        return layer_state.restored, (type(self), parts)

    if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any misspelled name

        def __getattr__(self, name: str) -> Any:
            raise messages.missing(self, name)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return messages.full_repr(self)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(
            key(getattr(self, field.name)) == key(getattr(other, field.name))
            for field in tree.fields_of(type(self))
            if field.eq
            for key in [field.eq_key or (lambda value: value)]
        )

    __hash__ = None  # type: ignore[assignment]


method_wrapping.prepare(Layer)
