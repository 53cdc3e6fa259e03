"""Attention: each entry of a sequence asks all others, and gets a weighted mean of their answers.

    y_i = Σ_j a_ij v_j        a_ij = exp(q_i·k_j/√d) / Σ_l exp(q_i·k_l/√d)

The queries q, keys k and values v are three affine maps of the entries, and d is their width. A
softmax of the inner products says how much entry i takes from entry j. Nothing in it depends on
where an entry is in the sequence, so a network that needs the order adds it to the entries first:
`PositionalEncoding`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from attrs import field

from chainrule.core.arrays import has_values, places
from chainrule.core.equations import Equations, numbered
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.parameter import Parameter
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, at_least_one, yes_or_no
from chainrule.layers.dense import ones, product, vectors

SAFE = 40.0
"""The exponential of smaller scores neither over- nor underflows, so none has to be subtracted."""


_a_count = at_least_one("MultiHeadAttention(4), or MultiHeadAttention(4, units=64)")


def _a_width(layer: MultiHeadAttention, attribute: Any, units: Any) -> None:
    if units is None:
        return
    _a_count(layer, attribute, units)
    if units % layer.heads:
        raise ConfigurationError(
            "MultiHeadAttention: the heads do not divide the units, the width of all together",
            expected=f"a multiple of heads={layer.heads}",
            received=f"units={units}",
            hint=f"units={_multiple(units, layer.heads)}",
        )


def _multiple(width: int, heads: int) -> int:
    """The nearest multiple of the number of heads."""
    return max(1, round(width / heads)) * heads


SIGNS = {
    **{name: (f"{name}^{{(<n>)}}", f"{name}<n>") for name in "qkvueamo"},
    **{f"d{name}": (rf"\delta_{name}^{{(<n>)}}", f"δ{name}<n>") for name in "qkvsam"},
}
"""How `equations` writes the parts of attention."""


class MultiHeadAttention(Layer, repr=False):
    """Scaled dot-product attention in several heads: ``layer(query[, key_value[, mask]])``.

    Forward  y = concatenate_h(a_h v_h) w_o + b_o,  a_h = softmax(q_h k_hᵀ / √d) over the keys
    Backward  with Δ_h = (Δ w_oᵀ)_h:  ∂C/∂v_h = a_hᵀ Δ_h,
    S_h = a_h ⊙ (Δ_h v_hᵀ − Σ_keys a_h ⊙ Δ_h v_hᵀ),  ∂C/∂q_h = S_h k_h / √d,
    ∂C/∂k_h = S_hᵀ q_h / √d,  and from there as in `Dense`,  with Δ = ∂C/∂y

    Here q = x w_q + b_q comes from the queries x, of shape (batch, T, F); k = u w_k + b_k and v =
    u w_v + b_v from the keys and values u, of shape (batch, T_keys, F_keys), by default x itself.
    Head h sees d = units / heads of their columns. The output has the shape of x. Both T may
    differ from batch to batch.

    A mask is boolean or 0/1, nonzero means use. Its shape is (batch, T_keys), or (batch, T, T_keys)
    to choose for each query. A query that may use no key gets zeros, without b_o, and sends no
    delta to anything. With a mask, self-attention is ``layer(x, x, mask)``.

    Source: A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, section 3.2.

    Parameters
    ----------
    heads
        The number of heads.
    units
        The width of all heads together; by default that of the queries.
    causal
        Whether entry i uses only the keys j ≤ i, also if there are more keys than queries.

    Attributes
    ----------
    query_weights, key_weights, value_weights : Parameter
        w_q, w_k, w_v, of shape (F, units), or (F_keys, units).
    output_weights : Parameter
        w_o, of shape (units, F).
    query_biases, key_biases, value_biases : Parameter
        b_q, b_k, b_v, of shape (units,). ∂C/∂b_k is zero: a softmax ignores what it adds to a row.
    output_biases : Parameter
        b_o, of shape (F,).
    attention : ndarray
        a after `forward`, of shape (batch, heads, T, T_keys).

    Raises
    ------
    ConfigurationError
        If ``heads`` or ``units`` is not an integer of at least 1, or ``heads`` does not divide
        ``units``.
    BuildError
        If there are more than three inputs.
    ShapeError
        If the rows are not sequences of vectors, ``heads`` does not divide their width, or the mask
        has the wrong shape.

    Examples
    --------
    >>> layer = MultiHeadAttention(heads=2)
    >>> x = np.ones((5, 10, 4))
    >>> layer(x).shape
    (5, 10, 4)

    Two queries and four keys, of which the last two are masked; all are equal:

    >>> mask = np.array([[1, 1, 0, 0]])
    >>> layer = MultiHeadAttention(heads=1, units=3)
    >>> layer.forward(np.ones((1, 2, 5)), np.ones((1, 4, 5)), mask).shape
    (1, 2, 5)
    >>> layer.attention
    array([[[[0.5, 0.5, 0. , 0. ],
             [0.5, 0.5, 0. , 0. ]]]])
    """

    heads: int = field(converter=as_int, validator=_a_count)
    units: int | None = field(default=None, converter=as_int, validator=_a_width)
    causal: bool = field(default=False, validator=yes_or_no)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _refuse_unfitting(self, input_shapes)
        (*_, width), keys = input_shapes[0], _keys_of(input_shapes)
        units = width if self.units is None else self.units
        for_keys = (keys[-1], units)
        self.query_weights = self.parameter("query_weights", (width, units), "glorot_uniform")
        self.query_biases = self.parameter("query_biases", (units,))
        self.key_weights = self.parameter("key_weights", for_keys, "glorot_uniform")
        self.key_biases = self.parameter("key_biases", (units,))
        self.value_weights = self.parameter("value_weights", for_keys, "glorot_uniform")
        self.value_biases = self.parameter("value_biases", (units,))
        self.output_weights = self.parameter("output_weights", (units, width), "glorot_uniform")
        self.output_biases = self.parameter("output_biases", (width,))

    def forward(self, *inputs: Array) -> Array:
        self.inputs, self.used = inputs, self._used(inputs)
        self.q, self.k, self.v, self.attention, self.mixed = self._attended(inputs, self.used)
        return self._output(self.mixed, self.used)

    def backward(self, delta: Array) -> Any:
        dq, dk, dv = self._accumulated(delta)
        of_query = product(dq, self.query_weights.value.T)
        of_keys = product(dk, self.key_weights.value.T)
        of_keys += product(dv, self.value_weights.value.T)
        if len(self.inputs) == 1:
            of_query += of_keys
            return of_query
        return of_query, of_keys, *(np.zeros_like(delta, shape=m.shape) for m in self.inputs[2:])

    def backward_parameters(self, delta: Array) -> None:
        self._accumulated(delta)

    def apply(self, *inputs: Array) -> Array:
        used = self._used(inputs)
        return self._output(self._attended(inputs, used)[-1], used)

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        sequences = ((None, shape[-1]) for shape in self.input_shapes[:2])
        return (*sequences, *((...,) for _ in self.input_shapes[2:]))  # build looks at the mask

    def equations(self) -> Equations:
        names = numbered("x", len(self.input_shapes))
        x, keys, heads = names[0], _keys_of(tuple(names)), self.heads
        units, width = self.query_biases.size, self.query_biases.size // heads

        def in_heads(array: str) -> str:
            return f"({array}).reshape(len({x}), -1, {heads}, {width}).swapaxes(1, 2)"

        def joined(array: str) -> str:
            return f"({array}).swapaxes(1, 2).reshape(len({x}), -1, {units})"

        def product(one: str, inputs: int, other: str, outputs: int) -> str:
            return f"{one}.reshape(-1, {inputs}).T @ {other}.reshape(-1, {outputs})"

        used = self._used_on_paper(names)
        powers = "np.exp(q @ k.mT / np.sqrt(" + str(width) + "))"
        total = "e.sum(axis=-1, keepdims=True)"
        y, delta = "m @ output_weights + output_biases", "delta"
        definitions = {
            "q": in_heads(f"{x} @ query_weights + query_biases"),
            "k": in_heads(f"{keys} @ key_weights + key_biases"),
            "v": in_heads(f"{keys} @ value_weights + value_biases"),
            **({"u": used} if used else {}),
            "e": f"{powers} * u" if used else powers,
            "a": f"e / {total}",
            "m": joined("a @ v"),
        }
        if len(names) == 3:  # a query may have no key
            definitions["a"] = f"e / np.where({total} == 0, 1, {total})"
            definitions["o"] = "np.where(np.max(u, axis=(1, 3)), 1, 0).reshape(len(u), -1, 1)"
            y, delta = f"o * ({y})", "(o * delta)"
        parts = {
            "dm": in_heads(f"{delta} @ output_weights.T"),
            "da": "dm @ v.mT",
            "ds": f"a * (da - (a * da).sum(axis=-1, keepdims=True)) / np.sqrt({width})",
            "dq": joined("ds @ k"),
            "dk": joined("ds.mT @ q"),
            "dv": joined("a.mT @ dm"),
        }
        of_keys = "dk @ key_weights.T + dv @ value_weights.T"
        backward = ["dq @ query_weights.T", of_keys, "np.zeros_like(x_3)"][: len(names)]
        if len(names) == 1:
            backward = [f"dq @ query_weights.T + {of_keys}"]
        features, of_key = self.input_shapes[0][-1], self.input_shapes[:2][-1][-1]
        gradients = {
            "query_weights": product(x, features, "dq", units),
            "key_weights": product(keys, of_key, "dk", units),
            "value_weights": product(keys, of_key, "dv", units),
            "output_weights": product("m", units, delta, features),
            "query_biases": "dq.sum(axis=(0, 1))",
            "key_biases": "dk.sum(axis=(0, 1))",
            "value_biases": "dv.sum(axis=(0, 1))",
            "output_biases": f"{delta}.sum(axis=(0, 1))",
        }
        return Equations(
            y, backward, gradients,
            definitions=definitions, backward_definitions=parts, signs=SIGNS,
        )  # fmt: skip

    def _used_on_paper(self, names: list[str]) -> str:
        """Where a query may use a key, as an expression; empty if it may use every key."""
        used = []
        if self.causal:
            rows = f"np.arange({names[0]}.shape[1]).reshape(-1, 1)"
            used.append(f"np.where({rows} >= np.arange({names[:2][-1]}.shape[1]), 1, 0)")
        if len(names) == 3:
            is_for_keys = len(self.input_shapes[2]) == 1
            used.append(f"np.expand_dims(np.where(x_3 != 0, 1, 0), {(1, 2) if is_for_keys else 1})")
        return " * ".join(used)

    def _attended(self, inputs: tuple[Array, ...], used: Array | None) -> tuple[Array, ...]:
        """What backward needs: q / √d, k, v and a of all heads, and a v side by side."""
        query, keys = inputs[0], _keys_of(inputs)
        q = self._in_heads(_affine(query, self.query_weights, self.query_biases))
        k = self._in_heads(_affine(keys, self.key_weights, self.key_biases))
        v = self._in_heads(_affine(keys, self.value_weights, self.value_biases))
        q *= self._scale
        attention = _softmax(np.matmul(q, _turned(k)), used)
        return q, k, v, attention, _product_of_heads(attention, v)

    def _output(self, mixed: Array, used: Array | None) -> Array:
        return _where_a_key_is_used(used, _affine(mixed, self.output_weights, self.output_biases))

    def _accumulated(self, delta: Array) -> tuple[Array, ...]:
        """Add to all gradients; returns ∂C/∂q, ∂C/∂k and ∂C/∂v."""
        delta = _where_a_key_is_used(self.used, delta)
        _accumulate(self.mixed, delta, self.output_weights, self.output_biases)
        mean = self._in_heads(product(delta, self.output_weights.value.T))
        shares = np.matmul(mean, _turned(self.v))  # ∂C/∂a
        is_plain = type(shares) is type(self.attention) is np.ndarray
        scores = shares
        for _ in range(2):  # what the first mean leaves is rounding, which a large q would amplify
            mean_share = np.vecdot(self.attention, scores)[..., np.newaxis]
            scores = np.subtract(scores, mean_share, out=scores if is_plain else None)
        scores *= self.attention
        dv = _product_of_heads(np.swapaxes(self.attention, 2, 3), mean)
        dk = _product_of_heads(np.swapaxes(scores, 2, 3), self.q)
        dq = _product_of_heads(scores, self.k)
        dq *= self._scale
        query, keys = self.inputs[0], _keys_of(self.inputs)
        _accumulate(query, dq, self.query_weights, self.query_biases)
        _accumulate(keys, dk, self.key_weights, self.key_biases)
        _accumulate(keys, dv, self.value_weights, self.value_biases)
        return dq, dk, dv

    # ---------------------------------------------------------------- parts

    @property
    def _scale(self) -> float:
        """1/√d: without it the scores grow with d, and the softmax saturates."""
        return 1 / math.sqrt(self.query_biases.size // self.heads)

    def _in_heads(self, array: Array) -> Array:
        """(batch, T, units) as (batch, heads, T, d)."""
        batch, steps, units = array.shape
        return np.swapaxes(np.reshape(array, (batch, steps, self.heads, units // self.heads)), 1, 2)

    def _used(self, inputs: tuple[Array, ...]) -> Array | None:
        """Whether a query may use a key, to broadcast over heads; None if it may use every key."""
        used: Array = None
        queries, keys = inputs[0].shape[1], _keys_of(inputs).shape[1]
        if self.causal:
            used = _not_later(queries, keys, inputs[0])
        if not keys:
            used = np.zeros((1, 1, queries, 0), bool)
        for mask in inputs[2:]:
            given = mask[:, np.newaxis, np.newaxis] if mask.ndim == 2 else mask[:, np.newaxis]
            used = given != 0 if used is None else (given != 0) & used
        return used


class PositionalEncoding(Layer, repr=False):
    """Adds sines and cosines of the position to a sequence, so that a network sees the order.

    Forward  y_tj = x_tj + sin(t / 10000^(j/F)) for even j,  x_tj + cos(t / 10000^((j−1)/F)) for odd
    Backward  ∂C/∂x = Δ,  with Δ = ∂C/∂y

    Rows are sequences (T, F) of any length and width. Neighbouring columns are the sine and the
    cosine of one wave; the wavelengths grow from 2π to nearly 10000 · 2π. To a position t + s
    belongs a rotation of the waves at t, by angles that depend on s alone, so a linear map can look
    s steps back.

    Source: A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, section 3.5.

    Raises
    ------
    ShapeError
        If the rows are not sequences of vectors.

    Examples
    --------
    >>> PositionalEncoding()(np.zeros((1, 2, 4))).round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]])
    """

    accepts_any_shape: ClassVar[bool] = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_sequence(self, "input", input_shape)

    def forward(self, inputs: Array) -> Array:
        return _with_waves(inputs)

    def backward(self, delta: Array) -> Array:
        return delta

    def apply(self, inputs: Array) -> Array:
        return _with_waves(inputs)

    def equations(self) -> Equations:
        width = self.input_shape[1]
        columns = f"np.arange({width})"
        return Equations(
            f"x + np.where({columns} == j, np.sin(angle), np.cos(angle))",
            "delta",
            definitions={
                "j": f"2 * np.floor({columns} / 2)",
                "angle": f"np.arange(x.shape[1]).reshape(-1, 1) / 10000 ** (j / {width})",
            },
            signs={"j": ("j", "j"), "angle": (r"\varphi^{(<n>)}", "φ<n>")},
        )


# ------------------------------------------------------------------------------- computing


def _affine(inputs: Array, weights: Parameter, biases: Parameter) -> Array:
    """The map x w + b of `Dense`."""
    outputs = product(inputs, weights.value)
    outputs += biases.value
    return outputs


def _accumulate(inputs: Array, delta: Array, weights: Parameter, biases: Parameter) -> None:
    """Its gradients, xᵀ Δ and Σ Δ."""
    delta = vectors(delta)
    weights.accumulate_product(vectors(inputs).T, delta)
    biases.accumulate_product(ones(len(delta), delta.dtype), delta)


def _softmax(scores: Array, used: Array | None) -> Array:
    """The softmax over the keys that are used; zeros for a query that uses none.

    It overwrites the scores.
    """
    is_plain = type(scores) is np.ndarray
    if not (is_plain and scores.size and scores.min() > -SAFE and scores.max() < SAFE):
        lowest = np.finfo(scores.dtype).min / 2
        if used is not None:
            scores = np.where(used, scores, lowest)
        scores -= scores.max(axis=-1, keepdims=True, initial=lowest)
    powers = np.exp(scores, out=scores if is_plain else None)
    if used is not None:
        powers *= used
    total = np.matmul(powers, ones(powers.shape[-1], powers.dtype))[..., np.newaxis]
    powers /= total if used is None else np.where(total == 0, 1, total)
    return powers


def _turned(heads: Array) -> Array:
    """The transpose of each matrix, copied: a product with it is twice as fast."""
    return np.copy(np.swapaxes(heads, 2, 3), order="C")


def _where_a_key_is_used(used: Array | None, rows: Array) -> Array:
    """The rows of the queries, with zeros for a query that may use no key."""
    if used is None or used.ndim == 2:  # causal: every query may use the first key
        return rows
    return np.where(np.swapaxes(used.any(axis=-1), 1, 2), rows, 0)


def _product_of_heads(left: Array, right: Array) -> Array:
    """The product for each head, (batch, heads, T, d), as (batch, T, heads · d)."""
    (batch, heads, steps, _), width = left.shape, right.shape[3]
    if type(left) is np.ndarray and type(right) is np.ndarray:
        product = np.empty((batch, steps, heads, width), left.dtype)
        np.matmul(left, right, out=np.swapaxes(product, 1, 2))  # no copy to exchange the axes
    else:
        product = np.swapaxes(np.matmul(left, right), 1, 2)
    return np.reshape(product, (batch, steps, heads * width))


def _keys_of(inputs: tuple[Any, ...]) -> Any:
    """The second of the inputs, or of their shapes; in self-attention the only one."""
    return inputs[:2][-1]


def _not_later(queries: int, keys: int, model: Array) -> Array:
    """Whether key j ≤ query i, for all i and j; an array like the model."""
    if has_values(model):
        return _known_order(queries, keys)
    return np.tri(queries, keys, dtype=bool, like=model)


@functools.lru_cache(maxsize=16)
def _known_order(queries: int, keys: int) -> npt.NDArray[np.bool_]:
    return np.tri(queries, keys, dtype=bool)


def _with_waves(inputs: Array) -> Array:
    """What `PositionalEncoding` computes."""
    steps, width = inputs.shape[1:]
    if has_values(inputs):
        return inputs + _known_waves(steps, width, inputs.dtype)
    quarters = np.arange(width) % 2 * (np.pi / 2)  # a cosine is a sine, a quarter ahead
    waves = np.sin(_angles(places(steps, inputs), width) + quarters)
    return inputs + waves.astype(inputs.dtype)


def _angles(steps: Array, width: int) -> Array:
    """The angle of each wave at each step."""
    column = np.arange(width)
    return steps[:, np.newaxis] / 10000.0 ** ((column - column % 2) / max(width, 1))


@functools.lru_cache(maxsize=16)
def _known_waves(steps: int, width: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    angles = _angles(np.arange(steps), width)
    is_odd = np.arange(width) % 2 == 1
    waves = np.array(np.where(is_odd, np.cos(angles), np.sin(angles)), dtype)
    waves.flags.writeable = False
    return waves


# ------------------------------------------------------------------------------- errors


def _require_sequence(layer: Layer, what: str, shape: Shape) -> None:
    if len(shape) != 2:
        raise ShapeError(
            f"{layer!r}: the rows of the {what} are not sequences of vectors",
            expected="(batch, T, F)",
            received=batch_of(shape),
            hint="Reshape((T, F)) makes them sequences",
        )


def _refuse_unfitting(layer: MultiHeadAttention, shapes: tuple[Shape, ...]) -> None:
    """Raise an error unless rows of these shapes are queries, keys and a mask that fit together."""
    if not 1 <= len(shapes) <= 3:
        raise BuildError(
            f"{layer!r}: it takes one to three inputs",
            expected="layer(query), layer(query, key_value) or layer(query, key_value, mask)",
            received=f"{len(shapes)} inputs",
            hint="self-attention with a mask is layer(x, x, mask)",
        )
    for what, shape in zip(("query", "key_value"), shapes, strict=False):
        _require_sequence(layer, what, shape)
    (queries, width), (keys, _) = shapes[0], _keys_of(shapes)
    if layer.units is None and (width % layer.heads or not width):
        raise ShapeError(
            f"{layer!r}: the heads do not divide the width of the queries",
            expected=f"a width that is a multiple of heads={layer.heads}",
            received=batch_of(shapes[0]),
            hint=f"units={_multiple(width, layer.heads)} gives all heads together another width",
        )
    if len(shapes) == 3 and shapes[2] not in ((keys,), (queries, keys)):
        raise ShapeError(
            f"{layer!r}: the mask does not fit the queries and keys",
            expected=f"(batch, {keys}), a number for each key, or (batch, {queries}, {keys})",
            received=batch_of(shapes[2]),
            hint="a mask is boolean or 0/1, and nonzero means use",
        )
