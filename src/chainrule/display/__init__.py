"""What a person looks at: tables, figures and equations of a model.

    summary       the table of a model's layers
    diagram       its graph, as text or Mermaid
    trace         one pass with everything kept; printed by `trace_table`, drawn by `trace_plot`
    equations     `explain`: the backpropagation of a model on paper
    explanation   what `explain` returns
    symbols       what each value, delta and parameter is called there
    notation      one expression for a page, a terminal and a computation
    plots         figures of a finished training

No other package imports from here, so everything may change as long as its own tests agree.
"""
