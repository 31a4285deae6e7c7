"""Colours of neurons and items, as 64-bit hashes: equal where nothing tells two apart."""

import numpy as np

Numbers = np.ndarray


def hashed(values: Numbers) -> Numbers:
    """Scrambled 64-bit numbers (the finalizer of splitmix64, Steele et al., 2014)."""
    scrambled = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return scrambled ^ (scrambled >> np.uint64(31))


def ranks_of(classes: Numbers, group_of: Numbers) -> Numbers:
    """How often a neuron's class was met before in its group."""
    order = np.lexsort((classes, group_of))
    keys = np.stack([group_of[order], classes[order]])
    is_new = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks


def runs_of(colours: Numbers, group_of: Numbers) -> Numbers:
    """Number of the run of neighbours of one colour and one group that each neuron lies in."""
    changes = (colours[1:] != colours[:-1]) | (group_of[1:] != group_of[:-1])
    return np.append(0, np.cumsum(changes))
