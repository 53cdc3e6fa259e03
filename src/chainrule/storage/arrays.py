"""The arrays of a model under their names in a file, and how to restore them: all or none.

    parameters/dense_1.weights        parameters, which are learned
    state/batch_norm_1.running_mean   buffers, which are kept but not learned
    table/shuffled_1.order            other arrays created while building, such as an order

The arrays of a shared layer are stored under the first of its paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.core.errors import StorageError
from chainrule.core.hints import nearest
from chainrule.core.layer import Layer
from chainrule.core.open_axes import fits
from chainrule.core.parameter import Parameter
from chainrule.storage.messages import cut
from chainrule.storage.safetensors import Entry
from chainrule.storage.sealed_file import Arrays

LINES = 10
"""The maximum number of arrays that a message lists."""

NONE = "—"

Given: TypeAlias = Mapping[str, "npt.NDArray[Any] | Entry"]
"""What is compared with the arrays of a model: anything that has a shape and a dtype."""


def arrays_of(model: Layer) -> Arrays:
    """All arrays of a built model, by their names in the file."""
    named = [("parameters", model.parameters), ("state", model.buffers)]
    arrays = {
        f"{kind}/{path}": parameter.value
        for kind, vector in named
        for path, parameter in zip(vector.paths, vector, strict=True)
    }
    return arrays | _tables(model)


def arrays_for(model: Layer, given: Given) -> Arrays:
    """The same as they will be after `resized`, for comparison; nothing changes yet."""
    found = arrays_of(model)
    for name, buffer in _resizable(model).items():
        shape = given[name].shape if name in given else ()
        if fits(shape, buffer.open_shape or ()):
            found[name] = np.broadcast_to(np.zeros((), buffer.dtype), shape)
    return found


def resized(model: Layer, given: Given) -> Arrays:
    """All arrays, after carried states have taken the shapes that they have in a file."""
    for name, buffer in _resizable(model).items():
        if buffer.shape != given[name].shape:
            buffer.value = np.zeros(given[name].shape, buffer.dtype)
    return arrays_of(model)


def _resizable(model: Layer) -> dict[str, Parameter]:
    """The buffers that may have another shape, by their names in the file."""
    pairs = zip(model.buffers.paths, model.buffers, strict=True)
    return {f"state/{path}": buffer for path, buffer in pairs if buffer.open_shape is not None}


def fill(
    model: Layer,
    given: Given,
    copy: Callable[[str, npt.NDArray[Any]], None],
    problem: str,
    *,
    widened: bool,
) -> None:
    """Copy the arrays of a file into a model, after comparing all of them.

    Parameters
    ----------
    model
        A built model.
    given
        The arrays of the file by name, or just their shapes and dtypes.
    copy
        Copies the array of a name into another array.
    problem
        The error message if an array does not fit.
    widened
        Whether float32 may become float64, which is exact.

    Raises
    ------
    StorageError
        If arrays are missing, unexpected, or have another shape or dtype. The model is then
        unchanged.
    """
    wanted = arrays_for(model, given)
    names = [*wanted, *sorted(name for name in given if name not in wanted)]
    differing = [n for n in names if not _fits(wanted.get(n), given.get(n), widened=widened)]
    if differing:
        raise StorageError(
            problem,
            expected=f"{_counted(len(wanted))} with matching path, shape and dtype",
            received=f"{_counted(len(given))}; these differ:\n" + _table(differing, wanted, given),
            hint=_renamed(differing, wanted, given) or _of_another_type(differing, wanted, given),
        )
    wanted = resized(model, given)
    for name in given:  # in their order in the file
        copy(name, wanted[name])


def _tables(model: Layer) -> Arrays:
    """Arrays other than parameters and buffers that a layer created in `build`."""
    found: dict[int, tuple[str, Any]] = {}
    for path, layer in model.walk():
        for own in sorted(layer._lasting):
            array = layer.__dict__.get(own)
            if isinstance(array, np.ndarray):
                found.setdefault(
                    id(array), (f"table/{path}.{own}" if path else f"table/{own}", array)
                )
    return dict(found.values())


def _fits(wanted: Any, given: Any, *, widened: bool) -> bool:
    if wanted is None or given is None or wanted.shape != given.shape:
        return False
    is_wider = wanted.dtype.kind == given.dtype.kind == "f" and np.can_cast(
        given.dtype, wanted.dtype, "safe"
    )
    return bool(wanted.dtype == given.dtype or (widened and is_wider))


# ------------------------------------------------------------------------------- messages


def _counted(count: int) -> str:
    return f"{count:,} array{'s' if count != 1 else ''}"


def _table(names: list[str], wanted: Arrays, arrays: Given) -> str:
    """The arrays that differ, one per line: path, shape and dtype in the model and in the file."""
    rows = [("path", "in the model", "in the file")]
    for name in names[:LINES]:
        rows.append((cut(name, 60), _described(wanted.get(name)), _described(arrays.get(name))))
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
    if len(names) > LINES:
        lines.append(f"… and {len(names) - LINES:,} more")
    return "\n".join(f"            {line}" for line in lines)


def _described(array: Any) -> str:
    return NONE if array is None else f"{cut(str(array.shape), 40)} {array.dtype}"


def _renamed(names: list[str], wanted: Arrays, arrays: Given) -> str | None:
    """An array of the file that the model may have under another name."""
    extra = [name for name in names if name not in wanted and len(name) < 200][:1000]
    for name in names[:LINES]:
        if name in wanted and name not in arrays and len(name) < 200:
            alike = [n for n in extra if arrays[n].shape == wanted[name].shape]
            meant = nearest(name, alike)
            if meant:
                return f"is {meant!r} in the file the same as {name!r} in the model?"
    return None


def _of_another_type(names: list[str], wanted: Arrays, arrays: Given) -> str | None:
    """A hint if only the dtype differs."""
    if any(n not in wanted or n not in arrays for n in names):
        return None
    if any(wanted[n].shape != arrays[n].shape for n in names):
        return None
    kinds = {str(arrays[n].dtype) for n in names}
    if kinds != {"float64"}:
        return None
    return "numbers would be rounded: use a model that was built with dtype='float64'"
