"""Experts trained on the true reward, and the demonstrations they give.

The name is also that of a well-known package: import only as ``from datasets.<module> import ...``.
"""
