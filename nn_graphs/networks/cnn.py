"""The architectures of the published zoos of convolutional networks."""

from collections.abc import Sequence

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import ConvSpec, NetworkSpec


def small_cnn_zoo_spec(
    activation: str = "relu", *, in_channels: int = 1, padding: int = 0
) -> NetworkSpec:
    """The architecture of the Small CNN Zoo (Unterthiner et al., 2020); 4,970 parameters.

    Three convolutions of 16 channels, 3 x 3 with stride 2 and no padding, the mean over places, a
    linear layer with 10 outputs. `activation` is `"relu"` or `"tanh"` in the published files.
    Images of less than 15 x 15 pixels need a `padding` of 1.
    """
    return NetworkSpec.cnn(
        (in_channels, 16, 16, 16),
        convs=ConvSpec.square(3, stride=2, padding=padding),
        activations=Activation(activation),
        num_outputs=10,
    )


def wild_park_spec(
    channels: Sequence[int],
    kernel_sizes: Sequence[int],
    *,
    activations: Sequence[str],
    residuals: Sequence[int] | None = None,
    num_outputs: int = 10,
) -> NetworkSpec:
    """An architecture of the CNN Wild Park (Kofinas et al., ICLR 2024).

    Convolutions of stride 1 that keep the size of their input, the mean over places, a linear
    layer. The arguments are as the published configurations have them.

    Args:
        channels: from the input on, one more than there are convolutions; e.g. `(3, 8, 32, 4)`.
        kernel_sizes: odd.
        activations: one per convolution, e.g. `("relu", "gelu", "tanh")`.
        residuals: per convolution, the number (from 0) of an earlier one whose output is added
            before the activation, on the channels that both have; -1: none.
        num_outputs: width of the linear layer.

    Raises:
        NNGraphsError: a kernel is of even size, or the numbers of layers differ.
    """
    even = [size for size in kernel_sizes if size % 2 == 0]
    if even:
        raise NNGraphsError(
            f"describe a network with kernels of the sizes {list(kernel_sizes)}",
            found=f"with an even size {even[0]}, no padding keeps the size of an image.",
            do="Choose odd sizes.",
        )
    residuals = [-1] * len(kernel_sizes) if residuals is None else residuals
    return NetworkSpec.cnn(
        channels,
        convs=[ConvSpec.square(size, padding=size // 2) for size in kernel_sizes],
        activations=[Activation(name) for name in activations],
        skips=[() if source < 0 else (source + 1,) for source in residuals],
        num_outputs=num_outputs,
    )
