"""What makes the tutorial site out of `docs/`: blocks that run, figures, excerpts of the source.

    docs/*.md → python -m site_builder prepare → build/docs/*.md → mkdocs or zensical → site/

A page is Markdown with a few kinds of blocks that mean more here than elsewhere: Python, which is
run, figures, which are drawn, and excerpts, which are taken from the source. All that is done once,
before the site is rendered, and leaves plain Markdown and pictures. So the two renderers need know
nothing of it, and give the same site. `docs/contributing/writing-pages.md` tells how a page is
written.
"""
