"""Layers: one file per family, with the formulas of each layer in its docstring.

`dense` (z = y w + b), `activation` (y = f(z), with the functions f and f′ in `functions`),
`softmax`, `merge` (layers with several inputs) and `reshape` (layers that only move numbers).
Each file reads on its own; start with `dense`. A new layer needs only `forward` and `backward`,
and the tests in ``tests/laws`` check it once it is listed there.
"""
