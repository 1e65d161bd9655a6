"""Recipes that were measured: one file each, whose docstring gives the command, the time and the expected score.

`OPTIONS` are flat options (`{"optimizer.lr": 0.1}`). `choose` picks a recipe for the data; `--recipe NAME` names one.
"""
