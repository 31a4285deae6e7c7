"""Neurons removed, merged, widened: what new modules compute, what they are, what is refused."""

import copy
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.removal import (
    merge_neurons,
    remove_neurons,
    remove_redundant_neurons,
    widen_neurons,
)
from nn_graphs.networks import MaskedLinear
from nn_graphs.networks.pruning import Density, RandomSaliency, plain_copy, prune
from tests.graphs.attentive import Attention
from tests.graphs.convolutional import Net
from tests.processes import assert_runs_in_own_process


def assert_same(found: nn.Module, expected: nn.Module, *inputs: torch.Tensor) -> None:
    with torch.no_grad():
        pairs = zip(leaves(found(*inputs)), leaves(expected(*inputs)), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def leaves(output) -> list[torch.Tensor]:
    return torch.utils._pytree.tree_leaves(output)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


class Block(nn.Module):
    """A convolutional network with all that ties neurons: norms, skips, groups, joins, flatten."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped, self.mixed = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 1)
        self.depthwise, self.side = nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 3, 1)
        self.head = nn.Linear(11 * 4, 5)
        with torch.no_grad():
            for tensor in self.norm.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 2)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.mixed(self.grouped(x).relu())
        x = torch.cat([self.depthwise(x).tanh(), self.side(x)], 1)
        return self.head(F.max_pool2d(x, 2).flatten(1))


def block() -> Block:
    torch.manual_seed(0)
    return Block().double().eval()


X = torch.randn(7, 4, dtype=torch.float64)
IMAGES = torch.randn(3, 2, 4, 4, dtype=torch.float64)


def silenced(module: nn.Module, columns: dict[str, list[int]]) -> nn.Module:
    """A copy that reads nothing from some inputs of its layers."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        for name, numbers in columns.items():
            other.get_parameter(name)[:, numbers] = 0
    return other


# Removal.


def test_removed_neurons_are_as_if_they_put_out_zero():
    module = mlp().double()
    found = remove_neurons(module, X, {"0.weight": [1, 4], "2.bias": [0]})
    assert_same(found, silenced(module, {"2.weight": [1, 4], "4.weight": [0]}), X)
    assert [type(layer) for layer in found] == [type(layer) for layer in module]
    sizes = [(layer.in_features, layer.out_features) for layer in found if hasattr(layer, "bias")]
    assert sizes == [(4, 4), (4, 4), (4, 2)]


def test_what_a_skip_ties_goes_too():
    module = block()
    found = remove_neurons(module, IMAGES, {"stem.weight": [0, 5]})
    assert (found.stem.out_channels, found.norm.num_features) == (6, 6)
    assert (found.grouped.in_channels, found.grouped.groups) == (6, 2)
    assert (found.mixed.out_channels, found.depthwise.groups) == (6, 6)
    assert (found.side.in_channels, found.head.in_features) == (6, 9 * 4)
    reads = {"side.weight": [0, 5], "head.weight": [*range(4), *range(20, 24)]}
    silent = silenced(module, reads)
    with torch.no_grad():  # each group reads its own channels
        silent.grouped.weight[:4, 0] = silent.grouped.weight[4:, 1] = 0
    assert_same(found, silent, IMAGES)


def test_whole_groups_go():
    module = block()
    found = remove_neurons(module, IMAGES, {"grouped.weight": range(4)})
    assert (found.grouped.groups, found.grouped.in_channels, found.grouped.out_channels) == (
        1,
        4,
        4,
    )
    assert found.stem.out_channels == 4  # the channels that the group reads are its own
    assert found(IMAGES).shape == (3, 5)


def test_groups_lose_as_many_each():
    found = remove_neurons(block(), IMAGES, {"grouped.weight": [1, 6]})
    assert (found.grouped.groups, found.grouped.out_channels, found.mixed.in_channels) == (2, 6, 6)
    with pytest.raises(NNGraphsError, match="2 groups of a convolution or a norm would have 3, 4"):
        remove_neurons(block(), IMAGES, {"grouped.weight": [1]})


def test_heads_go_as_wholes():
    torch.manual_seed(0)
    module, tokens = Attention().double(), torch.randn(2, 5, 6, dtype=torch.float64)
    net = Net(lambda m, x: m.b(m.attention(x)), attention=module, b=nn.Linear(6, 3)).double()

    def set_heads(new):
        new.attention.num_heads = new.attention.num_shared = 1

    found = remove_neurons(net, tokens, {"attention.v.weight": range(3)}, adapt=set_heads)
    assert found.attention.q.out_features == found.attention.o.in_features == 3
    assert_same(found, silenced(net, {"attention.o.weight": [0, 1, 2]}), tokens)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_get_smaller(kind):
    torch.manual_seed(0)
    layers = {"a": kind(3, 5, batch_first=True), "b": nn.Linear(5, 2)}
    net = Net(lambda m, x: m.b(m.a(x)[0]), **layers).double()
    inputs = torch.randn(2, 6, 3, dtype=torch.float64)
    found = remove_neurons(net, inputs, {"a.weight_ih_l0": [1, 4]})
    assert (found.a.hidden_size, found.b.in_features) == (3, 3)
    silent = silenced(net, {"a.weight_hh_l0": [1, 4], "b.weight": [1, 4]})
    assert_same(found, silent, inputs)


def test_models_of_transformers_get_smaller():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=6, n_layer=2, n_head=2, n_inner=10, use_cache=False
    )
    module = transformers.GPT2LMHeadModel(config).double().eval()
    net = Net(lambda m, x: m.gpt(x).logits, gpt=module)
    tokens = torch.randint(11, (2, 8))
    rows = {"gpt.transformer.h.0.mlp.c_fc.weight": [0, 3, 9]}
    found = remove_neurons(net, tokens, rows)
    layers = found.gpt.transformer.h[0].mlp
    assert (layers.c_fc.nf, layers.c_proj.weight.shape) == (7, (7, 6))
    silent = copy.deepcopy(net)
    with torch.no_grad():
        silent.gpt.transformer.h[0].mlp.c_proj.weight[[0, 3, 9]] = 0
    assert_same(found, silent, tokens)
    assert found.gpt.lm_head.weight is found.gpt.transformer.wte.weight


def test_embeddings_and_norms_get_narrower():
    torch.manual_seed(0)
    layers = {"e": nn.Embedding(9, 6), "a": nn.Linear(6, 6), "n": nn.LayerNorm(6)}
    net = Net(lambda m, x: m.h(m.n(m.e(x) + m.a(m.e(x)).relu())), h=nn.Linear(6, 4), **layers)
    found = remove_neurons(net, torch.zeros(2, 3, dtype=torch.long), {"a.weight": [2, 3]})
    assert found.e.embedding_dim == 4
    assert found.n.normalized_shape == (4,)
    assert found.h.in_features == 4


def test_norms_without_parameters_take_their_sizes():
    module = nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2)
    )
    found = remove_neurons(module, X.float(), {"0.weight": [0]})
    assert found[1].normalized_shape == (5,)
    assert not found[1]._forward_pre_hooks


def test_layers_that_nothing_changes_keep_their_sizes():
    module = mlp()
    module.unused = nn.Conv2d(4, 6, 3, groups=2)
    net = Net(lambda m, x: m.layers[:5](x), layers=module)
    found = remove_neurons(net, X.float(), {"layers.0.weight": [1]}).layers.unused
    assert (found.groups, found.in_channels, found.out_channels) == (2, 4, 6)


def test_new_modules_are_plain_ones(tmp_path):
    module = block().train()
    state = copy.deepcopy(module.state_dict())
    found = remove_neurons(module, IMAGES, {"stem.weight": [0, 5]})
    assert found.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    torch.save(found.state_dict(), tmp_path / "small.pt")
    loaded = torch.load(tmp_path / "small.pt", weights_only=True)
    assert loaded.keys() == state.keys()
    assert all(type(parameter) is nn.Parameter for parameter in found.parameters())
    assert_same(pickle.loads(pickle.dumps(found)).eval(), found.eval(), IMAGES)
    found(IMAGES).sum().backward()
    assert all(parameter.grad is not None for parameter in found.parameters())


def test_masks_are_multiplied_into_the_new_module():
    module = mlp().double()
    prune(module, Density(0.5), saliency=RandomSaliency(0))
    found = remove_neurons(module, X, {"0.weight": [2]})
    assert [*found.state_dict()] == [*mlp().state_dict()]
    assert_same(found, silenced(plain_copy(module), {"2.weight": [2]}), X)


def test_our_masked_layers_become_plain_ones():
    mask = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    module = nn.Sequential(MaskedLinear(4, 5, mask=mask), nn.ReLU(), nn.Linear(5, 2)).double()
    found = remove_neurons(module, X, {"0.weight": [3]})
    assert type(found[0]) is nn.Linear
    assert_same(found, silenced(plain_copy(module), {"2.weight": [3]}), X)


class Fixed(nn.Module):
    """A forward that holds a size in itself, or in an attribute."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.width = nn.Conv2d(1, 3, 2), nn.Linear(12, 2), 12

    def forward(self, x):
        return self.b(self.a(x).view(-1, self.width))


def set_width(new: Fixed) -> None:
    new.width = new.b.in_features


def test_sizes_in_attributes_are_set_by_the_user():
    module, inputs = Fixed(), torch.randn(2, 1, 3, 3)
    with pytest.raises(NNGraphsError, match="forward may hold sizes"):
        remove_neurons(module, inputs, {"a.weight": [0]})
    assert remove_neurons(module, inputs, {"a.weight": [0]}, adapt=set_width).width == 8


def residual() -> nn.Module:
    return Net(lambda m, x: m.b(x + m.a(x).relu()), a=nn.Linear(4, 4), b=nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("make", "rows", "message"),
    [
        (mlp, {"4.weight": [0]}, "row 0 of 4.weight is an output of the network"),
        (residual, {"a.weight": [1]}, "row 1 of a.weight is needed by a skip from an input"),
        (mlp, {"0.weight": [6]}, "0.weight has 6 rows, row 6 is asked for"),
        (mlp, {"0.weight": [-1]}, "0.weight has 6 rows, row -1 is asked for"),
        (mlp, {"0.weight": [1, 1]}, "a row of 0.weight is named twice"),
        (mlp, {"1.weight": [1]}, "shows no parameter '1.weight'"),
        (mlp, {"0.weight": range(6)}, "none of the 6 neurons of the layer 0.bias"),
    ],
)
def test_what_cannot_be_cut_is_one_clear_error(make, rows, message):
    with pytest.raises(NNGraphsError, match=re.escape(message)):
        remove_neurons(make(), X.float(), rows)


def test_modules_that_do_not_trace():
    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(NNGraphsError, match="trace a Branching"):
        remove_redundant_neurons(Branching(4, 4), X.float())


# Redundant neurons.


def test_dead_neurons_are_found_and_folded():
    module = mlp().double()
    with torch.no_grad():
        module[0].weight[1] = 0  # constant: goes into the bias of the next layer
        module[2].weight[:, 3] = 0  # that nothing reads
        module[2].weight[4] = 0
        module[2].bias[4] = -1.0  # constant, and zero behind a relu
    found = remove_redundant_neurons(module, X)
    assert (found.num_dead, found.num_duplicates) == (3, 0)
    assert (found.module[0].out_features, found.module[2].out_features) == (4, 4)
    assert_same(found.module, module, X)
    assert str(found) == "3 dead and 0 duplicate neurons removed, 50 of 77 parameters left"


def test_constants_go_into_running_means_where_there_is_no_bias():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 2)
    )
    module = module.double().eval()
    with torch.no_grad():
        module[0].weight[1] = 0
    found = remove_redundant_neurons(module, X)
    assert found.num_dead == 1
    assert found.module[2].bias is None
    assert not torch.equal(found.module[3].running_mean, module[3].running_mean)
    assert_same(found.module, module, X)


def test_constants_stay_where_they_cannot_go():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2, bias=False)).double()
    padded = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 3, padding=1)).double()
    with torch.no_grad():
        module[0].weight[1] = padded[0].weight[1] = 0
    assert remove_redundant_neurons(module, X).num_dead == 0
    assert remove_redundant_neurons(padded, IMAGES).num_dead == 0


def test_what_only_dead_neurons_read_is_dead():
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4))).double()
    with torch.no_grad():
        module[3].weight[:, 0] = 0
        module[2].weight[1:, 2] = 0
        module[1].weight[[0, 1, 3], 3] = 0
    found = remove_redundant_neurons(module, X)
    assert [layer.out_features for layer in found.module] == [3, 3, 3, 4]
    assert_same(found.module, module, X)


def test_duplicates_are_merged_layer_after_layer():
    module = mlp().double()
    with torch.no_grad():
        for layer in (module[0], module[2]):
            for tensor in (layer.weight, layer.bias):
                tensor[3] = tensor[1]
        module[2].weight[2] = module[2].weight[0]
        module[2].bias[2] = module[2].bias[0]
        module[2].weight[2, 1] += 1.0  # the same as row 0 once the inputs 1 and 3 are one
        module[2].weight[2, 3] -= 1.0
    found = remove_redundant_neurons(module, X)
    assert (found.num_dead, found.num_duplicates) == (0, 3)
    assert_same(found.module, module, X)


def test_redundant_channels_behind_skips_norms_groups_and_flattening():
    module = block()
    with torch.no_grad():
        for row in (2, 6):  # one of each group, dead behind the norm and in the skip
            module.norm.weight[row] = module.norm.bias[row] = 0
            module.mixed.weight[row] = 0
            module.mixed.bias[row] = 0
        module.side.weight[2], module.side.bias[2] = module.side.weight[0], module.side.bias[0]
        module.grouped.weight[3] = module.grouped.weight[5] = 0
        module.grouped.bias[3] = -1.0
    found = remove_redundant_neurons(module, IMAGES)
    new = found.module
    assert (new.stem.out_channels, new.grouped.groups, new.grouped.out_channels) == (6, 2, 6)
    assert new.side.out_channels == 2
    assert new.head.in_features == 8 * 4
    assert_same(new, module, IMAGES)


def test_one_neuron_of_every_layer_stays():
    module = mlp().double()
    with torch.no_grad():
        module[2].weight.zero_()
    found = remove_redundant_neurons(module, X)
    assert [layer.out_features for layer in found.module if hasattr(layer, "bias")] == [1, 1, 2]
    assert_same(found.module, module, X)


def test_norms_over_channels_keep_what_they_see():
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()
    with torch.no_grad():
        module[0].weight[1] = 0
        module[0].weight[3], module[0].bias[3] = module[0].weight[0], module[0].bias[0]
        module[2].weight[:, 2] = 0
    found = remove_redundant_neurons(module, X)
    assert found.num_dead == found.num_duplicates == 0
    assert_same(found.module, module, X)


def test_kinds_are_chosen():
    module = mlp().double()
    with torch.no_grad():
        module[0].weight[1] = 0
        module[0].weight[3], module[0].bias[3] = module[0].weight[0], module[0].bias[0]
    for kinds, numbers in (({"dead"}, (1, 0)), ({"duplicate"}, (0, 1)), ((), (0, 0))):
        found = remove_redundant_neurons(module, X, kinds=kinds)
        assert (found.num_dead, found.num_duplicates) == numbers
        assert_same(found.module, module, X)


def test_pruned_networks_get_smaller():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 3)
    )
    module, inputs = module.double(), torch.randn(9, 20, dtype=torch.float64)
    prune(module, Density(0.01), scope="layer")
    found = remove_redundant_neurons(module, inputs)
    assert found.num_dead > 60
    assert found.num_params < 0.3 * found.num_params_before
    assert_same(found.module, module, inputs)


# Merging and widening.


def test_wide_networks_do_the_same():
    module = mlp().double()
    found = widen_neurons(module, X, {"0.weight": {1: 3, 5: 2}, "2.weight": {0: 2}})
    assert [layer.out_features for layer in found if hasattr(layer, "bias")] == [9, 6, 2]
    assert torch.equal(found[0].weight[1], found[0].weight[3])
    assert_same(found, module, X)
    back = remove_redundant_neurons(found, X)
    assert back.num_duplicates == 4
    assert_same(back.module, module, X)
    assert [p.shape for p in back.module.parameters()] == [p.shape for p in module.parameters()]


def test_channels_are_widened_through_norms_and_flattening():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 3, padding=1, groups=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 2),
    )
    module = module.double().eval()
    found = widen_neurons(module, IMAGES, {"0.weight": {2: 2}})
    assert (found[1].num_features, found[2].groups, found[6].in_features) == (4, 4, 16)
    assert_same(found, module, IMAGES)


def test_a_residual_stream_is_widened():
    torch.manual_seed(0)
    layers = {name: nn.Linear(4, 4) for name in "abcd"}
    net = Net(lambda m, x: m.d((h := m.a(x)) + m.c(m.b(h).tanh())), **layers).double()
    found = widen_neurons(net, X, {"a.weight": {0: 2}, "b.weight": {3: 3}})
    assert (found.a.out_features, found.c.out_features, found.d.in_features) == (5, 5, 5)
    assert found.b.out_features == 6
    assert_same(found, net, X)


def test_merged_neurons_read_means_and_are_read_with_sums():
    module = mlp().double()
    found = merge_neurons(module, X, {"0.weight": [[4, 1, 2]]})
    assert torch.equal(found[0].weight[[0, 1, 3]], module[0].weight[[0, 3, 5]])
    assert torch.allclose(found[0].weight[2], module[0].weight[[1, 2, 4]].mean(0))
    assert torch.allclose(found[0].bias[2], module[0].bias[[1, 2, 4]].mean(0))
    assert torch.allclose(found[2].weight[:, 2], module[2].weight[:, [1, 2, 4]].sum(1))
    first = merge_neurons(module, X, {"0.weight": [[4, 1, 2]]}, incoming="first")
    assert torch.equal(first[0].weight, module[0].weight[[0, 3, 4, 5]])


def test_duplicates_can_be_merged_by_name():
    module = mlp().double()
    wide = widen_neurons(module, X, {"0.weight": {1: 3}, "2.weight": {0: 2}})
    found = merge_neurons(wide, X, {"0.weight": [[1, 2, 3]], "2.weight": [[0, 1]]})
    assert_same(found, module, X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: merge_neurons(mlp(), X.float(), {"0.weight": [[0, 1], [1, 2]]}), "in two sets"),
        (lambda: merge_neurons(mlp(), X.float(), {"4.weight": [[0, 1]]}), "an output"),
        (lambda: merge_neurons(block(), IMAGES, {"grouped.weight": [[0, 1]]}), "groups or heads"),
        (lambda: merge_neurons(block(), IMAGES, {"depthwise.weight": [[0, 4]]}), "groups or heads"),
        (lambda: widen_neurons(block(), IMAGES, {"stem.weight": {0: 2}}), "groups or heads"),
        (lambda: widen_neurons(mlp(), X.float(), {"0.weight": {0: 0}}), "0 times"),
        (lambda: widen_neurons(mlp(), X.float(), {"0.weight": {9: 2}}), "row 9"),
        (lambda: widen_neurons(normed(), X.float(), {"0.weight": {0: 2}}), "by a norm"),
        (lambda: widen_neurons(tied(), X.float(), {"0.weight": {0: 2}}), "several places"),
    ],
)
def test_what_cannot_be_merged_or_widened(change, message):
    with pytest.raises(NNGraphsError, match=message):
        change()


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))


def tied() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(nn.Linear(4, 5), layer, nn.ReLU(), layer, nn.Linear(5, 2))


def test_unknown_words():
    assert_runs_in_own_process(give_unknown_words)


def give_unknown_words() -> None:
    for give, found in (
        (lambda: remove_redundant_neurons(mlp(), X.float(), kinds=["lazy"]), "there is no 'lazy'"),
        (
            lambda: merge_neurons(mlp(), X.float(), {"0.weight": [[0, 1]]}, incoming="last"),
            "there is no 'last'",
        ),
    ):
        with pytest.raises(NNGraphsError, match=found):
            give()
