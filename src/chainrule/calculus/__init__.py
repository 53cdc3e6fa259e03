"""Derivatives: dual numbers, derivatives of whole models, and the check of a layer's backward.

- `dual`: numbers that carry their derivative; its rules are in `rules`, `elementwise_rules` and
  `array_rules`. Start here.
- `derivatives`: Jacobian- and Hessian-vector products, Jacobians, gradients row by row.
- `check`: `check_layer` and `check_loss`. The laws they check are in `laws`, `derivative_laws`
  and `loss_laws`; `diagnosis` describes a wrong gradient; `products` and `subject` are their tools.

To add a NumPy function, add a rule to one of the two tables, or use `dual.tangent_rule`.
"""
