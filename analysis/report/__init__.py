"""``bench report``: one HTML page that holds everything, works from a file and needs no network.

1. ``series``: the curves and points that charts show, as rows of numbers
2. ``charts``, ``summaries``: those rows as Vega-Lite specifications, by ``looks``: colours are the page's, so that
   charts follow light and dark; ``panels`` keeps them by name
3. ``words``: what the tests say, in sentences; ``sheets``: tables that sort and filter; ``sources``: where all is from
4. ``page``: a `Document` -> the page, by ``page.html`` (Jinja2), ``style.css`` and ``script.js``
5. ``main``: the command

Vega, which draws the charts in the reader's browser, is put into the page by vl-convert.
"""
