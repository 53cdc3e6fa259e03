"""Docstrings as the reference shows them: no Markdown is left in a block of code."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.site

DOCSTRING = """A schedule η(t), for an optimizer such as `Adam`::

    θ ← θ − η(t) ∂C/∂θ,    such as    `Cosine`

η(0) = 1    for ``t < T``, see `Cosine`
η(t) = ½    from then on

Parameters
----------
start
    As in `Cosine`.

Notes
-----
    f < f* − threshold   (``relative``)

>>> print('see `Cosine`')
see `Cosine`
"""
PAGE = """A schedule η(t), for an optimizer such as [`Adam`][chainrule.optimizers.Adam]:

    θ ← θ − η(t) ∂C/∂θ,    such as    Cosine

    η(0) = 1    for t < T, see Cosine
    η(t) = ½    from then on

Parameters
----------
start
    As in [`Cosine`][chainrule.schedules.Cosine].

Notes
-----
    f < f* − threshold   (relative)

    >>> print('see `Cosine`')
    see `Cosine`"""


def test_names_are_links_in_prose_and_plain_text_in_code() -> None:
    from site_builder.docstrings import for_the_page  # needs griffe, which builds the site

    assert for_the_page(DOCSTRING) == PAGE
