"""The fitting engine against its plain twin: one network at a time, with torch's own Adam."""

import logging
import math

import pytest
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.fitting import CHECK_EVERY, Adam, fit_networks
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward
from tests.processes import start_program

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = NetworkSpec.mlp((1, 4, 1), activation=Activation("tanh"))
POINTS = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1)


def loss_fn(params: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    outputs = stacked_forward(SPEC, params, POINTS.to(params))
    return (outputs.squeeze(-1) - targets).square().mean(dim=1)


def loss_free_targets(params: torch.Tensor) -> torch.Tensor:
    return stacked_forward(SPEC, params, POINTS).squeeze(-1)


def plain_loss_fn(params: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss outside the library, whose checks of shapes, on in the tests, do not compile."""
    return (params[:, :9].tanh() - targets).square().mean(dim=1)


def make_problem(num_networks: int, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Initial values and targets that some networks reach fast and others slowly."""
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(num_networks, SPEC.num_params, generator=generator, dtype=dtype)
    return params, torch.randn(num_networks, 9, generator=generator, dtype=dtype) / 2


def make_rates(num_networks: int) -> torch.Tensor:
    return torch.logspace(-3, -1, num_networks, dtype=torch.float64)


def fit_reference(params, targets, *, rates, num_steps, stop_loss=0.0, **settings):
    """Plain twin: `params`, losses and steps of networks trained one by one."""
    fitted = []
    for initial, target, rate in zip(params, targets, rates.tolist(), strict=True):
        network = initial.clone().requires_grad_()
        adam = torch.optim.Adam([network], lr=rate, **settings)
        for step in range(num_steps + 1):
            loss = loss_fn(network[None], target[None])[0]
            if loss <= stop_loss or step == num_steps:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        fitted.append((network.detach(), loss.detach(), torch.tensor(step)))
    return [torch.stack(column) for column in zip(*fitted, strict=True)]


@pytest.mark.parametrize("settings", [{}, {"betas": (0.8, 0.95), "eps": 1e-3}])
def test_equals_torch_adam_one_by_one(settings):
    params, targets = make_problem(5)
    rates = make_rates(5)
    expected = fit_reference(params, targets, rates=rates, num_steps=60, **settings)
    fitted = fit_networks(
        loss_fn,
        params,
        targets,
        num_steps=60,
        optimizer=Adam(rates, **settings),
        chunk_size=3,
        is_compiled=False,
    )
    torch.testing.assert_close(fitted.params, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fitted.losses, expected[1], rtol=1e-9, atol=1e-12)
    assert fitted.num_steps.tolist() == [60] * 5


STOPS = {"num_steps": 4 * CHECK_EVERY + 7, "stop_loss": 0.12}


@pytest.fixture(scope="module")
def stopping_problem():
    """Initial values, targets and rates; what the plain twin makes of them with `STOPS`."""
    params, targets = make_problem(13)
    targets[4] = loss_free_targets(params)[4]
    rates = make_rates(13)
    expected = fit_reference(params, targets, rates=rates, **STOPS)
    steps = set(expected[2].tolist())
    assert {0, STOPS["num_steps"]} < steps  # none, all ...
    assert len({step % CHECK_EVERY for step in steps}) > 4  # ... and many numbers between
    return params, targets, rates, expected


@pytest.mark.parametrize("chunk_size", [1, 4, 13, 100])
def test_stops_where_a_plain_loop_stops_whatever_the_chunk(stopping_problem, chunk_size):
    params, targets, rates, expected = stopping_problem
    fitted = fit_networks(
        loss_fn,
        params,
        targets,
        optimizer=Adam(rates),
        chunk_size=chunk_size,
        is_compiled=False,
        **STOPS,
    )
    assert torch.equal(fitted.num_steps, expected[2])
    torch.testing.assert_close(fitted.params, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fitted.losses, expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_steps", [0, 1, CHECK_EVERY - 1, CHECK_EVERY, CHECK_EVERY + 1])
def test_losses_are_those_of_the_returned_parameters(num_steps):
    params, targets = make_problem(7)
    fitted = fit_networks(
        loss_fn, params, targets, num_steps=num_steps, chunk_size=3, is_compiled=False
    )
    assert fitted.num_steps.tolist() == [num_steps] * 7
    torch.testing.assert_close(
        fitted.losses, loss_fn(fitted.params, targets), rtol=1e-13, atol=1e-13
    )
    assert torch.equal(fitted.params, params) == (num_steps == 0)


def test_inputs_are_left_as_they_are():
    params, targets = make_problem(3)
    before = params.clone(), targets.clone()
    fit_networks(loss_fn, params, targets, num_steps=5, chunk_size=2, is_compiled=False)
    assert torch.equal(params, before[0])
    assert torch.equal(targets, before[1])


def test_a_done_network_leaves_its_slot_to_the_next():
    params, targets = make_problem(9)
    targets[1:] = loss_free_targets(params[1:])  # all but the first are done at once
    shapes = []

    def counting_loss_fn(params, targets):
        shapes.append(tuple(params.shape))
        return loss_fn(params, targets)

    fitted = fit_networks(
        counting_loss_fn,
        params,
        targets,
        num_steps=8 * CHECK_EVERY,
        stop_loss=1e-20,
        chunk_size=2,
        is_compiled=False,
    )
    assert fitted.num_steps.tolist() == [8 * CHECK_EVERY] + [0] * 8
    assert set(shapes) == {(2, SPEC.num_params)}  # shapes never change
    assert len(shapes) == 8 * CHECK_EVERY + 1  # the eight went through beside the first


def test_every_network_is_reported_once():
    params, targets = make_problem(11)
    reported = []
    fitted = fit_networks(
        loss_fn,
        params,
        targets,
        num_steps=60,
        stop_loss=0.2,
        chunk_size=4,
        is_compiled=False,
        on_done=lambda losses: reported.extend(losses.tolist()),
    )
    assert sorted(reported) == sorted(fitted.losses.tolist())


def test_a_network_that_fails_leaves_the_others_alone():
    params, targets = make_problem(6)
    fit = {"num_steps": 40, "chunk_size": 3, "is_compiled": False}
    sound = fit_networks(loss_fn, params, targets, **fit)
    targets[1] = math.nan
    fitted = fit_networks(loss_fn, params, targets, **fit)
    others = [0, 2, 3, 4, 5]
    assert torch.equal(fitted.params[others], sound.params[others])
    assert torch.equal(fitted.losses[others], sound.losses[others])
    assert fitted.losses[1].isnan()
    assert fitted.num_steps[1] == 0  # it stops at once ...
    assert torch.equal(fitted.params[1], params[1])  # ... and keeps what it had


def test_a_gradient_that_is_nan_cannot_touch_a_network_that_is_done():
    params = torch.tensor([[0.0, 0.0], [1.0, 1.0]])

    def norm(params, data):
        return (params - data).square().sum(dim=1).sqrt()  # at 0: loss 0, gradient NaN

    fitted = fit_networks(norm, params, torch.zeros(2, 2), num_steps=3, is_compiled=False)
    assert fitted.params[0].tolist() == [0.0, 0.0]
    assert fitted.losses[0] == 0
    assert fitted.num_steps.tolist() == [0, 3]


def test_no_networks_give_none():
    params, targets = make_problem(0)
    fitted = fit_networks(loss_fn, params, targets, num_steps=5, is_compiled=False)
    assert fitted.params.shape == (0, SPEC.num_params)


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_chunk_that_holds_no_network(raises_saying, chunk_size):
    params, targets = make_problem(2)
    found = f"chunk size is {chunk_size}"
    with raises_saying(asked="fit 2 networks", found=found, do="at least one network"):
        fit_networks(loss_fn, params, targets, num_steps=5, chunk_size=chunk_size)


COMPILED = """
import torch
from torch._dynamo.utils import counters
from nn_graphs.networks.fitting import Adam, fit_networks
from nn_graphs.networks.inr import inr_preset
from nn_graphs.zoos.makers.inr_zoos import inr_loss_fn

torch.set_num_threads(1)
preset = inr_preset("dws")
spec = preset.make_spec((2, 4, 1))
params = preset.initial_params(spec, start=0, stop=7, seed=0).double()
targets = torch.rand(7, 1, 12, generator=torch.Generator().manual_seed(0)).double()
adam = Adam(torch.logspace(-4, -2, 7))
for num_steps, stop_loss, zoom in [(60, 0.05, 1), (30, 0.0, 2), (10, 0.1, 3)]:
    compiled, eager = (
        fit_networks(
            inr_loss_fn(spec, zoom * preset.coordinates(3, 4).double()),
            params,
            targets,
            num_steps=num_steps,
            stop_loss=stop_loss,
            optimizer=adam,
            chunk_size=3,
            is_compiled=is_compiled,
        )
        for is_compiled in (True, False)
    )
    assert torch.equal(compiled.num_steps, eager.num_steps)
    torch.testing.assert_close(compiled.params, eager.params, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(compiled.losses, eager.losses, rtol=1e-8, atol=1e-10)
print(counters["stats"]["unique_graphs"])
"""


def test_compiled_equals_eager_and_compiles_once_for_all_limits():
    process = start_program(COMPILED)  # where shapes are not checked
    output = process.communicate()
    assert process.returncode == 0, output
    assert output.split() == ["1"]  # nor does it say that it cannot compile


def test_without_a_compiler_it_warns_once_and_goes_on(monkeypatch, caplog):
    def broken_backend(graph, example_inputs):
        raise RuntimeError("no compiler found")

    compile_fn = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda fn, **options: compile_fn(fn, backend=broken_backend, **options)
    )
    torch._dynamo.reset()
    params, targets = make_problem(5)
    with caplog.at_level(logging.WARNING):
        fitted = fit_networks(plain_loss_fn, params, targets, num_steps=30, chunk_size=2)
    eager = fit_networks(
        plain_loss_fn, params, targets, num_steps=30, chunk_size=2, is_compiled=False
    )
    assert torch.equal(fitted.params, eager.params)
    [record] = [record for record in caplog.records if record.name.startswith("nn_graphs")]
    assert record.levelname == "WARNING"
    assert "Cannot compile" in record.message
    assert "no compiler found" in record.message


@pytest.mark.parametrize("is_compiled", [True, False])
def test_faults_of_the_loss_come_out(is_compiled):
    def faulty_loss_fn(params, data):
        raise ZeroDivisionError("the loss is wrong")

    params, targets = make_problem(2)
    with pytest.raises(ZeroDivisionError, match="the loss is wrong"):
        fit_networks(faulty_loss_fn, params, targets, num_steps=2, is_compiled=is_compiled)


@pytest.mark.gpu
def test_gpu_equals_cpu():
    params, targets = make_problem(13)
    rates = make_rates(13)
    settings = {"num_steps": 60, "stop_loss": 0.12, "chunk_size": 5}
    cpu = fit_networks(
        loss_fn, params, targets, optimizer=Adam(rates), is_compiled=False, **settings
    )
    for is_compiled in (True, False):
        gpu = fit_networks(
            loss_fn,
            params.cuda(),
            targets.cuda(),
            optimizer=Adam(rates),
            is_compiled=is_compiled,
            **settings,
        )
        assert gpu.params.is_cuda
        assert torch.equal(gpu.num_steps.cpu(), cpu.num_steps)
        torch.testing.assert_close(gpu.params.cpu(), cpu.params, rtol=1e-7, atol=1e-7)
