"""Which runs make a grid (`slurm.grid`), and what carries them out (`slurm.local`: the cores of this machine)."""
