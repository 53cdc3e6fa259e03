"""How long one training step takes, beside the lecture's program, plain NumPy, PyTorch and JAX.

    ratio = (time of chainrule's step) / (time of the other's step)

Only the ratio means something on a machine that does other work too, and only if both were taken
under the same conditions. So all contenders run the same step, side by side and in turns.
`python -m benchmarks` runs it all, and `docs/benchmarks.md` tells how.
"""
