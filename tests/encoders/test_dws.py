"""DWSNet: its layers, and dropout that knows training from evaluation."""

import torch
from torch import nn

from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.equivariant.layers import SpaceBatchNorm
from tests.encoders.cases import inr, networks

TEMPLATE = inr(2, 5, 4, 1)


def test_layers():
    encoder = DWSNet(TEMPLATE, dim=7, num_layers=4)
    linears = encoder.layers.linears
    sizes = [linear.maps["axes_1_0"].weight.shape for linear in linears]
    assert sizes == [(7, 1), (7, 7), (7, 7), (7, 7)]
    kinds = [type(norm) for norm in encoder.layers.norms]
    assert kinds == [SpaceBatchNorm] * 3 + [nn.Identity]
    plain = DWSNet(TEMPLATE, dim=7, num_layers=4, has_batch_norm=False)
    assert {type(norm) for norm in plain.layers.norms} == {nn.Identity}


def test_a_layer_has_all_maps_of_a_chain_with_fixed_ends():
    """7 averages of 6 tensors, the first weight's two inputs apart, and so on, for each other."""
    assert DWSNet(TEMPLATE).layers.linears[0].num_maps == 7 * 7 + 4 * 4 + 3 * 3 + 1


def test_dropout_is_for_training_alone():
    encoder = DWSNet(TEMPLATE, dropout=0.5, has_batch_norm=False)
    graphs = TEMPLATE.stack(networks(TEMPLATE, 3).float())
    assert not torch.equal(encoder(graphs).edges, encoder(graphs).edges)
    encoder.eval()
    assert torch.equal(encoder(graphs).edges, encoder(graphs).edges)
