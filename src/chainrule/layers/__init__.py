"""The layers: one module for each family, and in it each layer with its mathematics.

    dense          z = y w + b; the shortest example of a layer with parameters, so read it first
    activation     y = f(z), elementwise; the functions f and their derivatives are in `functions`
    softmax        probabilities from scores
    merge          several inputs, one output: sums, products, concatenation
    reshape        the same numbers in another shape or order, or some of them
    convolution    the same weights at every place of a signal, an image or a volume; its transpose
    correlation    the linear maps of a convolution, by products of matrices
    pooling        the largest or the average entry of windows, or of whole rows
    resize         more or fewer entries in space: upsampling, padding, cropping
    windows        what a convolution or a pool sees at once: sizes, strides, padding
    normalization  mean and variance removed, over the batch, the row or a group of channels
    random         noise and dropout, in training only
    embedding      a vector of weights for each token
    recurrent      a step with a state, along a sequence: SimpleRNN, LSTM, GRU
    wrappers       a layer in every step of a sequence: Scan, Bidirectional, TimeDistributed
    attention      each entry of a sequence takes a weighted mean of the others; positions
    spectral       convolution by the Fourier transform
    kernels        loops that numba compiles, if it is installed

A new layer goes into the module of its family, or into a new one; nothing else has to change but
the public names in `chainrule/__init__.py` and its line in `tests/laws/library.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.core.hints import missing_name

if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        raise missing_name(__name__, name)
