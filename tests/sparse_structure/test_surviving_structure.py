"""The graph of masks and its measures, by hand."""

import numpy as np
import pytest

from nn_graphs.sparse_structure import layers_of_masks, surviving_measures


def masks(first: list[str], second: list[str]) -> list[np.ndarray]:
    return [np.array([[c == "1" for c in row] for row in rows]) for rows in (first, second)]


def test_graph_of_masks():
    graph = layers_of_masks(masks(["110", "001"], ["10", "01"]))
    assert graph.layer_sizes.tolist() == [3, 2, 2]
    edges = sorted(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    assert edges == [(0, 3), (1, 3), (2, 4), (3, 5), (4, 6)]


def test_measures_by_hand():
    """Neuron 0 hears two inputs and is heard by both outputs; 1 is deaf, 2 is mute."""
    first = ["1100", "0000", "0011", "0000"]
    second = ["1100", "1000"]
    found = surviving_measures(layers_of_masks(masks(first, second)))
    assert found == pytest.approx(
        {
            "useful_edges": 4 / 7,
            "live_neurons": 1 / 4,
            "live_inputs": 2 / 4,
            "joined_pairs": 4 / 8,
            "log10_paths": np.log10(4),
            "degree_variation": 0,
            "top_neurons": 2 / 4,
        }
    )


def test_dense_and_empty_networks():
    dense = [np.ones((30, 6), bool), np.ones((3, 30), bool)]
    found = surviving_measures(layers_of_masks(dense))
    assert found.pop("log10_paths") == pytest.approx(np.log10(6 * 30 * 3))
    shares = {"degree_variation": 0, "top_neurons": 0.1}
    assert found == pytest.approx({**dict.fromkeys(found, 1), **shares})
    nothing = surviving_measures(layers_of_masks([mask & False for mask in dense]))
    assert set(nothing.values()) == {0.0}


@pytest.mark.parametrize(
    ("shapes", "found"), [([(3, 4), (2, 5)], r"[3, 4], [2, 5]"), ([], "there is nothing")]
)
def test_masks_that_make_no_network(raises_saying, shapes, found):
    with raises_saying(asked=f"{len(shapes)} masks", found=found, do="[out, in]"):
        layers_of_masks([np.ones(shape, bool) for shape in shapes])
