"""A stack of CNNs against plain torch: one module at a time, with torch's own optimizers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nn_graphs.datasets import load_images
from nn_graphs.networks.classifiers.data import LabelledData, Orders, network_keys
from nn_graphs.networks.classifiers.draws import joined, uniforms
from nn_graphs.networks.classifiers.model import Mode
from nn_graphs.networks.classifiers.single import torch_optimizer
from nn_graphs.networks.classifiers.spec_model import SpecModel
from nn_graphs.networks.classifiers.train_stack import DROPOUT, Plan, Recipe, train_classifiers
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.initializers import torch_initial_params
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.spec import NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SPECS = {
    "small": small_cnn_zoo_spec("tanh", padding=1),
    "wild": wild_park_spec(
        (1, 4, 6, 3), (3, 5, 3), activations=("gelu", "tanh", "leaky_relu"), residuals=(-1, -1, 0)
    ),
}
RECIPES = [
    Recipe(Optimizer("adam", 0.01, weight_decay=0.01), dropout=0.3),
    Recipe(Optimizer("sgd", 0.1), dropout=0.0),
    Recipe(Optimizer("rmsprop", 0.003, alpha=0.9, eps=1e-7), dropout=0.6),
]
PLAN = Plan(num_epochs=2, batch_size=16, is_compiled=False)


def digits() -> LabelledData:
    return LabelledData.from_dataset(
        load_images("digits"), num_train=48, num_test=16, dtype=torch.float64
    )


def forward(spec: NetworkSpec, module, images, rate: float, key):
    """The module's function, written out, with dropout by the same draws."""
    outputs = [images]
    for number, (layer, linear) in enumerate(zip(spec.layers, module.layers, strict=True), start=1):
        read = outputs[-1].mean((2, 3)) if layer.conv is None else outputs[-1]
        total = linear(read)
        for skip in layer.skips:
            shared = min(total.shape[1], outputs[skip].shape[1])
            total = torch.cat([total[:, :shared] + outputs[skip][:, :shared], total[:, shared:]], 1)
        values = layer.activation(total)
        if number < len(spec.layers):
            draws = uniforms(joined(key, number), tuple(values.shape)).reshape(values.shape)
            values = values * (draws >= rate) / (1 - rate)
        outputs.append(values)
    return outputs[-1]


def train_alone(spec: NetworkSpec, params, recipe: Recipe, data: LabelledData):
    module = spec.make_module().double()
    module.load_state_dict(spec.parameters.unflatten(params))
    optimizer = torch_optimizer(recipe.optimizer, module)
    orders = Orders(data.num_train, fractions=[1.0], seeds=[recipe.seed], batch_size=16)
    key = network_keys([recipe.seed], torch.device("cpu"))
    for epoch in range(PLAN.num_epochs):
        for number, index in enumerate(orders.epoch(epoch)[:, 0]):
            optimizer.zero_grad()
            drop_key = joined(key, DROPOUT, epoch, number)
            logits = forward(spec, module, data.take(index), recipe.dropout, drop_key)
            F.cross_entropy(logits, data.labels[index]).backward()
            optimizer.step()
    return spec.parameters.flatten(module)


@pytest.mark.parametrize("seeds", [(0, 0, 0), (5, 6, 7)], ids=["shared order", "own orders"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_network_of_the_stack_is_as_if_trained_alone(spec, seeds):
    data = digits()
    recipes = [
        Recipe(recipe.optimizer, dropout=recipe.dropout, seed=seed)
        for recipe, seed in zip(RECIPES, seeds, strict=True)
    ]
    keys = joined(network_keys([0] * 3, torch.device("cpu")), torch.arange(3, dtype=torch.int32))
    params = torch_initial_params(spec, keys).double()
    last = train_classifiers(SpecModel(spec), params, params[:, :0], data, recipes, PLAN)[-1]
    for number, recipe in enumerate(recipes):
        alone = train_alone(spec, params[number], recipe, data)
        torch.testing.assert_close(last.params[number], alone, rtol=1e-8, atol=1e-9)
        assert (last.params[number] - params[number]).abs().max() > 1e-3


def test_no_dropout_where_networks_are_scored():
    spec, images = SPECS["small"], digits().take(torch.arange(5))[None]
    params = torch_initial_params(spec, network_keys([1, 2], torch.device("cpu"))).double()
    logits, _ = SpecModel(spec)(params, params[:, :0], images, Mode())
    module = spec.make_module().double()
    module.load_state_dict(spec.parameters.unflatten(params[1]))
    torch.testing.assert_close(logits[1], module(images[0]))


def test_a_dropped_share_is_what_was_asked_for():
    spec = SPECS["small"]
    params = torch_initial_params(spec, network_keys([1], torch.device("cpu"))).expand(2, -1)
    seen = []

    class Watching(Mode):
        def drop(self, values, place):
            dropped = super().drop(values, place)
            seen.append((dropped == 0).float().flatten(1).mean(1))
            return dropped

    mode = Watching(True, torch.tensor([0.2, 0.6]), network_keys([3], torch.device("cpu")))
    SpecModel(spec)(params, params[:, :0], torch.randn(1, 256, 1, 16, 16), mode)
    assert len(seen) == 3
    np.testing.assert_allclose(torch.stack(seen), [[0.2, 0.6]] * 3, atol=0.02)
