"""The contract: what a layer is, what it keeps, and how it reports errors.

Read in this order:

    layer            the class that every layer extends, with `forward` and `backward`
    parameter        an array with its gradient, and the flat vector that holds all of a model's
    initializers     the values that parameters start with
    types            the types `Array` and `Shape`, which every module uses
    errors           the named errors: place, expected, received, hint

and, for changes to the contract itself:

    method_wrapping  what is put around an author's methods, once, when the class is defined
    input_checks     which inputs and deltas a layer accepts
    building         how a layer is built: completely, or not at all
    layer_state      which attributes are configuration, state or memory; copies of a layer
    ownership        which place in a model owns a layer's memory
    tree             the layers inside a layer, and their paths
    equations        a layer on paper, for `chainrule.explain`
    messages         how errors refer to layers
    validators       the checks of arguments that all packages share
    caller           warnings that refer to the line of the user's program
    class_definition  what happens when a subclass of `Layer` is defined
    deprecation      old names that keep working for one release

A new initializer, validator or error affects nothing else. Every other change here affects all
layers, including those of users: the laws in `tests/laws` must still hold.
"""
