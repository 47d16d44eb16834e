"""Randomness is an argument: numbers from a counter-based generator, keyed by integers such as (seed, epoch, index).

The same keys give the same numbers on any machine, with any number of workers, in any order. Only raw 64-bit words
are taken from numpy, whose streams are stable; its distributions may change between versions (NEP 19).
"""

import numpy as np


def uniform(count: int, *keys: int) -> np.ndarray:
    """`count` float64 numbers in [0, 1) for these keys."""
    words = np.random.Philox(np.random.SeedSequence(keys)).random_raw(count)
    return (np.asarray(words, dtype=np.uint64) >> np.uint64(11)) * 2.0**-53


def permutation(count: int, *keys: int) -> np.ndarray:
    """The numbers 0 … count − 1 in an order drawn for these keys, int64."""
    return np.argsort(uniform(count, *keys), kind="stable")
