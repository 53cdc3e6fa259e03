"""Composition: layers that consist of layers.

    node         one call of a layer in a graph
    graph        `Graph`: any acyclic graph of calls
    sequential   `Sequential`: layers one after another
    residual     `Residual` and `Branches`, two small graphs
    ensemble     `Ensemble`: copies of a network, and their spread
    blocks       `TransformerBlock`, a larger one
    composite    what these containers share: a list of layers and of their connections
    plan         the steps that all of them run: values forward, deltas backward
    unrolling    how nested containers become one list of steps
    lines        the loop through the steps, where the time is spent
    plan_messages  the errors that name a step and its place

A new kind of container is a new subclass of `Composite` that names its connections; it needs no
change in `plan`.
"""
