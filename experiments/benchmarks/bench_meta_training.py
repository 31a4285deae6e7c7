"""How many inner steps does meta-training make a second, in a stack and in a loop over networks?

python bench_meta_training.py                    # MLPs on digits, 16 networks, 20 inner steps
python bench_meta_training.py --update factored_mlp
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record, seconds
from torch import Tensor
from torch.func import functional_call, grad_and_value

from nn_graphs.learned_optimizers.inner_training import InnerTraining
from nn_graphs.learned_optimizers.learned_update import LearnedUpdate
from nn_graphs.learned_optimizers.registry import make_update
from nn_graphs.learned_optimizers.task_families import TaskFamily
from nn_graphs.learned_optimizers.unrolled_gradients import UnrolledGradients
from nn_graphs.networks.classifiers.draws import joined, uniforms
from nn_graphs.zoos.makers.labelled_images import LabelledImages

IMAGES = LabelledImages("digits", scale="standard")


class PlainUpdate(torch.nn.Module):
    """The same features, MLP and output for one tensor, written as one would in plain torch."""

    def __init__(self, update: LearnedUpdate):
        super().__init__()
        self.features, self.form = update.features, update.form
        widths = update.function.spec.layer_layout
        layers = [torch.nn.Linear(*pair) for pair in pairwise(widths)]
        between = [module for one in layers for module in (one, torch.nn.ReLU())]
        self.mlp = torch.nn.Sequential(*between[:-1])

    def load(self, weights: Tensor) -> None:
        torch.nn.utils.vector_to_parameters(weights, self.mlp.parameters())

    def forward(self, value: Tensor, gradient: Tensor, state: tuple, step: Tensor):
        given, own = value.unsqueeze(0), gradient.unsqueeze(0)
        told, after = self.features.step(given, own, state, step)
        change, _ = self.form.change(step, self.mlp(told), own, (), step)
        return value - change.view(value.shape), after


def plain_gradient(training: InnerTraining, plain: PlainUpdate, keys: Tensor, *, num_steps: int):
    """The meta-gradient of the mean loss over the steps, network by network."""
    task, update = training.task, training.update
    module = task.spec.make_module()
    for parameter in plain.mlp.parameters():
        parameter.grad = None

    def loss_of(params: dict, inputs: Tensor, labels: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(functional_call(module, params, inputs), labels)

    with_loss, total = grad_and_value(loss_of), 0.0
    for key in keys.split(1):
        flat = task.initial_params(key)[0]
        params = dict(task.spec.parameters.unflatten(flat))
        state = {name: update.features.start(p.unsqueeze(0)) for name, p in params.items()}
        summed = 0.0
        for number in range(num_steps + 1):
            step = torch.full_like(key, number)
            draws = uniforms(joined(key, 1, step), (task.batch_size,))[0]
            places = (draws * task.num_seen).long()
            inputs, labels = task.data.take(places), task.data.labels[places]
            still = {name: p.detach() for name, p in params.items()}
            gradients, loss = with_loss(still, inputs, labels)
            reached = sum(((params[n] - still[n]) * gradients[n]).sum() for n in params)
            summed = summed + loss.detach() + reached
            if number == num_steps:
                break
            for name in params:
                params[name], state[name] = plain(params[name], gradients[name], state[name], step)
        total = total + summed / num_steps / len(keys)
    total.backward()
    return torch.cat([parameter.grad.flatten() for parameter in plain.mlp.parameters()])


def compare(name: str, *, num_networks: int, num_steps: int, repeats: int, results: Path) -> None:
    (task,), update = TaskFamily(IMAGES).tasks(), make_update(name)
    training, weights = InnerTraining(task, update), update.initial_weights(0)
    keys, plain = torch.arange(num_networks, dtype=torch.int32), PlainUpdate(update)
    plain.load(weights)
    method = UnrolledGradients(num_steps, num_steps)
    generator = torch.Generator()

    def ours() -> Tensor:
        running = method.start(training, weights, keys)
        return method.gradient(training, weights, running, generator=generator)[0]

    def theirs() -> Tensor:
        return plain_gradient(training, plain, keys, num_steps=num_steps)

    found, expected = ours(), theirs()
    error = ((found - expected).norm() / expected.norm()).item()
    count = num_networks * num_steps
    record(
        "meta-training",
        setting=f"{name}, {task.name}, {num_networks} networks, {num_steps} inner steps",
        unit="inner steps/s",
        plain=count / seconds(theirs, repeats=repeats),
        ours=count / seconds(ours, repeats=repeats),
        remark=f"Back-propagation through all steps; meta-gradients differ by {error:.1e}.",
        results=results,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", default="mlp", help="mlp, factored_mlp or published_ff")
    parser.add_argument("--num-networks", type=int, default=16, help="of a stack, or of the loop")
    parser.add_argument("--num-steps", type=int, default=20, help="inner steps")
    parser.add_argument("--repeats", type=int, default=5, help="of both ways")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = vars(parser.parse_args())
    compare(options.pop("update"), **options)


if __name__ == "__main__":
    main()
