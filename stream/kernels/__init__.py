"""Compiled loops over columns. They know no files, clocks or names; each has a plain twin in the tests."""

from numba import njit

kernel = njit(nogil=True, cache=True)
"""How every kernel is compiled: no fast-math, no parallel loops, results equal to the plain function bit for bit."""
