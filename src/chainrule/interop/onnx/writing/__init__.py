"""A model in ONNX: a tracer flows through it and writes down what is computed.

A model is written as dual numbers and symbols flow through it, by its two methods, so a layer of
your own needs no code for it. Read in this order:

    traced        the array that writes down what is computed
    sizes         the length of an axis that the file leaves open
    elementwise, moving, indexing, products, spectra    which nodes compute a function of NumPy
    operations    layers that are a node of their own, such as a convolution
    recurrent     loops over time
    inference     layers as they are applied
    rules         all rules together
    writer        nodes, names, the file
    save          all of it for one model
"""
