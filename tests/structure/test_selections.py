"""The selections that are kept are the published arrays, and spread as their sweep says."""

import numpy as np
import pytest

from nn_graphs.datasets import data_root
from nn_graphs.structure import PUBLISHED_SWEEPS, small_selection

SIZES = {16: 48, 64: 52}


@pytest.mark.parametrize("num_nodes", SIZES)
def test_each_graph_has_a_block_of_the_plane_of_its_own(num_nodes):
    table = small_selection(num_nodes)
    assert table.shape == (SIZES[num_nodes], 6)
    assert (table[:, 0] == num_nodes).all()
    cells = PUBLISHED_SWEEPS[num_nodes].plane.cells(table[:, 4], table[:, 5])
    assert len(np.unique((cells - 1) // 9, axis=0)) >= SIZES[num_nodes] - 4  # some are borrowed
    assert np.ptp(table[:, 4]) > 0.8
    assert np.ptp(table[:, 5]) > 1.2


@pytest.mark.data
@pytest.mark.parametrize("num_nodes", SIZES)
def test_it_is_the_published_array(num_nodes):
    file = data_root() / "graph2nn" / f"graphs_n{num_nodes}_{SIZES[num_nodes]}.npy"
    published = np.load(file)
    np.testing.assert_array_equal(small_selection(num_nodes)[:, :4], published[:, :4])
    np.testing.assert_allclose(small_selection(num_nodes), published, rtol=0, atol=1e-12)


def test_other_sizes_have_none(raises_saying):
    with raises_saying(asked="32 nodes", found="no published", do="16 or 64"):
        small_selection(32)
