"""The published architectures, as far as their papers and files tell."""

import torch

from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec


def test_small_cnn_zoo():
    spec = small_cnn_zoo_spec("relu")
    assert spec.layer_layout == (1, 16, 16, 16, 10)
    assert spec.num_params == 160 + 2320 + 2320 + 170 == 4970
    assert spec.make_module()(torch.randn(2, 1, 32, 32)).shape == (2, 10)


def test_wild_park():
    """Sizes of maps stay, the residual is added before the activation."""
    spec = wild_park_spec(
        (3, 4, 8, 8), (3, 7, 5), activations=("relu", "tanh", "sigmoid"), residuals=(-1, -1, 0)
    )
    assert [layer.skips for layer in spec.layers] == [(), (), (1,), ()]
    module, images = spec.make_module(), torch.randn(2, 3, 10, 12)
    first = torch.relu(module.layers[0](images))
    third = module.layers[2](torch.tanh(module.layers[1](first)))
    third[:, :4] += first
    expected = module.layers[3](torch.sigmoid(third).mean((2, 3)))
    torch.testing.assert_close(module(images), expected)


def test_wild_park_with_an_even_kernel(raises_saying):
    with raises_saying(asked="sizes [3, 4]", found="an even size 4", do="odd"):
        wild_park_spec((3, 4, 4), (3, 4), activations=("relu", "relu"))
