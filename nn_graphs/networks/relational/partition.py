"""Which channels of a layer belong to which node of a relational graph (You et al., ICML 2020).

Channels are shared out as evenly as possible, in consecutive groups. Which nodes get one more is
drawn once and for all: by the published code with numpy's generator of the seed 1. It resets the
global generator for that, whose numbers the training then goes on with; here a generator of its own
gives the same draw.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Integer

PARTITION_SEED = 1


def group_sizes(num_channels: int, num_groups: int) -> Integer[np.ndarray, " num_groups"]:
    """Channels of every node, e.g. `[1, 1, 2, 1]` for 5 channels and 4 nodes."""
    size, num_larger = divmod(num_channels, num_groups)
    return size + (group_ranks(num_groups) < num_larger)


@lru_cache(maxsize=256)
def group_ranks(num_groups: int) -> Integer[np.ndarray, " num_groups"]:
    """Place of every node in the order in which left-over channels are given out."""
    ranks = np.random.RandomState(PARTITION_SEED).permutation(num_groups)
    ranks.flags.writeable = False  # shared by all callers
    return ranks
