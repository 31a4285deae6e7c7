"""The plain twins of the benchmarks compute what our encoders compute."""

import pytest
import torch
from benchmarks.published_features import as_tensors
from benchmarks.published_gnn import PublishedGNN
from benchmarks.published_scalegmn import PublishedScaleGMN
from benchmarks.published_transformer import PublishedTransformer
from benchmarks.training_steps import OURS, PLAIN, make_published_model, make_task
from torch_geometric.nn.aggr import Aggregation

from nn_graphs.training import TrainingSettings
from tests.encoders.cases import inr, networks, randomise

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUT = (2, 8, 8, 1)


class TwoPassStd(Aggregation):
    """`sqrt(variance + eps)`, as in ours; 0 where nothing is received."""

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        mean = self.reduce(x, index, ptr, dim_size, dim, "mean")
        squares = (x - mean[index]).square()
        std = (self.reduce(squares, index, ptr, dim_size, dim, "mean") + 1e-5).sqrt()
        count = self.reduce(torch.ones_like(x), index, ptr, dim_size, dim, "sum")
        return torch.where(count > 0, std, 0.0)


def logits(variant: str, twin: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the twin with our parameters, and of ours, for some networks that differ a lot."""
    config, changes = OURS[variant]
    model = make_published_model(make_task(LAYOUT, num_train=8), config, **changes).double().eval()
    randomise(model)
    twin.double().eval().load_ours(model.state_dict())
    template = inr(*LAYOUT)
    graphs = template.stack(networks(template, 5))
    with torch.no_grad():
        return twin(*as_tensors(graphs)), model(graphs)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert expected.std(dim=0).mean() > 1e-2 * expected.abs().max()  # networks are told apart
    return ((found - expected).abs().max() / expected.abs().max()).item()


def test_gnn_is_ours():
    assert relative_error(*logits("gnn", PublishedGNN(LAYOUT, std=TwoPassStd()))) < 1e-12


def test_deviations_as_torch_geometric_has_them_change_little():
    error = relative_error(*logits("gnn", PublishedGNN(LAYOUT)))
    assert 1e-9 < error < 1e-6


def test_transformer_is_ours():
    twin = PublishedTransformer(LAYOUT)
    assert relative_error(*logits("transformer_all_pairs", twin)) < 1e-12


def test_attention_along_edges_is_another_function():
    twin = PublishedTransformer(LAYOUT)
    assert relative_error(*logits("transformer_edges", twin)) > 1e-3


@pytest.mark.parametrize("sees_batch", [True, False])
def test_gnn_learns_as_the_published_code_does(sees_batch):
    twin = PublishedGNN(LAYOUT, std=TwoPassStd(), dropout=0.0, norm_sees_batch=sees_batch)
    norm = "published" if sees_batch else "graph"
    published, ours = training_losses("gnn", twin, norm=norm, dropout=0.0)
    torch.testing.assert_close(ours, published, rtol=1e-7, atol=0)
    assert ours[-1] < ours[0] - 0.03
    other = "graph" if sees_batch else "published"
    others = training_losses("gnn", twin, norm=other, dropout=0.0)[1]
    assert (others - ours).abs().max() > 1e-3


def test_transformer_learns_as_the_published_code_does():
    twin = PublishedTransformer(LAYOUT, dropout=0.0)
    published, ours = training_losses("transformer_all_pairs", twin, dropout=0.0)
    torch.testing.assert_close(ours, published, rtol=1e-7, atol=0)
    assert ours[-1] < ours[0] - 0.03


def training_losses(variant: str, twin: torch.nn.Module, **changes) -> tuple[torch.Tensor, ...]:
    """Of the twin and of ours from our initial values, over the same batches of eight networks."""
    config, options = OURS[variant]
    task = make_task(LAYOUT, num_train=32)
    model = make_published_model(task, config, **options, **changes).double()
    twin.double().load_ours(model.state_dict())
    params, labels = torch.as_tensor(task.zoo.params[0]).double(), task.labels()
    curves = ([], [])
    models = (lambda graphs: twin(*as_tensors(graphs)), model)
    settings = TrainingSettings(learning_rate=3e-3)
    optimizers = [settings.make_optimizer(one) for one in (twin, model)]
    for step in range(16):
        batch = torch.arange(8) + 8 * step % 32
        graphs = task.templates[0].stack(params[batch])
        for one, optimizer, curve in zip(models, optimizers, curves, strict=True):
            loss = task.loss(one(graphs), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.detach())
    return torch.stack(curves[0]), torch.stack(curves[1])


@pytest.mark.parametrize(
    ("variant", "num_parameters"), [("gnn_published", 92_010), ("transformer_published", 376_586)]
)
def test_published_numbers_of_parameters(variant, num_parameters):
    model = PLAIN[variant]((2, 32, 32, 1))
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters


@pytest.mark.parametrize("variant", PLAIN)
def test_networks_do_not_see_each_other(variant):
    torch.manual_seed(0)
    twin = PLAIN[variant](LAYOUT).double().eval()
    template = inr(*LAYOUT)
    params = networks(template, 3)
    with torch.no_grad():
        together = twin(*as_tensors(template.stack(params)))
        alone = twin(*as_tensors(template.stack(params[1:2])))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-12)


def test_scalegmn_over_edge_lists_is_ours():
    task = make_task(LAYOUT, num_train=4)
    model = make_published_model(task, ("scalegmn", "scalegmn_small"), dim=6).double().eval()
    randomise(model)
    twin = PublishedScaleGMN(LAYOUT, dim=6).double()
    twin.load_ours(model.state_dict())
    template = inr(*LAYOUT)
    stack = template.stack(networks(template, 5))
    torch.testing.assert_close(twin(*as_tensors(stack)), model(stack), rtol=1e-9, atol=1e-9)
