"""Models of the transformers package, where it is installed: two layers, random weights."""

import pytest
import torch
from torch import Tensor, nn

from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace

transformers = pytest.importorskip("transformers")

VOCABULARY = 1000
TOKENS = torch.arange(10).view(2, 5)
IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)


class Logits(nn.Module):
    """A model that puts out nothing but its logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs, return_dict=True).logits


SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}


def bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        **SIZES,
    )
    return transformers.BertForMaskedLM(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=2,
        n_head=4,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.GPT2LMHeadModel(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        **SIZES,
        image_size=16,
        patch_size=4,
    )
    return transformers.ViTForImageClassification(config)


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        **SIZES,
        num_key_value_heads=2,
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(config)


# What permutes: the residual stream; of each layer heads, queries with keys, values, neurons.
LAYER = [(4, 1), (16, 4), (16, 4), (96, 1)]
MODELS = {
    "BERT": (bert, TOKENS, [(64, 1), *LAYER, *LAYER]),
    "GPT-2": (gpt2, TOKENS, [(64, 1), *2 * [(4, 1), (16, 4), (16, 4), (256, 1)]]),
    "ViT": (vit, IMAGES, [(64, 1), *LAYER, *LAYER]),
    "Llama": (llama, TOKENS, [(64, 1), *2 * [(2, 1), (2, 2), (16, 2), (96, 1)]]),
}


def random_model(make, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = Logits(make()).double().eval()
    for parameter in module.parameters():
        scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
        nn.init.normal_(parameter, std=scale)
    return module


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_models_become_graphs_with_their_symmetries(name):
    make, inputs, sizes = MODELS[name]
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    module = random_model(make, 0)
    template = trace(module, inputs)
    params = template.parameters.flatten(module)
    assert torch.equal(template.invert(template(module), base=params), params)
    found = zip(template.symmetries.sizes, template.symmetries.num_copies, strict=True)
    assert sorted(pair for pair in found if pair[0] > 1) == sorted(sizes)
    generator = torch.Generator().manual_seed(1)
    element = sample_symmetries(template, 1, generator=generator, dtype=torch.float64)
    moved = apply_symmetries(template, params[None], element)[0]
    assert (moved != params).double().mean() > 0.9
    before: Tensor = module(inputs)
    module.load_state_dict(template.parameters.unflatten(moved), strict=False)
    tolerance = 1e-5 if name == "Llama" else 1e-9  # its norms compute in float32
    torch.testing.assert_close(module(inputs), before, rtol=tolerance, atol=tolerance)
