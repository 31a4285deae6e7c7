"""The sizes that torch's layers keep beside their parameters, read off the parameters anew."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nn_graphs.errors import NNGraphsError


def fit_sizes(layer: nn.Module, num_groups: int) -> None:
    """Sets the sizes of a layer by its parameters; layers of other kinds are left as they are.

    Args:
        layer: of torch, or a `Conv1D` of transformers.
        num_groups: in how many groups its channels are now.

    Raises:
        NNGraphsError: layers of one recurrent module would differ in size.
    """
    for kind, fit in FITS.items():
        if isinstance(layer, kind):
            fit(layer, num_groups)
    if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
        layer.nf = layer.weight.shape[1]
        if hasattr(layer, "nx"):
            layer.nx = layer.weight.shape[0]


def fit_to_values(layer: nn.Module, inputs: tuple) -> None:
    """A hook: norms without parameters take their sizes from what reaches them."""
    if not inputs or not isinstance(inputs[0], Tensor):
        return
    shape = inputs[0].shape
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm) and layer.weight is None:
        layer.normalized_shape = tuple(shape[-len(layer.normalized_shape) :])
    elif isinstance(layer, _NormBase) and layer.weight is None and layer.running_mean is None:
        layer.num_features = shape[1]
    elif isinstance(layer, nn.GroupNorm) and layer.weight is None:
        layer.num_channels = shape[1]


def _fit_linear(layer: nn.Linear, num_groups: int) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _fit_convolution(layer: _ConvNd, num_groups: int) -> None:
    first, second = layer.weight.shape[:2]
    layer.groups = num_groups
    is_transposed = isinstance(layer, _ConvTransposeNd)
    ends = (second * num_groups, first) if is_transposed else (first, second * num_groups)
    layer.out_channels, layer.in_channels = ends


def _fit_batch_norm(layer: _NormBase, num_groups: int) -> None:
    own = layer.weight if layer.weight is not None else layer.running_mean
    if own is not None:
        layer.num_features = len(own)


def _fit_group_norm(layer: nn.GroupNorm, num_groups: int) -> None:
    if layer.weight is not None:
        layer.num_groups, layer.num_channels = num_groups, len(layer.weight)


def _fit_layer_norm(layer: nn.LayerNorm | nn.RMSNorm, num_groups: int) -> None:
    if layer.weight is not None:
        layer.normalized_shape = tuple(layer.weight.shape)


def _fit_embedding(layer: nn.Embedding, num_groups: int) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def _fit_prelu(layer: nn.PReLU, num_groups: int) -> None:
    layer.num_parameters = len(layer.weight)


def _fit_recurrent(layer: nn.RNNBase, num_groups: int) -> None:
    if layer.proj_size:
        layer.proj_size = layer.weight_hh_l0.shape[1]
    gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
    sizes = {len(p) // gates for name, p in layer.named_parameters() if "weight_ih" in name}
    if len(sizes) > 1:
        raise NNGraphsError(
            f"change the number of neurons in a {type(layer).__name__}",
            found=f"its layers would have {', '.join(map(str, sorted(sizes)))} neurons.",
            do="Cut as many in each layer, or use one module a layer.",
        )
    layer.hidden_size, layer.input_size = sizes.pop(), layer.weight_ih_l0.shape[1]
    layer._init_flat_weights()


FITS: dict[type[nn.Module], Callable[..., None]] = {
    nn.Linear: _fit_linear,
    _ConvNd: _fit_convolution,
    _NormBase: _fit_batch_norm,
    nn.GroupNorm: _fit_group_norm,
    nn.LayerNorm: _fit_layer_norm,
    nn.RMSNorm: _fit_layer_norm,
    nn.Embedding: _fit_embedding,
    nn.PReLU: _fit_prelu,
    nn.RNNBase: _fit_recurrent,
}
