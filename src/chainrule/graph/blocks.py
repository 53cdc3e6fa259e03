"""Blocks: small graphs that architectures are stacked from.

    TransformerBlock    h = x + Attention(N(x)),    y = h + W₂ gelu(W₁ N(h))

Attention moves information between the entries of a sequence, and the two dense layers then work on
each entry alone. Both add to what was there, so a stack of blocks is one long skip connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from attrs import field

from chainrule.core.errors import BuildError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.types import Shape
from chainrule.core.validators import as_float, as_int, at_least_one, yes_or_no
from chainrule.graph.composite import ALL, Composite, NodeOutput, refuse_change
from chainrule.layers.activation import Activation
from chainrule.layers.attention import MultiHeadAttention
from chainrule.layers.dense import Dense
from chainrule.layers.merge import Add
from chainrule.layers.normalization import LayerNorm
from chainrule.layers.random import Dropout, a_share

_a_count = at_least_one("TransformerBlock(heads=4, hidden=256)")


class TransformerBlock(Composite, repr=False, on_setattr=refuse_change):
    """Attention and two dense layers, each normalised first and added to what came in.

    Forward  h = x + Attention(N(x)),  y = h + gelu(N(h) w_1 + b_1) w_2 + b_2
    Backward  Δ_h = Δ + J_2ᵀ Δ,  ∂C/∂x = Δ_h + J_1ᵀ Δ_h,  with Δ = ∂C/∂y and the Jacobians J_1, J_2
    of the two terms that are added

    N is `LayerNorm`, with parameters of its own in each place. Rows are sequences (T, F) of any
    length, and so is the output. A mask for the attention can be the second input: ``block(x,
    mask)``; see `MultiHeadAttention`.

    Source: A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017; normalised first as in R.
    Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020.

    Parameters
    ----------
    heads
        The number of heads of the attention, which must divide F.
    hidden
        The width between the two dense layers, often 4 F.
    causal
        Whether each entry sees only the entries before it, and itself.
    rate
        The rate of the `Dropout` before each of the two sums.

    Attributes
    ----------
    attention_norm, attention, dense_norm, dense_1, dense_2 : Layer
        The layers with parameters, after `build`.

    Raises
    ------
    ConfigurationError
        If an argument is invalid.
    BuildError
        If there are more than two inputs.
    ShapeError
        If the rows are not sequences of vectors, ``heads`` does not divide their width, or the mask
        has the wrong shape.

    Examples
    --------
    >>> block = TransformerBlock(heads=2, hidden=16)
    >>> block(np.ones((5, 10, 4))).shape
    (5, 10, 4)
    >>> block.parameters.paths[:3]
    ['attention_norm.scale', 'attention_norm.shift', 'attention.query_weights']
    """

    is_inlined: ClassVar[bool] = True

    heads: int = field(converter=as_int, validator=_a_count)
    hidden: int = field(converter=as_int, validator=_a_count)
    causal: bool = field(default=False, validator=yes_or_no)
    rate: float = field(default=0.0, converter=as_float, validator=a_share)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        if not 1 <= len(input_shapes) <= 2:
            raise BuildError(
                f"{self!r}: it takes one or two inputs",
                expected="block(x), or block(x, mask)",
                received=f"{len(input_shapes)} inputs",
            )
        self.is_masked = len(input_shapes) == 2
        self.attention_norm = LayerNorm()
        self.attention = MultiHeadAttention(self.heads, causal=self.causal)
        if self.rate:
            self.attention_dropout = Dropout(self.rate)
        self.attention_add = Add()
        self.dense_norm = LayerNorm()
        self.dense_1 = Dense(self.hidden)
        self.gelu = Activation("gelu")
        self.dense_2 = Dense(max(1, *input_shapes[0][-1:]))
        if self.rate:
            self.dense_dropout = Dropout(self.rate)
        self.dense_add = Add()

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        """Normalise, attend (drop), add; normalise, two dense layers (drop), add."""
        x, first = (0, 0), (1, ALL)
        given = (first, first, (0, 1)) if self.is_masked else (first,)
        wires: list[Sequence[NodeOutput]] = [(x,), given]
        if self.rate:
            wires.append(((2, ALL),))
        wires.append((x, (len(wires), ALL)))
        h = (len(wires), ALL)
        wires += [(h,), *(((n, ALL),) for n in range(len(wires) + 1, size - 1))]
        return [*wires, (h, (size - 1, ALL))]

    def explained(self, error: Exception, name: str) -> Exception:
        if isinstance(error, ShapeError) and "heads do not divide" in str(error):
            error.hint = "another number of heads, or a Dense before the block to change the width"
        return error

    def __eq__(self, other: object) -> bool:
        return Layer.__eq__(self, other)  # by the fields: the layers inside follow from them

    __hash__ = None
