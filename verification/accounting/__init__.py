"""Accounting of a month: energy by type, standard coal, emissions by scope and method, intensity, budgets."""
