"""Which runs make a grid (`grid`), what is left of it and what it costs (`plan`, `forecast`), and who carries it out.

`local` spreads runs over the cores of this machine. `submit` packs them into jobs (`pack`) and hands these to SLURM; a
`job` does on its node what `local` does here. `launches` remembers what was launched, `status` tells how all of it
stands.
"""
