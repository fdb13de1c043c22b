"""From run records (ours or anybody's) to Table 1, Figure 5 and tests. Reads files only and imports no torch.

``load``        run folders, ``results/`` or a tidy CSV -> one `Results`; what is left out is listed
``wilcoxon``    the signed-rank test, its effect sizes and its interval, on plain arrays
``robust``      interquartile mean, probability of improvement, stratified bootstrap
``statistics``  which tests are done on which pairs -> rows of the JSON contract
``table1``      the entries of Table 1 -> rows of the JSON contract
``render``      the rows as Markdown, CSV, LaTeX, HTML and for the terminal
``figure5``     the learning curves
``publish``     run folders -> ``results/``
``main``        the command line's ``bench analyze`` and ``bench publish``
"""
