"""Networks in files: everything comes back, masks too, and nothing in a file is run."""

import pytest
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.dag.network_files import load_dag_network, save_dag_network
from tests.networks.dag.structures import random_structure, small_world


@pytest.mark.parametrize(
    ("features", "options"),
    [
        ({"in_features": 3, "out_features": 2}, {"has_norm": True}),
        ({"in_features": 3, "out_features": 2}, {"activation": Activation("sine", 30.0)}),
        ({}, {}),
    ],
)
def test_networks_come_back(tmp_path, features, options):
    network = DAGNetwork(random_structure(3), **features, **options).double()
    for layer in network.layers:
        layer.set_mask(layer.mask & (torch.rand(layer.mask.shape) < 0.7))
    save_dag_network(network, tmp_path / "network.pt")
    loaded = load_dag_network(tmp_path / "network.pt")
    inputs = torch.randn(4, network.layers[0].in_features).double()
    assert torch.equal(loaded(inputs), network(inputs))
    assert loaded.structure.equals(network.structure)
    assert loaded.initial_structure.equals(random_structure(3))
    assert loaded.activation.activation == network.activation.activation


class Harmful:
    def __reduce__(self):
        return pytest.fail, ("code of a file was run",)


@pytest.mark.parametrize("contents", [b"", b"text"])
def test_files_that_hold_no_network(raises_saying, tmp_path, contents):
    (tmp_path / "network.pt").write_bytes(contents)
    with raises_saying(asked="load a network", found="of another kind", do="save_dag_network"):
        load_dag_network(tmp_path / "network.pt")


def test_files_run_no_code(raises_saying, tmp_path):
    torch.save({"settings": Harmful()}, tmp_path / "network.pt")
    with raises_saying(asked="load a network", found="(UnpicklingError)", do="save_dag_network"):
        load_dag_network(tmp_path / "network.pt")


def test_files_of_other_states(raises_saying, tmp_path):
    torch.save(small_world(5).num_nodes, tmp_path / "network.pt")
    with raises_saying(asked="load a network", found="of another kind (TypeError)", do="Give"):
        load_dag_network(tmp_path / "network.pt")
    with raises_saying(asked="load a network", found="no such file", do="another path"):
        load_dag_network(tmp_path / "none.pt")
