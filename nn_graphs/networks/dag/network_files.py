"""Networks of directed acyclic graphs in files: what makes one, its graph, its weights and masks.

A file holds tensors, numbers and texts alone, and no code in it is run.
"""

import pickle
from pathlib import Path

import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.structure.layered_graph import LayeredGraph

UNREADABLE = (  # what torch.load raises at any contents, and what other contents than ours do
    *(pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, IndexError),
    *(ValueError, AttributeError),
)
ARRAYS = ("sources", "targets", "layers")


def save_dag_network(network: DAGNetwork, path: str | Path) -> None:
    """Writes a network, whatever its masks have become."""
    activation = network.activation.activation
    graph = network.initial_structure
    contents = {
        "settings": {
            "in_features": network.in_features,
            "out_features": network.out_features,
            "has_norm": len(network.norms) > 0,
        },
        "activation": {"name": activation.name, "parameter": activation.parameter},
        "structure": {name: torch.from_numpy(getattr(graph, name)) for name in ARRAYS},
        "state": network.state_dict(),
    }
    torch.save(contents, path)


def load_dag_network(path: str | Path) -> DAGNetwork:
    """Reads a network that `save_dag_network` has written, on the processor.

    Raises:
        NNGraphsError: there is no such file, or it holds something else.
    """
    asked = f"load a network from {path}"
    if not Path(path).exists():
        raise NNGraphsError(asked, found="there is no such file.", do="Give another path.")
    try:
        contents = torch.load(path, weights_only=True, map_location="cpu")
        structure = [contents["structure"][name].numpy() for name in ARRAYS]
        settings, state = contents["settings"], contents["state"]
        activation = Activation(**contents["activation"])
    except UNREADABLE as error:
        raise NNGraphsError(
            asked,
            found=f"its contents are of another kind ({type(error).__name__}).",
            do="Give a file that save_dag_network has written.",
        ) from error
    sources, targets, layers = structure
    graph = LayeredGraph.from_edges(sources, targets, len(layers), layers=layers)
    network = DAGNetwork(graph, activation=activation, **settings)
    network.to(next(value.dtype for value in state.values() if value.is_floating_point()))
    network.load_state_dict(state)
    return network
