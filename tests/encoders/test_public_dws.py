"""Checkpoints of published DWSNets put out here what their slow twin puts out."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.testing import assert_close

from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.public_checkpoints import PublicCheckpoint
from nn_graphs.encoders.public_code import model_from_public_code
from nn_graphs.encoders.published_dws import PublishedDWSNet, ReducedHead
from nn_graphs.testing import assert_equivariant, assert_invariant, assert_sensitive
from tests.encoders import dws_reference
from tests.encoders.cases import inr, networks, skipping
from tests.encoders.dws_reference import Options, State

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {
    "published": Options(),
    "one layer": Options(dims=(4,), reduction="mean"),
    "differences": Options(
        set_layer="ds", reduction="mean", bn=False, n_fc_layers=2, n_out_fc=2, dims=(4, 4)
    ),
    "no biases": Options(set_layer="ds", reduction="sum", bias=False, dims=(3, 5)),
    "diagonal": Options(diagonal=True, reduction="sum", bn=False, dims=(4, 6)),
    "diagonal differences": Options(diagonal=True, set_layer="ds", dims=(4, 6)),
    "skips": Options(add_skip=True, add_layer_skip=True, dims=(4, 4)),
    "sampled": Options(downsample=3, dims=(4, 4)),
    "sampled, skips": Options(downsample=1, add_layer_skip=True, n_fc_layers=2, dims=(4, 4)),
}
LAYOUTS = [(2, 3, 2, 3), (1, 2, 3, 2, 3), (2, 2, 1, 3, 2, 1)]
LAYOUT = LAYOUTS[0]


def as_matrices(layout: tuple[int, ...], params: Tensor) -> dws_reference.Values:
    """Weights `[in, out, 1]` and biases `[out, 1]` of one network."""
    weights, biases = [], []
    for num_inputs, num_outputs in pairwise(layout):
        weight, bias, params = params.split(
            [num_inputs * num_outputs, num_outputs, len(params) - (num_inputs + 1) * num_outputs]
        )
        weights.append(weight.reshape(num_outputs, num_inputs).T.unsqueeze(-1))
        biases.append(bias.unsqueeze(-1))
    return weights, biases


def flat(values: dws_reference.Values) -> Tensor:
    """The inverse of `as_matrices`."""
    pairs = zip(*values, strict=True)
    return torch.cat([torch.cat([w.squeeze(-1).T.flatten(), b.flatten()]) for w, b in pairs])


def twin_outputs(layout, options: Options, params: Tensor) -> tuple[State, Tensor]:
    """The checkpoint that the twin made, and what it puts out for every network."""
    state = State()
    rows = [dws_reference.classes(*as_matrices(layout, p), state, options) for p in params]
    return state, torch.stack(rows)


def checkpoint(state: State, options: Options) -> PublicCheckpoint:
    told = {k: v for k, v in asdict(options).items() if k in ("reduction", "add_layer_skip")}
    return PublicCheckpoint(state.tensors, {"model": {**told, "num_heads": options.num_heads}})


def loaded(layout=LAYOUT, options: Options = OPTIONS["published"]) -> GraphModel:
    state, _ = twin_outputs(layout, options, networks(inr(*layout), 1))
    return model_from_public_code(checkpoint(state, options), [inr(*layout)])


@pytest.mark.parametrize(
    ("name", "layout"),
    [("published", layout) for layout in LAYOUTS]
    + [(name, LAYOUTS[number % 2]) for number, name in enumerate(OPTIONS) if number],
)
def test_outputs_are_those_of_the_original(name, layout):
    options, template = OPTIONS[name], inr(*layout)
    params = networks(template, 2)
    state, expected = twin_outputs(layout, options, params)
    model = model_from_public_code(checkpoint(state, options), [template])
    with torch.no_grad():
        found = model(template.stack(params))
    assert expected[0].sub(expected[1]).abs().max() > 1e-4  # networks are told apart
    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("out_scale", [True, False])
def test_new_parameters_are_those_of_the_original(out_scale):
    options = Options(dims=(4, 1), out_scale=out_scale, num_heads=4)
    template, state = inr(*LAYOUT), State()
    params = networks(template, 2)
    twin = [
        flat(dws_reference.new_parameters(*as_matrices(LAYOUT, p), state, options)) for p in params
    ]
    model = model_from_public_code(checkpoint(state, options), [template])
    with torch.no_grad():
        assert_close(model(template.stack(params)).params, torch.stack(twin), rtol=1e-9, atol=1e-9)
    generator = torch.Generator().manual_seed(5)
    assert_equivariant(model, template, params, generator=generator)


@pytest.mark.parametrize("name", ["published", "differences", "sampled, skips"])
def test_invariant_and_of_each_network_alone(name):
    template = inr(*LAYOUT)
    model, params = loaded(options=OPTIONS[name]), networks(template, 3)
    assert_invariant(model, template, params, generator=torch.Generator().manual_seed(5))
    assert_sensitive(model, template, params)
    together = model(template.stack(params))
    alone = torch.cat([model(template.stack(row[None])) for row in params])
    assert_close(alone, together, rtol=1e-9, atol=1e-9)


def test_gradients_reach_every_parameter():
    template = inr(*LAYOUT)
    model = loaded(options=Options(reduction="mean", dims=(8, 8))).train()
    model(template.stack(networks(template, 12))).square().sum().backward()
    silent = [n for n, p in model.named_parameters() if not p.grad.abs().max() > 0]
    assert not silent


def test_what_nothing_tells_is_asked_for(raises_saying):
    options, template = OPTIONS["sampled"], inr(*LAYOUT)
    state, _ = twin_outputs(LAYOUT, options, networks(template, 1))
    bare = PublicCheckpoint(state.tensors)
    for given, missing in [({}, "reduction"), ({"reduction": "max"}, "num_heads")]:
        with raises_saying(asked="DWSNet", found=f"tells {missing}", do="argument"):
            model_from_public_code(bare, [template], **given)
    with raises_saying(asked="DWSNet", found="tells add_layer_skip", do="PublicCheckpoint(state"):
        model_from_public_code(bare, [template], reduction="max", num_heads=2)
    plain, expected = twin_outputs(LAYOUT, Options(), networks(template, 1))
    model = model_from_public_code(
        PublicCheckpoint(plain.tensors), [template], reduction="max", num_heads=2
    )
    assert_close(model(template.stack(networks(template, 1))), expected, rtol=1e-9, atol=1e-9)


def test_a_file_whose_configuration_leaves_out_defaults(tmp_path, raises_saying):
    """As the public code saves it, with an optimizer and a configuration of OmegaConf."""
    options, template, path = Options(dims=(8, 8), num_heads=8), inr(*LAYOUT), tmp_path / "b.ckpt"
    state, expected = twin_outputs(LAYOUT, options, networks(template, 1))

    def save(**model) -> None:
        data = {"normalize": False, "stats": {"weights_std": [0.1] * 3}}  # not for DWSNets there
        model = {"_target_": "nn.dws.models.DWSModelForClassification", "hidden_dim": 8} | model
        config = OmegaConf.create({"model": model, "data": data, "n": "max"})
        torch.save({"model": state.tensors, "optimizer": {"state": {}}, "cfg": config}, path)

    save()
    model = model_from_public_code(path, [template])
    assert_close(model(template.stack(networks(template, 1))), expected, rtol=1e-9, atol=1e-9)
    save(reduction="${n}")
    with raises_saying(asked="DWSNet", found="tells reduction", do="argument"):
        model_from_public_code(path, [template])


def test_as_many_parameters_as_published():
    """552,650 in the notebook of AvivNavon/DWSNets, of INRs of MNIST, with these defaults."""
    encoder = PublishedDWSNet(inr(2, 32, 32, 1))
    head = ReducedHead(encoder.spaces, dim=32, reduction="max", out_dim=10)
    assert sum(p.numel() for p in GraphModel(encoder, head).parameters()) == 552_650


def test_single_precision():
    options, template = OPTIONS["published"], inr(*LAYOUT)
    state, expected = twin_outputs(LAYOUT, options, networks(template, 2))
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in state.tensors.items()}
    model = model_from_public_code(checkpoint(State(tensors), options), [template])
    found = model(template.stack(networks(template, 2).float()))
    assert found.dtype == torch.float32
    assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit(raises_saying):
    state, _ = twin_outputs(LAYOUT, Options(), networks(inr(*LAYOUT), 1))
    good = checkpoint(state, Options())

    def load(*templates, config=good.config, **options):
        return model_from_public_code(PublicCheckpoint(state.tensors, config), templates, **options)

    with raises_saying(asked="DWSNet", found="3 weights, and 2-3-1 has 2", do="trained on"):
        load(inr(2, 3, 1))
    with raises_saying(asked="fill", found="tensors do not fit", do="sizes must be the same"):
        load(inr(3, 3, 2, 3))
    with raises_saying(asked="DWSNet", found="2 architectures", do="the one"):
        load(inr(*LAYOUT), inr(*LAYOUT))
    with raises_saying(asked="attn", found="there is no 'attn'", do="max, mean, sum"):
        load(inr(*LAYOUT), reduction="attn")
    with raises_saying(asked="8 heads", found="4 channels", do="divides"):
        load(inr(*LAYOUT), num_heads=8)
    with raises_saying(asked="DWSNet", found="data.normalize", do="params - mean"):
        load(inr(*LAYOUT), config={**good.config, "data": {"normalize": True}})
    load(inr(2, 9, 4, 3))  # hidden widths are free


def test_only_chains_of_three_and_more(raises_saying):
    state, _ = twin_outputs(LAYOUT, Options(), networks(inr(*LAYOUT), 1))
    template = skipping()
    depth = len(template.blocks)
    options = replace(Options(), dims=(4,))
    layout = (2,) * (depth + 1)
    state, _ = twin_outputs(layout, options, networks(inr(*layout), 1))
    with raises_saying(asked="published DWSNet", found="no chain", do="Use DWSNet"):
        model_from_public_code(checkpoint(state, options), [template])
