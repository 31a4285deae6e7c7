"""Templates of traced modules come out of their JSON as they went in, and nothing in it is run."""

import json

import pytest
import torch
from torch import nn

from nn_graphs.graphs.architecture_specs import TracedSpec
from nn_graphs.graphs.execution import propagate
from nn_graphs.graphs.template_json import template_from_json, template_to_json
from nn_graphs.graphs.tracing import trace
from tests.zoos.readers.user_networks import Normed

IMAGES = torch.zeros(1, 1, 8, 8)


class Masked(nn.Module):
    """Weights that a constant mask forbids."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("mask", torch.eye(3, dtype=torch.bool))
        self.layer.weight.data *= self.mask

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(values, self.layer.weight * self.mask, self.layer.bias)


MODULES = {
    "norms": (Normed, IMAGES),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        torch.zeros(1, 3, 8),
    ),
    "recurrent": (lambda: nn.GRU(3, 4, batch_first=True), torch.zeros(1, 5, 3)),
    "gated": (lambda: nn.Sequential(nn.Linear(3, 8), nn.GLU(), nn.Softmax(-1)), torch.zeros(1, 3)),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(1, 2, 2), nn.GroupNorm(2, 2)),
        IMAGES,
    ),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)),
        torch.zeros(1, 3, dtype=torch.long),
    ),
    "masked": (Masked, torch.zeros(1, 3)),
}


@pytest.mark.parametrize("name", list(MODULES))
def test_round_trip(name):
    make, inputs = MODULES[name]
    template = trace(make().eval(), inputs)
    text = template_to_json(template)
    again = template_from_json(json.dumps(json.loads(text)))
    for part in ("groups", "blocks", "parameters", "symmetries"):
        assert getattr(again, part) == getattr(template, part)
    assert bool(again.masks) == (name == "masked")
    assert again.masks.keys() == template.masks.keys()
    assert all(torch.equal(again.masks[slot], mask) for slot, mask in template.masks.items())
    assert template_to_json(again) == text


def test_networks_run_along_the_graphs_of_a_template_that_was_read():
    module = Normed().eval()
    template = template_from_json(template_to_json(trace(module, IMAGES)))
    images = torch.randn(5, 1, 8, 8)
    params = template.parameters.flatten(module)
    outputs = propagate(template.stack(params.unsqueeze(0)), images)[-1].squeeze(0)
    torch.testing.assert_close(outputs, module(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("aten.max_pool2d.default", "aten.from_file.default", "aten.from_file.default"),
        ('"is": "Step"', '"is": "system"', "'system'"),
        ('"is": "NodeGroup"', '"is": "ParameterSlot"', "unexpected keyword argument"),
        ('"groups"', '"group"', "groups"),
    ],
)
def test_what_is_not_known_is_refused(raises_saying, old, new, found):
    text = template_to_json(trace(Normed(), IMAGES))
    assert old in text
    with raises_saying(asked="template of a traced", found=found, do="by the module"):
        template_from_json(text.replace(old, new))


def test_specs_are_equal_where_their_architectures_are():
    one, other = (TracedSpec.of(trace(Normed(), IMAGES)) for _ in range(2))
    wider = TracedSpec.of(trace(Normed(5), IMAGES))
    assert one == other
    assert {one: 1}[other] == 1
    assert one != wider
    again = TracedSpec.from_data(json.loads(one.to_json()))
    assert again == one
    assert again.parameters == one.template.parameters
    assert again.num_params == sum(
        value.numel() for value in Normed().state_dict().values() if value.is_floating_point()
    )
    assert str(one) == f"TracedSpec(1-4-4-4-4-4-...-36-3: {one.num_params} parameters)"
