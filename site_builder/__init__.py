"""The builder of the site from `docs/`: it runs blocks, draws figures and quotes the source.

    docs/*.md → python -m site_builder prepare → build/docs/*.md → mkdocs or zensical → site/

A page is Markdown with a few special kinds of blocks: Python, which is run, figures, which are
drawn, and excerpts, which are taken from the source. All this happens once, before the site is
rendered, and leaves plain Markdown and images. So the two renderers need not know about it, and
produce the same site. `docs/contributing/writing-pages.md` explains how to write a page.
"""
