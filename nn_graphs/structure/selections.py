"""The small published selections, without a sweep: 48 WS-flex graphs of 16 nodes and 52 of 64.

A graph is kept as its place in the grid (degree, p, seed) of its sweep, from which its recipe comes
back to the last bit; larger selections are what `run_sweep` gives.
"""

import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.measures import average_clustering
from nn_graphs.structure.paths import average_path_length
from nn_graphs.structure.sweep import PUBLISHED_SWEEPS, GraphTable
from nn_graphs.structure.wsflex import ws_flex_graphs

# fmt: off
PLACES = {
    16: (
        427215, 585584, 942826, 1522402, 919918, 694308, 680992, 565938, 1259135, 49931, 497336,
        42473, 137216, 62776, 100445, 318985, 365703, 665861, 261601, 370356, 268366, 15538, 102566,
        224312, 87245, 228461, 134882, 142609, 124057, 163066, 38683, 1248851, 12883, 16320, 331773,
        547534, 2854, 13409, 907787, 47824, 28613, 478481, 379442, 1005586, 1364429, 1702288,
        1644612, 1796056,
    ),
    64: (
        1220790, 150676, 711616, 1910265, 109169, 1878904, 176620, 1200136, 2501606, 748, 518601,
        1360305, 12585, 1080605, 156363, 603185, 533595, 433511, 1201444, 1271273, 456427, 855887,
        893438, 668168, 678407, 307579, 191306, 255133, 598713, 32232, 292815, 92796, 417091,
        226555, 616352, 785627, 248273, 85443, 145293, 14151, 355065, 308475, 47285, 18397, 36577,
        11391, 54950, 2078, 143473, 2133792, 2354217, 2641589,
    ),
}
"""By number of nodes, in the published order."""
# fmt: on


def small_selection(num_nodes: int) -> GraphTable:
    """The published array of 48 graphs of 16 nodes, or of 52 graphs of 64.

    Raises:
        NNGraphsError: for another number of nodes.
    """
    if num_nodes not in PLACES:
        raise NNGraphsError(
            f"select graphs of {num_nodes} nodes",
            found="there is no published selection of that size.",
            do="Choose 16 or 64 nodes, or run a sweep.",
        )
    sweep = PUBLISHED_SWEEPS[num_nodes]
    recipes = sweep.recipes_at(np.array(PLACES[num_nodes]))
    graphs = ws_flex_graphs(num_nodes, recipes[:, 1], recipes[:, 2], recipes[:, 3].astype(int))
    values = np.stack([average_clustering(graphs), average_path_length(graphs)], axis=1)
    return np.concatenate([recipes, values], axis=1)
