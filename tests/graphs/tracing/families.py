"""Small models of every family of the transformers package that its configuration alone can make.

What a family needs beside the usual sizes is not told here: families that cannot be made are left
out of the count, and named.
"""

import inspect
import warnings
from collections.abc import Mapping

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING

LARGEST = 3_000_000  # parameters
SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("d_ff", "hidden_dim", "ffn_dim"), 48),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 64),
    **dict.fromkeys(("layerdrop", "encoder_layerdrop", "decoder_layerdrop"), 0.0),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "moe_intermediate_size"), 16),
    **dict.fromkeys(("num_conv_pos_embeddings", "embedding_size"), 16),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "type_vocab_size"), 2),
    **dict.fromkeys(("num_feat_extract_layers", "num_conv_pos_embedding_groups"), 2),
    **dict.fromkeys(("bos_token_id", "eos_token_id")),
    **{"vocab_size": 99, "v_head_dim": 8, "image_size": 32, "patch_size": 8, "pad_token_id": 0},
    **{"conv_dim": (32, 32), "conv_stride": (5, 2), "conv_kernel": (10, 3), "use_cache": False},
}
STAGES = ("hidden_sizes", "embed_dims", "embed_dim")
LAYERS = ("layer_types", "mlp_layer_types", "layers_block_type", "block_types", "attention_types")


class FirstOutput(nn.Module):
    """A model that takes its inputs in order, and puts out nothing but the first of its outputs."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names
        takes_cache = "use_cache" in inspect.signature(model.forward).parameters
        self.settings = {"use_cache": False} if takes_cache else {}

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs, strict=True)), **self.settings)[0]


def family_names() -> list[str]:
    return sorted({config.model_type for config in MODEL_MAPPING})


def small_model(family: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A model of a family with random weights, and inputs that it has been seen to take.

    Raises:
        Exception: of any kind, where its configuration alone does not make one.
    """
    transformers.logging.set_verbosity_error()
    config = small_config(CONFIG_MAPPING[family]())
    kinds = MODEL_MAPPING[type(config)]
    make = kinds[0] if isinstance(kinds, tuple | list) else kinds
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in make(config).parameters())
    if count > LARGEST:
        raise ValueError(f"{count} parameters")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(config).eval()
        inputs = inputs_of(model.main_input_name, config)
        module = FirstOutput(model, tuple(inputs))
        with torch.no_grad():
            module(*inputs.values())
    return module, tuple(inputs.values())


def small_config(config: PretrainedConfig, depth: int = 0) -> PretrainedConfig:
    """The configuration, and those inside it, with small sizes where it has them."""
    for name, value in SIZES.items():
        if name not in vars(config) and name not in config.attribute_map:
            continue
        is_list = isinstance(getattr(config, name, None), list | tuple)
        if is_list == isinstance(value, tuple):
            setattr(config, name, value)
    for name in vars(config).keys() & {*STAGES, *LAYERS, "depths"}:
        own = getattr(config, name)
        if isinstance(own, list | tuple) and name in STAGES:
            setattr(config, name, [16 * (stage + 1) for stage in range(len(own))])
        elif isinstance(own, list | tuple):
            setattr(config, name, own[:2] if name in LAYERS else [1] * len(own))
    for own in list(vars(config).values()):
        if isinstance(own, PretrainedConfig) and depth < 3:
            small_config(own, depth + 1)
    return config


def inputs_of(name: str, config: PretrainedConfig) -> Mapping[str, Tensor]:
    """What a model takes, by the name of its main input."""
    if name == "pixel_values":
        size, channels = getattr(config, "image_size", 32), getattr(config, "num_channels", 3)
        size = size[0] if isinstance(size, list | tuple) else size
        return {name: torch.randn(2, channels if isinstance(channels, int) else 3, size, size)}
    if name == "input_ids":
        tokens = {name: torch.arange(1, 11).view(2, 5)}
        is_pair = getattr(config, "is_encoder_decoder", False)
        return tokens | ({"decoder_input_ids": torch.arange(1, 9).view(2, 4)} if is_pair else {})
    if name == "input_values":
        return {name: torch.randn(2, 1600)}
    if name == "input_features":
        length = 2 * getattr(config, "max_source_positions", 32)
        return {name: torch.randn(2, getattr(config, "num_mel_bins", 80), length)}
    raise ValueError(f"its main input is {name}")
