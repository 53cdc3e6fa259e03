"""Display: tables, drawings, formulas and figures of a model and of its training.

- `summary` (a table), `diagram` (a drawing) and `trace` (one pass in numbers; `trace_table` and
  `trace_plot` print and draw it) show what flows through a model.
- `equations` writes its backpropagation on paper: `explain`. It uses `explanation` (the result),
  `symbols` (names) and `notation` (formulas as code, LaTeX and text).
- `plots` draws a training and its results.

Each reads on its own; start with `summary`. Nothing here changes a model, so you can safely change
what is printed.
"""
