"""The contract: what a layer is, what it keeps, and how it reports errors.

Read in this order:

    layer            the base class of all layers, with `forward` and `backward`
    parameter        an array with its gradient, and the flat vector of all parameters of a model
    initializers     the values that parameters start with
    types            the types `Array` and `Shape`
    errors           the named errors: place, expected, received, hint

and, for changes to the contract itself:

    class_definition  what happens when a subclass of `Layer` is defined
    method_wrapping  what runs around an author's methods
    open_axes        the axes of a row that may differ from batch to batch
    input_checks     which inputs and deltas a layer accepts
    arrays           what is an array of numbers, and what only looks like one
    building         how a layer is built: completely, or not at all
    hints            what a name that does not exist here most likely means
    elsewhere        the names of other libraries, and what to use here
    extras           optional libraries: the error for a missing one
    acceleration     the extra `fast`: products by MKL, loops compiled by numba
    mkl              the product of MKL
    layer_state      which attributes are configuration, bookkeeping or memory; copies of a layer
    whole_batch      sums over the rows of a batch that several processes share
    ownership        which use of a layer owns its memory
    tree             the layers inside a layer, and their paths
    equations        a layer on paper, for `chainrule.explain`
    messages         how a layer prints, and the errors about layers
    terminal         ASCII for the signs that an encoding lacks
    notebook         whether a kernel of Jupyter runs the program; outputs that change in place
    html_table       tables of a notebook
    labels           the rows of a table keep their labels: pandas, polars, xarray
    validators       the checks of arguments that all packages share
    caller           warnings that point to the line of the user's program
    deprecation      old names that keep working for one release

A new initializer, validator or error affects nothing else. Every other change affects all layers,
including those of users: the laws in `tests/laws` must hold.
"""
