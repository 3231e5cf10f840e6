"""Kernels compiled for the tests go where `tanyun` keeps its own: a folder named by the digest of their source.

Beside the source, numba would not notice that a kernel called by another one has changed.
"""

from tanyun.environment import use_kernel_cache

use_kernel_cache()
