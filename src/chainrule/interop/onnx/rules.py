"""All rules together: what a `Trace` is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from chainrule.interop.onnx import elementwise, indexing, moving, operations, products, recurrent, spectra


@frozen
class AllRules:
    """The rules of this package, as `chainrule.interop.onnx.traced.Rules` describes them."""

    functions: Mapping[Any, Callable[..., Any]]
    operations: Mapping[Any, Callable[..., Any]]
    call_ufunc: Callable[..., Any] = elementwise.call_ufunc
    create: Callable[..., Any] = moving.create
    fitted: Callable[..., Any] = moving.fitted
    taken: Callable[..., Any] = indexing.taken
    put: Callable[..., Any] = indexing.put
    gather: Callable[..., Any] = indexing.gather
    add_at: Callable[..., Any] = indexing.add_at
    matmul: Callable[..., Any] = products.matmul
    vecdot: Callable[..., Any] = products.vecdot
    call_complex: Callable[..., Any] = spectra.call_complex
    concatenate_complex: Callable[..., Any] = spectra.concatenate_complex


RULES = AllRules(
    {**moving.FUNCTIONS, **products.FUNCTIONS, **spectra.FUNCTIONS},
    {**operations.OPERATIONS, **recurrent.OPERATIONS},
)
