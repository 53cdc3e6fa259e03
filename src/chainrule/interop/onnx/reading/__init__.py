"""A model of ONNX as a `Graph` to train on.

Read in this order:

load           from the file to the graph
operators      which operator becomes which layer
values         where the axes of a value are
conversion     what a rule for an operator works with
elementwise, moving, products, reductions, resizing, recurrences     the rules
folding        what is computed from constants alone
model_file     the bytes, and the bounds on what a file may ask for
layers, functions     what ONNX has and chainrule otherwise does not
"""
