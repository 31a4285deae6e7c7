"""The multilayer perceptron of heads and baseline."""

import torch
from torch import nn

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.mlp import make_mlp


def test_layers_and_sizes():
    mlp = make_mlp([3, 5, 4, 2])
    kinds = [type(layer) for layer in mlp]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert mlp(torch.zeros(7, 3)).shape == (7, 2)


def test_dropout_is_behind_every_relu():
    kinds = [type(layer) for layer in make_mlp([3, 5, 2], dropout=0.3)]
    assert kinds == [nn.Linear, nn.ReLU, Dropout, nn.Linear]


def test_no_hidden_layer():
    assert [type(layer) for layer in make_mlp([3, 2])] == [nn.Linear]
