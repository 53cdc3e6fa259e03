"""All rules together: what a `Trace` is given."""

from __future__ import annotations

from chainrule.interop.onnx.writing import (
    elementwise,
    indexing,
    moving,
    operations,
    products,
    recurrent,
    spectra,
)
from chainrule.interop.onnx.writing.traced import Rules

RULES = Rules(
    functions={**moving.FUNCTIONS, **products.FUNCTIONS, **spectra.FUNCTIONS},
    operations={**operations.OPERATIONS, **recurrent.OPERATIONS},
    call_ufunc=elementwise.call_ufunc,
    create=moving.create,
    fitted=moving.fitted,
    taken=indexing.taken,
    put=indexing.put,
    gather=indexing.gather,
    add_at=indexing.add_at,
    matmul=products.matmul,
    vecdot=products.vecdot,
    call_complex=spectra.call_complex,
    concatenate_complex=spectra.concatenate_complex,
)
