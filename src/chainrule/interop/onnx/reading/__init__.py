"""Read an ONNX model as a `Graph` that can be trained.

Read in this order:

    load           from the file to the graph
    operators      which operator becomes which layer
    values         where the axes of a value are
    conversion     what the rule for an operator works with
    elementwise, moving, products, sums, reductions, resizing, recurrences, grouped     the rules
    folding        what is computed from constants alone
    model_file     the bytes, and the limits on what a file may request
    layers, functions     what ONNX has and chainrule otherwise lacks
"""
