"""Products in blocks equal those with the masked weight, gradients too."""

import pytest
import torch

from nn_graphs.networks.block_sparse import RowBlocks, block_product

pytestmark = pytest.mark.usefixtures("one_thread")

MASKS = {
    "blocks": torch.tensor([[1, 0, 1], [0, 1, 1]]).bool().repeat_interleave(3, 0),
    "single rows": torch.tensor([[1, 0, 1], [0, 1, 1], [1, 0, 1]]).bool(),
    "dense": torch.ones(4, 3).bool(),
    "an empty row": torch.tensor([[0, 0, 0], [1, 0, 0]]).bool(),
}


@pytest.mark.parametrize("kernel", [1, 4])
@pytest.mark.parametrize("name", MASKS)
def test_product_and_gradients_are_those_of_the_masked_weight(name, kernel):
    mask, generator = MASKS[name], torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    weight, inputs = draw(len(mask), 3, kernel), draw(3, kernel, 5)
    blocks = RowBlocks.from_mask(mask)
    plain = torch.einsum("oik, ikp -> op", weight * mask[..., None], inputs)
    ours = block_product(weight, inputs, blocks)
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)
    upstream = draw(*plain.shape).detach()
    for wanted, found in zip(
        torch.autograd.grad(plain, (weight, inputs), upstream),
        torch.autograd.grad(ours, (weight, inputs), upstream),
        strict=True,
    ):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_only_the_gradients_that_are_wanted():
    blocks = RowBlocks.from_mask(MASKS["blocks"])
    weight, inputs = torch.randn(6, 3, 1, requires_grad=True), torch.randn(3, 1, 5)
    block_product(weight, inputs, blocks).sum().backward()
    assert not weight.grad.squeeze(2)[~MASKS["blocks"]].any()
    inputs.requires_grad_()
    block_product(weight.detach(), inputs, blocks).sum().backward()
    assert inputs.grad.any()


def test_blocks_are_runs_of_equal_rows():
    blocks = RowBlocks.from_mask(MASKS["blocks"])
    assert blocks.rows == ((0, 3), (3, 6))
    assert [columns.tolist() for columns in blocks.columns] == [[0, 2], [1, 2]]
    assert blocks.density == pytest.approx(2 / 3)
    assert len(RowBlocks.from_mask(MASKS["single rows"]).rows) == 3
    assert len(RowBlocks.from_mask(MASKS["dense"]).rows) == 1


def test_blocks_suit_sparse_masks_with_long_runs_of_rows():
    mask = torch.eye(8).bool().repeat_interleave(16, 0).repeat_interleave(16, 1)
    weight = torch.zeros(128, 128)
    assert RowBlocks.from_mask(mask).suits(weight)
    assert not RowBlocks.from_mask(~mask).suits(weight)  # dense
    scattered = mask[torch.arange(128).view(8, 16).t().flatten()]
    assert not RowBlocks.from_mask(scattered).suits(weight)
    every_second = mask[::2]  # 8 rows a node: enough for a product, too few for a larger kernel
    assert RowBlocks.from_mask(every_second).suits(weight[::2])
    assert not RowBlocks.from_mask(every_second).suits(torch.zeros(64, 128, 3, 3))
