"""Studies: long computations whose results the site shows.

Each module has a function ``run() -> dict`` of named numbers and lists, and a ``TOLERANCE``, the
relative difference that other processors may cause. Its result is stored in
``results/<module>.json``, which the pages read.

    make studies                            run all, compare with what is stored
    make studies ARGS="coverage"            run one
    make studies ARGS="coverage --accept"   store its result
"""
