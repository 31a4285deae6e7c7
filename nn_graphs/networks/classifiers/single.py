"""Train one module by itself, for what no stack computes: with the same recipes and data.

The plain way, with torch's own optimizers; on a GPU in mixed precision.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nn_graphs.networks.classifiers.data import LabelledData, Orders, network_keys
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.networks.classifiers.evaluation import EVALUATION_BATCH, Scores
from nn_graphs.networks.classifiers.optimizers import Optimizer
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.networks.classifiers.training import AUGMENTATION, Plan, Recipe
from nn_graphs.progress import Progress


def train_module(
    module: nn.Module,
    data: LabelledData | StreamedData,
    recipe: Recipe,
    plan: Plan,
    *,
    progress: Progress | None = None,
) -> Scores:
    """Trains a module in place and scores it as it is in the end.

    Args:
        module: logits of inputs; with dropout of its own, if any: that of the recipe is not used.
        data: on the module's device; what is streamed is drawn anew in each epoch, and augmented
            by the plan besides.
        recipe: of this network.
        plan: epochs, batches and augmentation; checkpoints are not kept.
        progress: told of epochs.
    """
    optimizer = torch_optimizer(recipe.optimizer, module)
    orders = Orders(
        data.num_train,
        fractions=[recipe.train_fraction],
        seeds=[recipe.seed],
        batch_size=plan.batch_size,
    )
    device = data.device
    key = network_keys([recipe.seed], device)
    for epoch in range(plan.num_epochs):
        module.train()
        rate = recipe.optimizer.learning_rate * recipe.schedule.at(epoch, plan.num_epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        order = orders.epoch(epoch)[:, 0]
        batches = data.training_batches(order, seed=recipe.seed, epoch=epoch)
        for number, (inputs, labels) in enumerate(batches):
            if plan.augmentation is not None:
                keys = joined(key, AUGMENTATION, epoch, number)
                inputs = plan.augmentation(inputs[None], keys)[0]
            optimizer.zero_grad()
            with _precision(device):
                loss = F.cross_entropy(module(inputs), labels)
            loss.backward()
            optimizer.step()
        if progress is not None:
            progress.advance(1, {"loss": f"{loss.item():.3f}"})
    seen = orders.membership()[0].nonzero()[:, 0]
    test = torch.arange(data.num_train, data.num_all)
    return Scores(*torch.cat([_score(module, data, places) for places in (seen, test)])[:, None])


def torch_optimizer(optimizer: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """Torch's own optimizer of the same settings."""
    params, kind = module.parameters(), optimizer.kind
    settings = {"lr": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    if kind == "sgd":
        return torch.optim.SGD(
            params, momentum=optimizer.momentum, nesterov=optimizer.is_nesterov, **settings
        )
    settings["eps"] = optimizer.eps
    if kind == "rmsprop":
        return torch.optim.RMSprop(
            params, momentum=optimizer.momentum, alpha=optimizer.alpha, **settings
        )
    make = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    return make(params, betas=optimizer.betas, **settings)


@torch.no_grad()
def _score(
    module: nn.Module, data: LabelledData | StreamedData, places: Int[Tensor, " N"]
) -> Float[Tensor, "2"]:
    """Accuracy and mean loss on some inputs."""
    module.eval()
    total = torch.zeros(2, device=data.device)
    for inputs, labels in data.batches(places, EVALUATION_BATCH):
        with _precision(data.device):
            logits = module(inputs).float()
        total[0] += (logits.argmax(1) == labels).sum()
        total[1] += F.cross_entropy(logits, labels, reduction="sum")
    return (total / len(places)).cpu()


def _precision(device: torch.device) -> torch.autocast:
    is_gpu = device.type == "cuda"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_gpu)
