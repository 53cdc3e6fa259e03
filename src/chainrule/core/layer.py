"""The layer: two methods of plain NumPy.

A layer computes y = f(x; θ) for a batch of rows x, with parameters θ. For backpropagation it needs
two methods:

    forward(x)        returns  y = f(x; θ)  and remembers what backward needs
    backward(delta)   receives  Δ = ∂C/∂y  and returns  ∂C/∂x = Jᵀ Δ  with  J = ∂y/∂x;
                      it also adds  ∂C/∂θ = (∂y/∂θ)ᵀ Δ  to the gradient of each parameter

A network is a sequence of layers, so its backward pass is the chain rule: the delta that a layer
returns is the delta that the layer before it receives. That is the whole idea. You write your own
layer like this:

    from chainrule import Layer, check_layer

    class Linear(Layer):
        units: int                                              # fields are configuration

        def build(self, input_shape):                           # the shape of one row
            shape = (*input_shape, self.units)
            self.weights = self.parameter("weights", shape, "glorot_uniform")

        def forward(self, inputs):                              # (batch, n_in) -> (batch, units)
            self.inputs = inputs                                # remembered for backward
            return inputs @ self.weights.value                  # y = x w

        def backward(self, delta):                              # (batch, units) -> (batch, n_in)
            self.weights.accumulate(self.inputs.T @ delta)      # ∂C/∂w = xᵀ Δ
            return delta @ self.weights.value.T                 # ∂C/∂x = Δ wᵀ

    print(check_layer(Linear(3), (4,)))                         # checks every derivative

The first batch builds the layer: `build` creates the parameters, for rows of the batch's shape.
Then ``layer.forward(x)`` and ``layer.backward(delta)`` train it, and ``layer(x)`` uses it without
remembering anything. Sequences and graphs of layers are layers too, so a whole network has the same
methods.

What you send through the two methods determines what you get: arrays give values and gradients,
`Dual` numbers give exact derivatives along a direction, an empty batch gives the shape of the
output. For this to work, call ``np.*`` on the inputs, create arrays with ``like=`` or
``zeros_like``, never convert an input with ``np.asarray``, and never write into an input.
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

from chainrule.core import (
    arrays,
    building,
    class_definition,
    hints,
    initializers,
    input_checks,
    layer_state,
    messages,
    method_wrapping,
)
from chainrule.core.deprecation import renamed_attribute
from chainrule.core.equations import Equations, unknown
from chainrule.core.errors import DefinitionError
from chainrule.core.initializers import Initializer
from chainrule.core.labels import labelled_like
from chainrule.core.open_axes import with_sizes
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.tree import Tree, full_repr
from chainrule.core.types import FloatArray, RowPattern, Shape

if TYPE_CHECKING:
    import numpy.typing as npt

Called = TypeVar("Called", covariant=True)


class Extendable(Protocol[Called]):
    """What a layer can be called on instead of arrays: a node of a graph."""

    def extended_by(self, layer: Any, inputs: Any, /) -> Called:
        """The result of calling the layer on these inputs: another node."""


@dataclass_transform(field_specifiers=(attrs.field,))
class Layer(Tree):
    """The base class of all layers.

    Subclass it and write

    * ``forward(self, *inputs)``: the training pass; sets on ``self`` what `backward` needs;
    * ``backward(self, delta)``: returns Jᵀ delta, a tuple if there are several inputs, and adds to
      the gradients of the parameters;
    * optionally ``build(self, *input_shapes)``: creates the parameters with `parameter`;
    * optionally ``apply(self, *inputs)``: inference, if it differs from `forward` or is cheaper.

    The annotated fields of the class, such as ``units: int`` or
    ``rate: float = attrs.field(default=0.5, kw_only=True)``, are the layer's configuration. Its
    repr, its equality and what is saved come from them. The class becomes an attrs class
    automatically. Options such as ``kw_only``, ``repr`` and ``eq`` follow the base class, as in
    ``class Scale(Layer, kw_only=True)``. An explicit ``@define`` above the class is allowed, too.
    With ``repr=False`` a layer prints like ``Dense(30)``, without the fields that have their
    default. An ``__init__``, ``__repr__`` or ``__eq__`` that you write, in the class or in one that
    it inherits from, is kept.

    The state of a layer has two parts: its parameters and buffers, which it shares with its twins,
    and its memory of the last forward pass, which is private.

    Every layer builds itself for its first batch, and rejects inputs that it was not built for and
    deltas that do not fit its last output. A layer whose build fails is unchanged.
    `chainrule.core.method_wrapping` describes how.
    """

    couples_batch: ClassVar[bool] = False
    """True declares that the rows of a batch affect each other, as in batch normalization."""
    noise_is_linear: ClassVar[bool] = True
    """False declares that the mean output of a layer that draws is not what `apply` returns."""
    accepts_any_shape: ClassVar[bool] = False
    """True declares that the layer works on rows of any shape that `build` accepts, whatever it was
    built for; see `accepted_shapes`."""

    # ---------------------------------------------------------------- what an author writes

    # For type checkers, any signature overrides (*arguments: Any, **options: Any), so an author's
    # methods can take just the inputs of the layer. None of them is called with options.

    def build(self, *input_shapes: Any, **options: Any) -> None:
        """Create the parameters for rows of these shapes, which do not include the batch axis.

        An author writes ``build(self, input_shape)``, or one shape for each input, and calls
        `parameter` in it. A caller can also pass ``rng=`` (a seed or a Generator; by default fresh
        randomness) and ``dtype=`` (``"float32"`` or ``"float64"``, the default); type checkers see
        these only if the author declares ``**options: Any`` too. After `build`, an empty batch is
        sent through `forward` to find the shape of the output.

        Raises
        ------
        BuildError
            If the layer is already built, or its `build` or `forward` fails. The layer is then
            unchanged.
        """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The training pass: returns y = f(x; θ) and sets on ``self`` what `backward` needs."""
        raise DefinitionError(
            f"{type(self).__name__} has no forward", hint="write forward(self, inputs)"
        )

    def backward(self, delta: Any, /) -> Any:
        """The vector-Jacobian product ∂C/∂x = Jᵀ delta; adds to the gradient of each parameter."""
        raise DefinitionError(
            f"{type(self).__name__} has no backward", hint="write backward(self, delta)"
        )

    def apply(self, *inputs: Any, **options: Any) -> Any:
        """Inference: returns y = f(x; θ) and remembers nothing.

        By default `forward` of a twin in which every inner layer applies: its `forward` is its
        `apply`. So a layer around a `Dropout` drops only in training.
        """
        if self._applies:  # it is inside such a twin, which no one else uses
            return method_wrapping.own_forward(self)(*inputs)
        return layer_state.applying(self).forward(*inputs)

    def backward_parameters(self, delta: Any, /) -> None:
        """`backward` without ∂C/∂x, which the first layer of a network does not need.

        The default calls `backward`. Override it if leaving ∂C/∂x out saves time.
        """
        self.backward(delta)

    def equations(self) -> Equations:
        """The formulas of the layer, for `chainrule.explain`: see `chainrule.core.equations`.

        The default is what holds for any layer: y = f(x) and ∂C/∂x = J_fᵀ Δ.
        """
        return unknown(self)

    # ---------------------------------------------------------------- what an author calls in build

    def parameter(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create a parameter and set it as ``self.<name>``; for use in `build`.

        Write ``self.weights = self.parameter("weights", …)``, so that readers and type checkers see
        the attribute.

        Parameters
        ----------
        name
            Its name, an identifier such as ``"weights"``.
        shape
            The shape of the array.
        initializer
            A name such as ``"glorot_uniform"``, a number, or an `Initializer`.
        """
        created = building.create(self, name, shape, initializers.get(initializer))
        self.__dict__["_parameters"] = {**self._parameters, name: created}
        return created

    def buffer(
        self,
        name: str,
        shape: RowPattern | FloatArray,
        initializer: str | float | Initializer = "zeros",
    ) -> Parameter:
        """Create an array that is kept but not learned, such as a running mean; for use in `build`.

        Like a parameter, it is ``self.<name>``, shared by twins and stored in files, but no
        optimizer changes it.

        Parameters
        ----------
        name, initializer
            As for `parameter`.
        shape
            The shape of the array; or an array, such as a fixed filter, which is copied in the
            layer's dtype. None is an axis whose size changes with the value that `forward` assigns,
            and is 0 at the start and after `reset`: a state that is carried from batch to batch is
            ``(None, units)``.
        """
        values = building.initial_values(self, shape, initializer)
        created = building.create(self, name, *values, may_be_open=True)
        self.__dict__["_buffers"] = {**self._buffers, name: created}
        return created

    def generator(self, name: str) -> np.random.Generator:
        """Create a random generator and set it as ``self.<name>``; for use in `build`.

        It is spawned from the generator given to `build`, so a seed makes its draws reproducible.
        """
        spawned = self.rng.spawn(1)[0]
        building.refuse_name(self, name)
        setattr(self, name, spawned)
        self.__dict__["_generators"] = {**self._generators, name: spawned}
        return spawned

    @property
    def rng(self) -> np.random.Generator:
        """The generator given to `build`, available only while the layer is being built."""
        if self._rng is None:
            raise messages.not_building(self)
        return self._rng

    # ---------------------------------------------------------------- what a user calls

    @overload
    def __call__(self, *inputs: Extendable[Called]) -> Called: ...
    @overload
    def __call__(self, *inputs: npt.ArrayLike) -> npt.NDArray[Any]: ...

    @hints.hinted
    def __call__(self, *inputs: Any) -> Any:
        """Inference, `apply`, on anything that NumPy can convert to an array of real numbers.

        The layers see your arrays as read-only, and the result is an array of its own.

        Called on nodes of a graph, such as ``Input((64,))``, it returns a node: see `Graph`.

        A layer with several outputs returns a tuple of arrays. Type checkers cannot know the number
        of outputs and infer one array; ``a, b = model(x)`` passes them without a cast.
        """
        for node in inputs:
            if hasattr(node, "extended_by"):
                return node.extended_by(self, inputs)
        try:
            outputs = self.apply(*input_checks.as_inputs(self, inputs))
        except ValueError as error:
            arrays.refuse_write(error, messages.label(self))
            raise
        return input_checks.own_outputs(outputs)

    @hints.hinted
    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """Inference for any number of samples: ``layer(x)`` in batches, with bounded memory.

        Parameters
        ----------
        x
            Anything ``layer(x)`` takes, for several inputs a tuple; an array in a file
            (`numpy.memmap`, h5py, zarr, anything with a length and indices), which is read in
            pieces; a dataset, ``dataset[i]``; or an iterable, which makes its own batches. A sample
            or a batch may be (x, t) or (x, t, weights), of which only x is used.
        batch_size
            The number of samples that are computed together. The last batch has the remaining ones.

        Returns
        -------
        ndarray or tuple of ndarray
            (samples, …), for several outputs one array for each. Each batch has the numbers of
            ``layer(batch)``, to the last bit. For a table of pandas, polars or xarray it is a
            table of that library, with the labels of the rows of x.

        Raises
        ------
        ConfigurationError
            The batch size is not an integer of at least 1.
        DtypeError, ShapeError, DataError
            The data cannot be used, or outputs of different shape cannot be joined.
        """
        from chainrule.data.prediction import predict

        known = self.input_shapes if self.is_built else self.known_input_shapes
        rows = with_sizes(self.output_shapes, 0) if self.is_built else ()
        nothing = [np.zeros((0, *row), self.dtype) for row in rows]
        inputs = None if known is None else len(known)
        return labelled_like(x, predict(self, x, batch_size, inputs, nothing))

    def freeze(self) -> Self:
        """Exclude all parameters, here and in the layers inside, from training; returns the layer.

        Training computes no gradient for a frozen parameter, nor a delta that only it would need,
        and a `Trainer` does not change a bit of it, whatever its optimizer remembers. `backward`
        still returns ∂C/∂x, and derivatives remain complete: the functions of
        `chainrule.derivatives` and `check_layer` include all parameters. Buffers, such as running
        means, are not parameters, and `forward` still updates them.

        The parameter is frozen, not the layer (see `Parameter.trainable`), so twins and layers that
        share it are frozen with it. Copies and pickles stay frozen; after `unbuilt`, and in files,
        everything is trainable again. A layer that is not built yet will be built frozen.

        In your own training loop, ``optimizer.descend(model.parameters)`` skips frozen parameters;
        ``optimizer.step(value, gradient)`` sees two vectors and cannot.
        """
        return layer_state.set_trainable(self, False)

    def unfreeze(self) -> Self:
        """Make all parameters, here and in the layers inside, trainable; returns the layer."""
        return layer_state.set_trainable(self, True)

    def reset(self) -> None:
        """Begin new sequences: empty the states that are carried from batch to batch.

        That is what a recurrent layer with ``stateful=True`` keeps, here and in the layers inside.
        Parameters, and buffers such as running means, do not change.
        """
        for buffer in self.buffers:
            buffer.reset()

    @hints.hinted
    def save(self, path: Any) -> None:
        """Write the layer to a file, from which `chainrule.load` restores it."""
        from chainrule import storage  # a later package, as in predict: where users look for them

        storage.save(self, path)

    @hints.hinted
    def save_weights(self, path: Any) -> None:
        """Write only the numbers to a file, for a model that your program builds itself."""
        from chainrule import storage

        storage.save_weights(self, path)

    @hints.hinted
    def load_weights(self, path: Any) -> None:
        """Read the numbers from a file into the layer; their paths and shapes must agree."""
        from chainrule import storage

        storage.load_weights(self, path)

    # ---------------------------------------------------------------- what a built layer knows

    @property
    def is_built(self) -> bool:
        """Whether the parameters exist."""
        return self._input_shapes is not None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers that it was built for, known in `build`: float32 or float64."""
        layer = self if self._rng is not None else messages.require_built(self)
        return layer._dtype  # type: ignore[return-value]

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """The shape of a row of each input, without the batch axis; None is an axis of any size."""
        return messages.require_built(self)._input_shapes or ()

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        """The shapes of the rows that each input may have.

        None stands for an axis of any size, ``...`` for any number of axes: a `Dense` that was
        built for ``(5, 64)`` accepts ``(..., 64)``. By default only the `input_shapes`, or all with
        `accepts_any_shape`. Override it in a layer that works on other rows with the same
        parameters. The first batch of a new shape is tried on a copy, whose `build` can raise an
        error.
        """
        shapes = self.input_shapes
        return tuple((...,) for _ in shapes) if self.accepts_any_shape else shapes

    @property
    def input_shape(self) -> Shape:
        """The shape of a row of the only input."""
        return messages.only(self, "input", self.input_shapes)

    @property
    def known_input_shapes(self) -> tuple[Shape, ...] | None:
        """The shapes to build for if `build` receives none; None if the layer does not know."""
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
        """Everything that is learned, here and in the layers inside, as one flat vector."""
        return ParameterVector(self._collected("_parameters"), self.dtype)

    @property
    def buffers(self) -> ParameterVector:
        """Everything that is kept but not learned, likewise as one flat vector."""
        return ParameterVector(self._collected("_buffers"), self._dtype or np.float64)

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators, here and in the layers inside, by path."""
        return self._collected("_generators")

    def _require_fit(self, shapes: tuple[Shape, ...]) -> None:
        """Raise an error unless the layer works on rows of these accepted shapes."""
        building.require_fit(self, shapes)

    def _is_memory(self, attribute: str) -> bool:
        return layer_state.is_memory(self, attribute)

    def _collected(self, kind: str) -> dict[str, Any]:
        return {
            f"{path}.{name}" if path else name: item
            for path, layer in self.walk()
            for name, item in getattr(layer, kind).items()
        }

    # ---------------------------------------------------------------- copies

    def twin(self) -> Self:
        """A copy that shares parameters, buffers and generators, and has its own memory."""
        if self._rng is not None and not self.is_built:
            raise messages.unbuilt_twin(self)
        return layer_state.twin(self)

    def replica(self, parts: dict[int, Any]) -> Self:
        """A twin with some parameters, buffers or generators replaced.

        Parameters
        ----------
        parts
            What replaces an object, by the ``id`` of the object.
        """
        return layer_state.twin(self, parts)

    def unbuilt(self) -> Self:
        """A copy of the configuration: a layer that is not built yet."""
        return layer_state.unbuilt(self)

    def forget(self) -> None:
        """Delete the memory of the last forward pass."""
        layer_state.forget(self)

    def __copy__(self) -> Self:
        return self.twin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return layer_state.deep_copy(self, memo)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # attrs would pickle only the fields, and silently lose the weights.
        return layer_state.pickled(self)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        try:
            return full_repr(self)
        except RecursionError:  # nested too deep for Python's stack
            return f"{type(self).__name__}(…)"

    def _repr_html_(self) -> str:
        from chainrule import display

        return display.as_html(self)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return layer_state.have_equal_fields(self, other)

    __hash__ = None  # type: ignore[assignment]

    # ---------------------------------------------------------------- how the framework does it

    # To use layers or to write one, you can stop reading here.

    # What the framework keeps about a layer (`chainrule.core.layer_state`). These are the defaults.
    _dtype: np.dtype[Any] | None = None
    _rng: np.random.Generator | None = None  # while the layer is being built
    _input_shapes: tuple[Shape, ...] | None = None
    _output_shapes: tuple[Shape, ...] = ()
    _delta_shape: Any = None  # the shape of the last output, which the delta must have
    _owner: Any = None  # of its memory: see `chainrule.core.ownership`
    _initial: frozenset[str] = frozenset()  # the attributes that existed before build
    _lasting: frozenset[str] = frozenset()  # the attributes that are not memory
    _parameters: dict[str, Parameter] = {}  # noqa: RUF012 - replaced, never changed
    _buffers: dict[str, Parameter] = {}  # noqa: RUF012
    _generators: dict[str, np.random.Generator] = {}  # noqa: RUF012
    _begins_frozen: bool = False  # whether build creates frozen parameters
    _applies: bool = False  # whether `forward` is `apply`, as inside a layer that applies
    _fitting: frozenset[tuple[Shape, ...]] = frozenset()  # other rows that it accepts, once tried

    # What `chainrule.core.class_definition` keeps about a class.
    _handwritten: ClassVar[dict[str, Any]] = {}  # its own __init__, __repr__ and __eq__
    _guarded: ClassVar[frozenset[str]] = frozenset()  # attributes whose assignment is special
    _field_names: ClassVar[frozenset[str]] = frozenset()  # its configuration
    _bookkeeping = layer_state.BOOKKEEPING
    _store = object.__setattr__  # assigns these: a function of attrs if it runs validators

    if TYPE_CHECKING:  # for attrs.evolve and attrs.fields, which ask for it
        __attrs_attrs__: ClassVar[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        class_definition.define(cls, options)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        class_definition.finish(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        # Every `forward` runs this. Reading through `__dict__` is several times faster than through
        # `self.`, because of `__getattr__` below.
        attributes = self.__dict__
        if name in type(self)._guarded or name in attributes.get("_parameters", ()):
            class_definition.set_guarded(self, name, value)
        else:
            attributes[name] = value

    if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any misspelled name

        def __getattr__(self, name: str) -> Any:
            raise messages.missing(self, name)

    state = renamed_attribute(
        "_state_by_old_name",
        advice="layer.buffers, or layer.buffer(name, shape) to create one",
        removed_in="0.3",
    )

    @property
    def _state_by_old_name(self) -> building.StateByOldName:
        return building.StateByOldName(self)


method_wrapping.wrap_methods(Layer)
