"""Parts of an array cover it once, in order; windows are counted by hand."""

import numpy as np
import pytest

from nn_graphs.graphs.extraction.axis_windows import adaptive_window, slid
from nn_graphs.graphs.extraction.edge_bundles import slices_of


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4), (2, 3, 5), (2, 1, 4, 3), (0, 3), ()])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_parts_cover_an_array_in_order(shape, size):
    array = np.arange(int(np.prod(shape))).reshape(shape)
    parts = [array[slices].reshape(-1) for slices in slices_of(shape, size)]
    np.testing.assert_array_equal(np.concatenate(parts), array.reshape(-1))
    assert max(map(len, parts)) <= size


def test_a_kernel_that_slides_by_hand():
    outputs, positions, inputs = slid(3, 3, 2, 1, 1, 5)
    assert outputs.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert positions.tolist() == [1, 2, 0, 1, 2, 0, 1]
    assert inputs.tolist() == [0, 1, 1, 2, 3, 3, 4]


def test_adaptive_windows_overlap():
    window = adaptive_window((5,), (3,))
    assert window.outputs.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert window.inputs.tolist() == [0, 1, 1, 2, 3, 3, 4]
