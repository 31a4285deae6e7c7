"""Parameters and symmetries drawn for tests, and activations to choose from."""

import torch
from torch import Tensor

from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import ALL_KINDS, SymmetryElement, sample_symmetries
from nn_graphs.networks.activations import Activation

NUM_NETWORKS = 6
SAME = {"rtol": 1e-9, "atol": 1e-9}
RELU, SINE, TANH = Activation("relu"), Activation("sine", 30.0), Activation("tanh")


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def sample(template: GraphTemplate, kinds=ALL_KINDS, num_networks=NUM_NETWORKS) -> SymmetryElement:
    generator = torch.Generator().manual_seed(1)
    return sample_symmetries(
        template, num_networks, kinds=kinds, generator=generator, dtype=torch.float64
    )
