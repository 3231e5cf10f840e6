"""Emission factors, standard-coal coefficients, and the policies that choose a factor for a month."""
