"""Train one module by itself, for what no stack computes: with the same recipes and data.

The plain way, with torch's own optimizers; on a GPU in mixed precision.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.classifiers.data import LabelledData, Orders, network_keys
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.networks.classifiers.evaluation import EVALUATION_BATCH
from nn_graphs.networks.classifiers.module_state import ModuleState
from nn_graphs.networks.classifiers.objectives import Scores
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.networks.classifiers.train_stack import AUGMENTATION, Plan, Recipe
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.progress import Progress


def train_module(
    module: nn.Module,
    data: LabelledData | StreamedData,
    recipe: Recipe,
    plan: Plan,
    *,
    progress: Progress | None = None,
    before_step: Callable[[int, Tensor, Tensor], object] | None = None,
    state_file: Path | None = None,
) -> Scores:
    """Trains a module in place and scores it as it is in the end.

    Args:
        module: logits of inputs; with dropout of its own, if any: that of the recipe is not used.
        data: on the module's device; what is streamed is drawn anew in each epoch, and augmented
            by the plan besides.
        recipe: of this network.
        plan: epochs, batches and augmentation; checkpoints are not kept.
        progress: told of epochs.
        before_step: called before every step with its number and its inputs and labels, e.g. to
            change masks.
        state_file: where the state is kept, at ends of epochs; an interrupted training goes on from
            there, bit for bit. The caller deletes it.

    Raises:
        NNGraphsError: labels are no classes, or the state is of another training.
    """
    if isinstance(data, LabelledData) and data.is_regression:
        raise NNGraphsError(
            "train one module to predict numbers",
            found=f"its labels, of which the first is {data.labels[0]:.3g}, are no classes.",
            do="Train a stack of one network with train_classifiers.",
        )
    optimizer = torch_optimizer(recipe.optimizer, module)
    orders = Orders(
        data.num_train,
        fractions=[recipe.train_fraction],
        seeds=[recipe.seed],
        batch_size=plan.batch_size,
    )
    key = network_keys([recipe.seed], data.device)

    def batches(epoch: int, number: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        order = orders.epoch(epoch)[:number, 0]
        drawn = data.training_batches(order, seed=recipe.seed, epoch=epoch)
        for number_in_epoch, (inputs, labels) in enumerate(drawn):
            if plan.augmentation is not None:
                keys = joined(key, AUGMENTATION, epoch, number_in_epoch)
                inputs = plan.augmentation(inputs[None], keys)[0]
            yield inputs, labels

    settings = f"{replace(plan, save_seconds=1.0)} {recipe} {data.num_train} {data.num_all}"
    state = ModuleState(state_file, module, optimizer, seconds=plan.save_seconds, training=settings)
    first, step = state.read()
    if progress is not None:
        progress.advance(first)
    for epoch in range(first, plan.num_epochs):
        module.train()
        rate = recipe.optimizer.learning_rate * recipe.schedule.at(epoch, plan.num_epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for inputs, labels in batches(epoch):
            if before_step is not None:
                before_step(step, inputs, labels)
            step += 1
            optimizer.zero_grad()
            with _precision(data.device):
                loss = F.cross_entropy(module(inputs), labels)
            loss.backward()
            optimizer.step()
        state.write(epoch + 1, step)
        if progress is not None:
            progress.advance(1, {"loss": f"{loss.item():.3f}"})
    if plan.num_norm_inputs:
        number = -(-plan.num_norm_inputs // plan.batch_size)
        measure_norms(module, (inputs for inputs, _ in batches(plan.num_epochs, number)))
    seen = orders.membership()[0].nonzero()[:, 0]
    test = torch.arange(data.num_train, data.num_all)
    return Scores(*torch.cat([_score(module, data, places) for places in (seen, test)])[:, None])


@torch.no_grad()
def measure_norms(module: nn.Module, batches: Iterable[Float[Tensor, "B c h w"]]) -> None:
    """Statistics of 2d batch norms measured anew over all inputs of some batches of equal size, for
    the weights as they are now.

    "Precise" batch norm of You et al., ICML 2020, who leave all other norms as they are. Their code
    takes the mean of the batches' variances; here the variance between batches counts too.
    """
    norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
    if not norms:
        return
    others = [one for one in module.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm3d)]
    module.train()
    for other in others:
        other.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0  # what the last batch had
    seen = [[] for _ in norms]
    for inputs in batches:
        with _precision(inputs.device):
            module(inputs)
        for norm, found in zip(norms, seen, strict=True):
            found.append(torch.stack([norm.running_mean, norm.running_var]))
    for norm, found, momentum in zip(norms, seen, momenta, strict=True):
        means, variances = torch.stack(found).unbind(1)
        norm.running_mean.copy_(means.mean(0))
        norm.running_var.copy_(variances.mean(0) + means.var(0, correction=0))
        norm.momentum = momentum


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
