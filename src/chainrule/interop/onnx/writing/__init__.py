"""Write a model as ONNX: a tracer flows through it and records what is computed.

The tracer flows through `forward` and `backward`, as dual numbers and symbols do, so your own
layers need no extra code. Read in this order:

    traced        the array that records what is computed
    sizes         the length of an axis that the file leaves open
    elementwise, moving, indexing, products, spectra    which nodes compute a NumPy function
    operations    layers that become a single node, such as a convolution
    recurrent     loops over time
    inference     layers as they are applied
    rules         all rules together
    writer        nodes, names, the file
    save          all of this for one model
"""
