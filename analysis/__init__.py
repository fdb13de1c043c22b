"""From run records (ours or anybody's) to Table 1, Figure 5 and tests. Reads files only and imports no torch.

1. ``records`` (run folders), ``foreign`` (a tidy CSV), ``committed`` (``results/``) -> one `load.Results`, which also
   lists what is left out of it
2. ``statistics``, ``aggregates``, ``table1`` (with ``forecast``), ``interactions``, ``figure5``, ``figures``: which
   numbers are made of which runs; rows of the JSON contract. On plain arrays: ``wilcoxon`` (the signed-rank test),
   ``robust`` (bootstrap)
3. ``document``: the rows in every format, by ``wording`` (numbers and findings as text), ``tables`` (what stands
   where), ``markup`` (Markdown, LaTeX, HTML, CSV), ``plotting`` and ``terminal``; ``report``: one page of all of it
4. ``main`` (the commands), ``publish`` (run folders -> ``results/``), ``compare`` (two sets, entry by entry)
5. ``diagnosis``: the figures of ``bench diagnose``

STATISTICS.md explains the numbers.
"""

FORMATS = ("md", "csv", "tex", "html", "json")
PARTS = ("table1", "figure5", "figures", "wilcoxon", "interactions")
