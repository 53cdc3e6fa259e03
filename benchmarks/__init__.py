"""Time of one training step, compared with the lecture's program, NumPy, PyTorch and JAX.

    ratio = (time of chainrule's step) / (time of the other's step)

On a machine that also does other work, only the ratio is meaningful, and only if both times were
taken under the same conditions. So all contenders run the same step, in turn.
`python -m benchmarks` runs everything, and `docs/benchmarks.md` explains the method.
"""
