"""Derivatives: dual numbers, derivatives of whole models, and the check of a layer's backward pass.

    dual                  `Dual`, a value with its tangent, which NumPy's functions accept
    jet                   `Jet`, an array with several derivatives, first and second
    jet_functions         NumPy's functions of a `Jet`
    jet_memory            the parts of a `Jet` in memory, and its views
    rules                 the kinds of tangent rule
    elementwise_rules     the table of derivatives of elementwise functions; add a function here
    array_rules           the table for functions of whole arrays; add a function here
    linear_algebra_rules  the table for `numpy.linalg`; add a function here
    messages              the errors for what a `Dual` cannot do
    products              Jacobian products of a layer that do not use its `backward`
    derivatives           public: jvp, vjp, hvp, Jacobians and gradients of models
    rows                  what each row of a batch alone adds to the gradient
    objective             the cost as a function of the parameters, for minimizers
    replicas              copies of a model that compute with other numbers
    formula               public: `Formula`, a layer of which one writes `forward` alone
    tape                  a formula recorded once, and repeated for other parameters
    check                 public: `check_layer`, `check_loss` and their reports
    laws                  the laws of a layer, one function each
    derivative_laws       the first two laws
    inference_law         the tenth law
    situations            batch sizes, values and memory layouts that the laws try
    loss_laws             the same laws for a loss
    diagnosis             the likely mistake behind a wrong gradient
    array_methods         the methods of an array, for `Dual` and for symbolic arrays
    test_case             the layer and the numbers that a law is checked on

A tangent rule is one line in a table. A new law is a function in `laws` and an entry in its table.
"""
