"""From run records (ours or anybody's) to Table 1, Figure 5 and tests. Reads files only and imports no torch.

1. ``records`` (run folders), ``foreign`` (a tidy CSV), ``committed`` (``results/``) -> one `load.Results`, which also
   lists what is left out of it
2. ``statistics``, ``aggregates``, ``table1``, ``figure5``: which numbers are made of which runs; rows of the JSON
   contract. On plain arrays: ``wilcoxon`` (the signed-rank test), ``robust`` (interquartile mean, bootstrap)
3. ``document``: the rows in every format, by ``wording`` (numbers and findings as text), ``tables`` (what stands
   where), ``markup`` (Markdown, LaTeX, HTML, CSV) and ``terminal``
4. ``main`` (``bench analyze``, ``bench publish``) and ``publish`` (run folders -> ``results/``)
"""
