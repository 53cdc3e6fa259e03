"""Parameters: what a network learns, and the flat vector that holds all of them.

A layer sees a `Parameter`, an array w and its gradient ∂C/∂w. An optimizer sees a
`ParameterVector`: all parameters of a model in sequence, as one vector θ with its gradient ∂C/∂θ.
Both use the same memory: each parameter is a reshaped window of the vector.

    θ = (w¹, b¹, w², b², …)        θ ← θ − η ∂C/∂θ        moves every w and b at once
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.core.acceleration import FEW, IN_USE, matrix_product
from chainrule.core.errors import (
    ConfigurationError,
    DefinitionError,
    DtypeError,
    NoTangentRuleError,
    ShapeError,
    shortened,
)
from chainrule.core.hints import Hinted
from chainrule.core.html_table import html_table
from chainrule.core.open_axes import fits
from chainrule.core.types import Array, FloatArray, Shape

if TYPE_CHECKING:
    import numpy.typing as npt


class Parameter(Hinted):
    """An array that is learned, ``value``, and its gradient ∂C/∂value, ``grad``.

    Parameters
    ----------
    name
        The name in the layer, such as ``"weights"``. A model puts the path of the layer in front:
        ``parameter.path`` is then ``"dense_1.weights"``, for example.
    value
        The initial array, of any shape; it is not copied.
    open_shape
        The shape with None for the axes whose size may change, as that of a carried state, which
        has a row for each row of the batch; None if no axis may.
    """

    __slots__ = (
        "_grad", "_grad_is_zero", "_offset", "_storage", "_trainable", "_value", "open_shape",
        "path",
    )  # fmt: skip

    last_freezing: ClassVar[object] = object()
    """A new object each time any parameter is frozen or unfrozen: a cache that holds the current
    object is up to date, without looking at ``trainable`` of thousands of parameters."""

    def __init__(self, name: str, value: Array, open_shape: Shape | None = None) -> None:
        self.path = name
        self.open_shape = open_shape
        self._value: FloatArray = value
        # Created when it is first used: a model that only predicts needs none.
        self._grad: FloatArray | None = None
        self._grad_is_zero = False
        self._trainable = True
        self._storage: _Storage | None = None
        self._offset = 0

    @property
    def value(self) -> FloatArray:
        """The array. Assigning to it copies the numbers in place."""
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        is_resized = np.shape(new) != self.shape
        if is_resized and not (self.open_shape and fits(np.shape(new), self.open_shape)):
            raise ShapeError(
                f"the new value of {self.path!r} has the wrong shape",
                place=self.path,
                expected=self.shape,
                received=np.shape(new),
                hint="pass an array of the parameter's shape; values are not broadcast",
            )
        _refuse_unreal(new, self.path)
        if is_resized:
            self._resize(np.shape(new))
        try:
            self._value[...] = new
        except NoTangentRuleError as error:
            raise NoTangentRuleError(
                f"the value of {self.path!r} is a plain array and cannot hold a tangent",
                place=self.path,
                expected="an array",
                received=f"a {type(new).__name__}",
                hint="derivatives.jvp(model, x, dx), or derivatives.Replica(model): "
                "their buffers can be dual numbers",
            ) from error

    def _resize(self, shape: Shape) -> None:
        """Take memory for another shape; the flat vector finds it there when it is next used."""
        if self._storage is not None:
            self._storage.was_left = True
        self._value = np.zeros(shape, self.dtype, like=self._value)
        self._storage, self._grad = None, None

    def reset(self) -> None:
        """Empty the axes whose size may change: a carried state then has no rows."""
        if self.open_shape is not None:
            empty = [n or 0 for n in self.open_shape]
            self.value = np.zeros(empty, self.dtype, like=self._value)

    @property
    def grad(self) -> FloatArray:
        """∂C/∂value: the sum of what `backward` has added since the last `zero_grad`."""
        grad = self._gradient()
        if self._grad_is_zero:
            grad[...] = 0
            self._grad_is_zero = False
        return grad

    @grad.setter
    def grad(self, new: Array) -> None:
        # `parameter.grad += g` also ends here, with the same array.
        if new is not self._grad:
            raise DefinitionError(
                f"the gradient of {self.path!r} can be added to, but not replaced",
                place=self.path,
                expected="parameter.accumulate(gradient)",
                received="an assignment to grad",
                hint="accumulate adds to it; zero_grad resets it",
            )

    @property
    def trainable(self) -> bool:
        """Whether training can change it. If not, it is frozen, as by `Layer.freeze`.

        While it is frozen, `accumulate` and `accumulate_product` do nothing, so its gradient is
        zero, and no trainer changes a bit of it. You can still assign to the value. A layer whose
        gradient is expensive can check first: ``if self.weights.trainable: …``.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, new: bool) -> None:
        if not isinstance(new, bool | np.bool_):
            raise ConfigurationError(
                f"trainable of {self.path!r} has an invalid value",
                place=self.path,
                expected="True or False",
                received=shortened(new),
                hint="parameter.trainable = False freezes it",
            )
        if bool(new) is not self._trainable:
            if not new and self.has_grad:
                self._gradient()[...] = 0  # once, not in each step
            # accumulate_product relies on _grad_is_zero being False while frozen.
            self._trainable = self._grad_is_zero = bool(new)
            Parameter.last_freezing = object()

    @property
    def has_grad(self) -> bool:
        """Whether the array of the gradient exists; if not, the gradient is zero."""
        if self._grad is not None:
            return True
        return self._storage is not None and self._storage.has_grad

    def _gradient(self) -> FloatArray:
        """The array of the gradient, created when it is first used."""
        if self._grad is None:
            with _CREATION:
                if self._grad is None:  # no other thread has created it
                    storage = self._storage
                    self._grad = (
                        np.zeros_like(self._value) if storage is None else storage.grad_of(self)
                    )
        return self._grad

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value and the gradient."""
        shape: tuple[int, ...] = self._value.shape
        return shape

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(self._value.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers: float32 or float64."""
        dtype: np.dtype[Any] = self._value.dtype
        return dtype

    def accumulate(self, gradient: Array) -> None:
        """Add a contribution to ``grad``: grad ← grad + gradient. If frozen, do nothing.

        Raises
        ------
        ShapeError, DtypeError
            The contribution does not have the parameter's shape and type.
        NoTangentRuleError
            The contribution is a `Dual`, but the gradient is an array.
        """
        if not self._trainable:
            return
        if not hasattr(gradient, "dtype"):
            gradient = np.asarray(gradient, self.dtype)
        gradient = getattr(gradient, "constant_part", gradient)
        if gradient.shape != self._value.shape or gradient.dtype is not self._value.dtype:
            self._refuse(gradient)
        try:
            grad = self._gradient()
            if self._grad_is_zero:
                grad[...] = gradient
                self._grad_is_zero = False
            else:
                grad += gradient
        except NoTangentRuleError as error:
            raise NoTangentRuleError(
                f"the gradient of {self.path!r} is a plain array and cannot hold a tangent",
                place=self.path,
                expected="arrays, for a model whose parameters are arrays",
                received=f"a {type(gradient).__name__}",
                hint="derivatives.vjp(model, x, delta), or derivatives.Replica(model): "
                "their gradients can be dual numbers",
            ) from error

    def accumulate_product(self, left: Array, right: Array) -> None:
        """Add the matrix product of two arrays: ``accumulate(left @ right)``.

        The first product after `zero_grad` is written directly into ``grad``, without a temporary
        array; if the parameter is frozen, the product is not computed.
        """
        # Both call the same BLAS. dot has less overhead and rejects an `out` that does not fit;
        # matmul does not write zeros first but would broadcast. For stacks, dot is not matmul.
        grad = self._grad if self._grad is not None else self._gradient()
        is_small = grad.size <= 4096 and left.ndim <= 2 >= right.ndim
        if self._grad_is_zero:
            try:
                if is_small:
                    dot = np.dot if left.size <= FEW else IN_USE.dot
                    dot(left, right, out=grad)
                    self._grad_is_zero = False
                    return
                if left.shape[:-1] + right.shape[1:] == grad.shape:
                    matrix_product(left, right, grad, _matmul)
                    self._grad_is_zero = False
                    return
            except (ValueError, TypeError):
                pass  # the wrong shape or type: accumulate raises the error
        if self._trainable:
            # Of the delta of a jet, only the part for a constant is needed: see `calculus.jet`.
            room = np.empty_like(grad) if hasattr(right, "constant_part") else None
            plain = np.dot if is_small else np.matmul
            self.accumulate(matrix_product(left, right, room, plain))

    def zero_grad(self) -> None:
        """Reset the gradient to zero."""
        # The zeros are written only if grad is read before a contribution arrives. A frozen
        # parameter has had its zeros since it was frozen.
        self._grad_is_zero = self._trainable

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, [_cells(self.path, self)], ALIGN)

    def __repr__(self) -> str:
        frozen = "" if self._trainable else ", trainable=False"
        return f"Parameter({self.path!r}, shape={self.shape}, dtype={self.dtype}{frozen})"

    def __getstate__(self) -> tuple[str, Array, Array | None, bool, Shape | None]:
        grad = self.grad if self.has_grad else None
        return self.path, self._value, grad, self._trainable, self.open_shape

    def __setstate__(self, state: tuple[str, Array, Array | None, bool, Shape | None]) -> None:
        self.path, self._value, self._grad, self._trainable, self.open_shape = state
        self._grad_is_zero, self._storage, self._offset = False, None, 0

    def _no_array(self, *arguments: Any) -> DefinitionError:
        return DefinitionError(
            f"{self.path!r} is a parameter, not an array",
            place=self.path,
            expected="its value, which is the array",
            received="the Parameter itself in a computation",
            hint=f"self.{self.path.rpartition('.')[2]}.value",
        )

    def _refuse_arithmetic(self, *arguments: Any, **how: Any) -> Any:
        raise self._no_array()

    if not TYPE_CHECKING:  # so that type checkers report it, too
        __array__ = __array_ufunc__ = _refuse_arithmetic
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse_arithmetic
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = _refuse_arithmetic
        __matmul__ = __rmatmul__ = __getitem__ = _refuse_arithmetic

    def _refuse(self, gradient: Array) -> None:
        if gradient.shape != self.shape:
            raise ShapeError(
                f"the gradient does not have the shape of the parameter {self.path!r}",
                place=self.path,
                expected=self.shape,
                received=gradient.shape,
                hint="sum the contributions of all rows: delta.sum(axis=0), inputs.T @ delta, …",
            )
        if gradient.dtype != self.dtype:
            raise DtypeError(
                f"the gradient does not have the type of the parameter {self.path!r}",
                place=self.path,
                expected=self.dtype,
                received=gradient.dtype,
                hint="create arrays with like= or zeros_like; otherwise NumPy makes float64",
            )


class ParameterVector(Hinted):
    """All parameters of a model as one flat vector, ``value``, with its gradient, ``grad``.

    It is also the list of the `Parameter`s, by number or by path::

        model.parameters.value          # θ, a contiguous 1-D array
        model.parameters["dense_1.weights"].value
        model.parameters.paths

    Parameters
    ----------
    named
        The parameters by path. One with several paths counts once.
    dtype
        The type of the vector if there are no parameters.
    """

    def __init__(self, named: Mapping[str, Parameter], dtype: npt.DTypeLike = np.float64) -> None:
        self._named = dict(named)
        self._parameters = list({id(p): p for p in self._named.values()}.values())
        self._empty = np.zeros(0, dtype)
        self._storage: _Storage | None = None
        self._window = slice(0, 0)

    @property
    def value(self) -> npt.NDArray[Any]:
        """θ, all parameters in sequence. Assigning to it copies the numbers in place."""
        storage = self._storage
        if storage is None or storage.was_left:
            storage = self._find_storage()
        return storage.value[self._window]

    @value.setter
    def value(self, new: npt.ArrayLike) -> None:
        current = self.value
        if np.shape(new) != current.shape:
            raise ShapeError(
                "the new vector of parameters has the wrong length",
                expected=current.shape,
                received=np.shape(new),
            )
        _refuse_unreal(new, None)
        current[...] = new

    @property
    def grad(self) -> npt.NDArray[Any]:
        """∂C/∂θ, in the same order."""
        storage = self._storage
        if storage is None or storage.was_left:
            storage = self._find_storage()
        for parameter in self._parameters:
            if parameter._grad_is_zero:
                parameter._gradient()[...] = 0
                parameter._grad_is_zero = False
        return storage.grad[self._window]

    @grad.setter
    def grad(self, new: npt.ArrayLike) -> None:
        current = self.grad
        if np.shape(new) != current.shape:
            raise ShapeError(
                "the new gradient has the wrong length",
                expected=current.shape,
                received=np.shape(new),
            )
        current[...] = new

    def accumulate(self, gradient: Array) -> None:
        """Add one flat vector to the gradients of all parameters that are not frozen.

        A layer whose `backward` gets the gradient of an inner network as a vector, as from
        `chainrule.derivatives`, adds it with this. Each parameter gets its part by
        `Parameter.accumulate`.

        Raises
        ------
        ShapeError, DtypeError
            The vector does not have the length and type of ``value``.
        """
        if np.shape(gradient) != (self.size,):
            raise ShapeError(
                "the gradient does not have the length of the parameters",
                expected=(self.size,),
                received=np.shape(gradient),
                hint="pass a flat vector with one number for each entry of parameters.value",
            )
        start = 0
        for parameter in self._parameters:
            part = gradient[start : start + parameter.size]
            parameter.accumulate(part.reshape(parameter.shape))
            start += parameter.size

    @property
    def fixed(self) -> ParameterVector:
        """Those whose shape never changes, which a carried state's does."""
        named = {path: p for path, p in self._named.items() if p.open_shape is None}
        return self if len(named) == len(self._named) else ParameterVector(named, self._empty.dtype)

    @property
    def size(self) -> int:
        """The number of entries of all parameters."""
        return sum(parameter.size for parameter in self._parameters)

    @property
    def paths(self) -> list[str]:
        """The path of each parameter as seen from this model, in the order of the vector."""
        first = {id(parameter): path for path, parameter in reversed(self._named.items())}
        return [first[id(parameter)] for parameter in self._parameters]

    def zero_grad(self) -> None:
        """Reset every gradient to zero."""
        for parameter in self._parameters:
            parameter._grad_is_zero = parameter._trainable

    if not TYPE_CHECKING:  # so that type checkers report it, too

        def __call__(self, *given: Any, **named: Any) -> Any:
            """Raise the error for ``model.parameters()``, which is a method elsewhere."""
            raise DefinitionError(
                "model.parameters is an attribute, not a method",
                expected="model.parameters, without brackets",
                received="model.parameters(…)",
                hint="a Trainer gives them to its optimizer; in your own loop, "
                "optimizer.descend(model.parameters)",
            )

    def assign_paths(self) -> None:
        """Set the `path` of each parameter to its path in this vector."""
        for path, parameter in reversed(self._named.items()):
            parameter.path = path

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters)

    def __getitem__(self, key: str | int) -> Parameter:
        if isinstance(key, str):
            if key not in self._named:
                raise KeyError(f"no parameter {key!r}; there are {', '.join(self._named)}")
            return self._named[key]
        return self._parameters[key]

    def __contains__(self, key: object) -> bool:
        return key in self._named or any(key is parameter for parameter in self._parameters)

    def _repr_html_(self) -> str:
        rows = [_cells(*pair) for pair in zip(self.paths, self._parameters, strict=True)]
        if len(rows) > SHOWN:
            hidden = len(rows) - SHOWN
            rows[SHOWN // 2 : -SHOWN // 2] = [[f"… {hidden:,} more …"]]
        title = f"ParameterVector of {self.size:,} numbers"
        return html_table(COLUMNS, rows, ALIGN, title=title)

    def __repr__(self) -> str:
        pairs = zip(self.paths, self._parameters, strict=True)
        rows = [
            f"  {path}  {parameter.shape}{'' if parameter.trainable else '  frozen'}"
            for path, parameter in pairs
        ]
        return "\n".join([f"ParameterVector of {self.size:,} numbers", *rows])

    def __getstate__(self) -> dict[str, Any]:
        # Copies of the parameters have other memory, which must be found again.
        return {**self.__dict__, "_storage": None}

    def allocate(self) -> None:
        """Give new parameters their final memory, which is zero until it is set."""
        for parameter in self._parameters:  # first release the memory that they have
            parameter._value = np.broadcast_to(np.zeros((), parameter.dtype), parameter.shape)
        self._find_storage(copied=False)

    def _find_storage(self, *, copied: bool = True) -> _Storage:
        """The memory that holds the parameters in sequence; they are moved if necessary."""
        first = self._parameters[0]._storage if self._parameters else None
        if first is None or not self._lie_in(first) or not copied:
            first = _Storage.of(self._parameters, self._empty, copied=copied)
            self.assign_paths()
        start = self._parameters[0]._offset if self._parameters else 0
        self._storage, self._window = first, slice(start, start + self.size)
        return first

    def _lie_in(self, storage: _Storage) -> bool:
        expected = self._parameters[0]._offset
        for parameter in self._parameters:
            if parameter._storage is not storage or parameter._offset != expected:
                return False
            expected += parameter.size
        return True


def _refuse_unreal(new: Array, place: str | None) -> None:
    kind = new.dtype.kind if hasattr(new, "dtype") else "f"
    if kind not in "fiub":
        raise DtypeError(
            "the value of a parameter must be real numbers",
            place=place,
            expected="real numbers",
            received=f"an array of {new.dtype}",
        )


_matmul = functools.partial(np.matmul, casting="no")

_CREATION = threading.RLock()
"""Held while a gradient is created."""


class _Storage:
    """The memory of a vector: value, gradient, and whether a parameter has moved elsewhere."""

    __slots__ = ("_grad", "value", "was_left")

    def __init__(self, value: npt.NDArray[Any]) -> None:
        self.value = value
        self._grad: npt.NDArray[Any] | None = None
        self.was_left = False

    @property
    def grad(self) -> npt.NDArray[Any]:
        """The gradient, created when it is first used."""
        if self._grad is None:
            with _CREATION:
                if self._grad is None:
                    self._grad = np.zeros_like(self.value)
        return self._grad

    @property
    def has_grad(self) -> bool:
        """Whether it has been used."""
        return self._grad is not None

    def grad_of(self, p: Parameter) -> npt.NDArray[Any]:
        """The window of a parameter."""
        return self.grad[p._offset : p._offset + p.size].reshape(p.shape)

    @classmethod
    def of(
        cls, parameters: list[Parameter], empty: npt.NDArray[Any], *, copied: bool = True
    ) -> _Storage:
        size = sum(p.size for p in parameters)
        # np.zeros occupies memory only when it is used.
        storage = cls(np.empty(size, empty.dtype) if copied else np.zeros(size, empty.dtype))
        offset = 0
        for p in parameters:
            value = storage.value[offset : offset + p.size].reshape(p.shape)
            if copied:
                value[...] = p.value
            grad = p.grad if p.has_grad else None
            if p._storage is not None:
                p._storage.was_left = True
            p._value = value
            p._storage, p._offset = storage, offset
            if grad is not None:
                p._grad = storage.grad_of(p)
                p._grad[...] = grad
            offset += p.size
        return storage


# ------------------------------------------------------------------------------- in a notebook

COLUMNS = ("parameter", "shape", "numbers", "smallest", "largest", "size", "size of ∂C/∂θ")
"""The columns of a table of parameters; a size is √(Σ aᵢ²/n), that of a typical number."""
ALIGN = "llrrrrr"
SHOWN = 60
"""A longer table is shown without its middle."""


def _cells(path: str, parameter: Parameter) -> list[str]:
    """The row of a parameter in a table."""
    value = parameter.value
    figures = ["–"] * 4
    if type(value) is np.ndarray and value.dtype.kind == "f" and value.size:
        figures[:3] = [_as_text(value.min()), _as_text(value.max()), _size(value)]
        if parameter.has_grad:
            figures[3] = _size(parameter.grad)
    name = path if parameter.trainable else f"{path}  (frozen)"
    return [name, str(parameter.shape), f"{parameter.size:,}", *figures]


def _size(array: Array) -> str:
    return _as_text(np.linalg.norm(array) / np.sqrt(array.size))


def _as_text(value: Any) -> str:
    return f"{float(value):#.3g}"
