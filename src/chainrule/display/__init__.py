"""Display: tables, figures and equations of a model, for people.

    summary       the table of a model's layers
    model_table   the layers in a notebook, as a table in which containers open and close
    diagram       its graph, as text or Mermaid
    trace         one pass, with all values kept; printed by `trace_table`, drawn by `trace_plot`
    picture       the drawing of neurons, weights and feature maps: what is in it;
                  `picture_layout` says where, `picture_drawing` draws
    equations     `explain`: the backpropagation of a model on paper
    explanation   what `explain` returns
    symbols       the name of each value, delta and parameter in an explanation
    reading       the equations of a layer, read from its code
    formula       what the code of a model computes; `formula_writing` says how it is written
    derive        the source of a layer for a formula
    numpy_source  expressions of SymPy as the source of NumPy expressions
    notation      one expression for a page, a terminal and a computation
    program       `program`: the backpropagation of a model as a Python file; `program_passes` has
                  its lines, `program_loops` the functions of layers with loops, `program_file`
                  puts functions into the file, `source` lays lines out
    plots         figures of a finished training

No other package imports from here, so anything can change as long as its own tests pass; only a
layer asks for `as_html`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def as_html(model: Layer) -> str:
    """A model as a notebook shows it; see `chainrule.display.model_table`."""
    from chainrule.display.model_table import model_table

    return model_table(model)
