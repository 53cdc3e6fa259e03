"""Symbolic arrays and proofs: the same two methods of a layer, with formulas in place of numbers.

    proof           public: `prove_layer`, `prove_loss`, `prove_gradient`
    prover          the statements, region by region
    report          `Proof` and its parts
    counterexample  the simplest values for which a layer is wrong
    regions         the other sides of what a program has compared
    trials          the passes of a layer at one point
    array           `Symbolic`, an array of formulas, which NumPy's functions accept
    functions       NumPy's functions written out
    entries         its entries: a formula with its value at a point
    forms           formulas as graphs, and their derivatives
    polynomials     formulas as fractions of polynomials: which of them are zero
    readings        the simple numbers that doubles stand for
    cases           the formulas of each branch
    formulas        formulas as SymPy expressions

A function of numbers gets a line in a table of `entries`, one of arrays in `array`, and a rule for
its atoms in `polynomials`.
"""
