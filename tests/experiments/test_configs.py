"""Every config is composed and bound to what it configures; mistakes are reported together."""

import dataclasses
import itertools
import json
import re
import shlex
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig
from support.checks import check_config
from support.launch import EXPERIMENTS

from nn_graphs.configs import CONFIGS
from nn_graphs.graphs.augmentations import Compose
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.inr import PRESETS
from nn_graphs.tasks.generalization import Generalization
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.style_editing import StyleEditing
from nn_graphs.training import TrainingSettings
from nn_graphs.zoos.makers.inr_zoos import INRRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe
from nn_graphs.zoos.zoo import Zoo

ALL_FILES = {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml")}
FILES = {name for name in ALL_FILES if not name.startswith("hydra/")}  # see test_slurm.py
OPTIONS = sorted(name for name in FILES if "/" in name)
TASKS = sorted(folder.parent.name for folder in EXPERIMENTS.glob("*/main.py"))


def options_of(task: str) -> set[str]:
    """The options that a task's config chooses from."""
    text = (CONFIGS / f"{task}.yaml").read_text()
    return {option for option in OPTIONS if f"- {option.split('/')[0]}: " in text}


def choices() -> list[tuple[str, tuple[str, ...]]]:
    """Tasks with one option of each group at once: what one configures is bound by itself.

    An option is chosen once, in the first task that has it.
    """
    found, chosen = [], set()
    for task in TASKS:
        left = sorted(options_of(task) - chosen)
        groups = [list(own) for _, own in itertools.groupby(left, lambda one: one.split("/")[0])]
        rows = itertools.zip_longest(*groups)
        found += [(task, tuple(option for option in row if option)) for row in rows] or [(task, ())]
        chosen.update(left)
    return found


CHOICES = choices()


GIVEN = {  # what a user has to give
    "graphs/file": ["graphs.path=mine.npy"],
    "zoo/file": ["zoo.path=mine.h5"],
    "zoo/folder": ["zoo.source.folder=mine", "zoo.architecture.modules=[nets:Small]"],
}


@pytest.fixture(autouse=True)
def configs():
    with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
        yield


def choice(option: str) -> str:
    return "=".join(option.split("/", 1))


def compose(task: str, *overrides: str) -> DictConfig:
    return hydra.compose(task, [*overrides, "results=results.csv"])


def files_of(task: str, *overrides: str) -> set[str]:
    """The files that a config is composed of."""
    loader = GlobalHydra.instance().hydra.config_loader
    defaults = loader.compute_defaults_list(task, list(overrides), RunMode.RUN).defaults
    return {default.config_path for default in defaults} & FILES


@pytest.mark.parametrize(("task", "options"), CHOICES, ids=str)
def test_every_option_binds(task, options):
    given = [value for option in options for value in GIVEN.get(option, ())]
    assert check_config(compose(task, *map(choice, options), *given)) >= 3


def test_values_that_must_be_given_are_named(raises_saying):
    missing = "zoo.architecture.modules, zoo.source.folder must be given"
    with raises_saying(asked="this configuration", found=missing, do="zoo.source.folder=..."):
        check_config(compose("inr_classification", "zoo=folder"))


def recorded_options() -> list[tuple[str, tuple[str, ...]]]:
    """Options of the commands that made rows: of those that differ in numbers alone, the last."""
    found = {}
    for task in TASKS:
        for command in pd.read_csv(EXPERIMENTS / task / "results.csv")["command"].unique():
            _, script, *options = shlex.split(command)
            if script == "main.py":
                found[task, re.sub(r"=-?[\d.]+(e-?\d+)?\b", "", command)] = tuple(options)
    return sorted((task, options) for (task, _), options in found.items())


@pytest.mark.parametrize(("task", "options"), recorded_options())
def test_commands_of_result_rows_are_understood(task, options):
    assert check_config(hydra.compose(task, [*options])) >= 3


def test_every_file_was_covered():
    """What is chosen, and what the tasks' own configs consist of."""
    chosen = {option for _, options in CHOICES for option in options}
    assert chosen.union(*map(files_of, TASKS)) == FILES
    assert len(FILES) >= 10


def test_coverage_sees_a_file_that_nothing_uses():
    assert not any("encoder/ng_t" in files_of(task) for task in TASKS)


def test_all_mistakes_are_reported_together(raises_saying):
    config = compose(
        "inr_classification",
        "trainer.num_epochs=four",
        "+trainer.epochs=4",
        "encoder.model.pooling=median",
        "zoo.recipe.hidden_widths=[8,wide]",
        "encoder.model.encoder._target_=nn_graphs.encoders.gnn.Missing",
    )
    faults = (
        "5 value(s) do not fit:",
        "trainer.num_epochs: 'four' is not int",
        "trainer.epochs: unknown; nn_graphs.training.TrainingSettings takes num_epochs, batch_size",
        "encoder.model.pooling: 'median' is not",
        "zoo.recipe.hidden_widths: [8, 'wide'] is not",
        "encoder.model.encoder._target_: nn_graphs.encoders.gnn.Missing cannot be imported",
    )
    for fault in faults:
        with raises_saying(asked="this configuration", found=fault, do="--cfg job"):
            check_config(config)


@pytest.mark.parametrize(
    "right",
    ["trainer.learning_rate=1", "trainer.patience=3", "trainer.devices=auto", "trainer.devices=2"],
)
def test_values_that_fit_in_another_form(right):
    assert check_config(compose("inr_classification", right)) == 6  # inputs of an encoder too


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("trainer.seed=1.5", "trainer.seed: 1.5 is not int"),
        ("trainer.patience=never", "trainer.patience: 'never' is not"),
        ("trainer.has_wandb=2", "trainer.has_wandb: 2 is not bool"),
        ("seed=one", "trainer.seed: 'one' is not int"),
        ("encoder.model.hidden_dims=8", "encoder.model.hidden_dims: 8 is not"),
        ("encoder.model.hidden_dims=[8,9,wide]", "hidden_dims: [8, 9, 'wide'] is not"),
    ],
)
def test_values_that_do_not_fit(raises_saying, wrong, found):
    with raises_saying(asked="this configuration", found=found, do="--cfg job"):
        check_config(compose("inr_classification", wrong))


def test_published_training():
    config = compose("inr_classification", "trainer=published", "seed=5")
    settings = hydra.utils.instantiate(config.trainer)
    assert settings == TrainingSettings(seed=5)  # test_settings.py pins the defaults


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_published_zoos(dataset):
    config = compose("inr_classification", f"zoo={dataset}", "data_root=/data")
    recipe = hydra.utils.instantiate(config.zoo.recipe, _convert_="all")
    assert recipe == INRRecipe(
        dataset=dataset,
        preset="dws",
        hidden_widths=(32, 32),
        num_steps=1000,
        learning_rate=5e-4,
        num_train=55_000,
        num_val=5_000,
        num_test=None,
    )
    assert config.zoo.path == f"/data/{dataset}_inrs.h5"
    assert config.zoo.name == f"{dataset}_inrs"


@pytest.mark.parametrize("kind", ["small", "wild"])
def test_made_cnn_zoos(kind):
    """Digits are the default; published settings are reached by options alone."""
    config = compose("cnn_generalization", f"zoo={kind}_cnns_digits", "data_root=/data")
    assert config.zoo.path == f"/data/{kind}_cnns_digits.h5"
    recipe = hydra.utils.instantiate(config.zoo.recipe, _convert_="all")
    assert recipe.images.dataset == "digits"
    images = [f"zoo.recipe.images.{name}=null" for name in ("size", "num_train", "num_test")]
    published = {
        "small": ["num_runs=30000", "test_share=0.5"],
        "wild": ["num_architectures=2800", "num_epochs=1000", "checkpoint_every=10"],
    }
    options = [f"zoo.recipe.{option}" for option in ("batch_size=512", *published[kind])]
    config = compose("cnn_generalization", f"zoo={kind}_cnns_cifar10", *images, *options)
    recipe = hydra.utils.instantiate(config.zoo.recipe, _convert_="all")
    defaults = {
        "small": SmallCNNRecipe(LabelledImages("cifar10", is_gray=True), num_runs=30_000),
        "wild": WildCNNRecipe(
            LabelledImages("cifar10", scale="standard"), num_architectures=2800, num_epochs=1000
        ),
    }
    assert listed(recipe) == listed(defaults[kind])


@pytest.mark.parametrize(
    ("recipe", "rate", "decay", "batch_size", "schedule"),
    [
        ("published_resnet", 0.1, 1e-4, 256, "cosine"),
        ("published_efficientnet", 0.2, 5e-5, 512, "cosine"),
        ("published_resnet_1gpu", 0.025, 1e-4, 32, "steps"),
        ("published_cnn6_1gpu", 0.025, 5e-4, 32, "cosine"),
        ("published_efficientnet_1gpu", 0.4, 5e-5, 64, "cosine"),
    ],
)
def test_published_training_on_imagenet(recipe, rate, decay, batch_size, schedule):
    config = compose("relational_graphs", "dataset=imagenet", f"recipe={recipe}")
    made, plan = (
        hydra.utils.instantiate(config.recipe[part], _convert_="all") for part in ("recipe", "plan")
    )
    optimizer = made.optimizer
    assert (optimizer.kind, optimizer.momentum, optimizer.is_nesterov) == ("sgd", 0.9, True)
    assert (optimizer.learning_rate, optimizer.weight_decay) == (rate, decay)
    assert (plan.num_epochs, plan.batch_size, plan.augmentation) == (100, batch_size, None)
    last = {"cosine": (1 + np.cos(0.99 * np.pi)) / 2, "steps": 1e-3}[schedule]
    assert made.schedule.at(0, 100) == 1
    assert made.schedule.at(99, 100) == pytest.approx(last)
    assert list(config.seeds) == [1, 2, 3]


def listed(recipe) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


@pytest.fixture(scope="module")
def published_task() -> INRClassification:
    """Networks of the published architecture 2-32-32-1, in ten classes."""
    preset = PRESETS["dws"]
    spec = preset.make_spec((2, 32, 32, 1))
    params = preset.initial_params(spec, start=0, stop=12, seed=0)
    splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    table = pd.DataFrame({"label": np.arange(12) % 10, "split": splits})
    return INRClassification(Zoo.single(spec, params, table))


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["encoder=ng_t"], 376_586),
        (["encoder=ng_t", "encoder.model.encoder.num_probes=64"], 393_866),
        (["encoder=ng_gnn"], 92_010),
        (["encoder=ng_gnn", "encoder.model.encoder.num_probes=64"], 100_714),
        (["encoder=flat_mlp"], (1185 + 1) * 256 + 257 * 256 + 257 * 10),
        (["encoder=statnn"], (6 * 7 + 1) * 1000 + 1001 * 1000 + 1001 * 10),
        (["encoder=probe_only"], 64 * 2 + (64 + 1) * 256 + 257 * 256 + 257 * 10),
        (["encoder=dwsnet"], 314_506),
        (["encoder=nfn_np"], 41_828_138),
        (["encoder=nfn_hnp"], 53_758_762),
    ],
)
def test_published_numbers_of_parameters(published_task, overrides, count):
    config = compose("inr_classification", *overrides)
    torch.manual_seed(0)
    model = hydra.utils.instantiate(config.encoder.model, _convert_="all")(published_task)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    graphs, _ = published_task.dataset("val").batch([0, 1])
    assert model.eval()(graphs).shape == (2, 10)


@pytest.fixture(scope="module")
def editing_task(published_task) -> StyleEditing:
    """The same networks, said to be of images of the size of theirs."""
    zoo = published_task.zoo
    recipe = {"dataset": "digits", "preset": "dws"}
    return StyleEditing(
        Zoo(zoo.specs, zoo.params, zoo.table.assign(source_id=range(12)), {"recipe": recipe})
    )


@pytest.mark.parametrize(
    ("encoder", "count"), [("ng_gnn_editor", 1_186_696), ("ng_t_editor", 391_112)]
)
def test_published_numbers_of_parameters_of_editors(editing_task, encoder, count):
    config = compose("style_editing", f"encoder={encoder}", "trainer=published_editing")
    editor = hydra.utils.instantiate(config.encoder.model, _convert_="all")(editing_task)
    assert sum(p.numel() for p in editor.parameters() if p.requires_grad) == count
    settings = hydra.utils.instantiate(config.trainer, _convert_="all")
    assert (settings.warmup_steps, settings.gradient_clip) == (10_000, 1.0)
    graphs, _ = editing_task.dataset("val").batch([0, 1])
    assert editor.eval()(graphs).shape == (2, 1, 1185)


@pytest.fixture(scope="module")
def cnn_tasks() -> dict[str, Generalization]:
    """Networks of the Small CNN Zoo's architecture, and of the largest of the Wild Park."""
    specs = {
        "cnn_zoo": small_cnn_zoo_spec(),
        "wild_park": wild_park_spec((3, *[32] * 5), (7,) * 5, activations=("relu",) * 5),
    }
    splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    table = pd.DataFrame({"label": 0.5, "split": splits, "run": range(12)})
    return {
        name: Generalization(Zoo.single(spec, 0.1 * torch.randn(12, spec.num_params), table))
        for name, spec in specs.items()
    }


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        ("ng_t_cnn_zoo", 1_807_873 - 7 * 128),  # a table of activations that is never read
        ("ng_gnn_cnn_zoo", 5_587_969 - 7 * 256 - 2 * 257 * 256),  # and embeddings of matrices
        ("ng_t_wild_park", 92_705),
        ("ng_gnn_wild_park", 369_025),
    ],
)
def test_published_numbers_of_parameters_of_cnns(cnn_tasks, encoder, count):
    config = compose("cnn_generalization", f"encoder={encoder}")
    task = cnn_tasks[encoder.partition("_")[2].partition("_")[2]]
    model = hydra.utils.instantiate(config.encoder.model, _convert_="all")(task)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("published_cnn_zoo", TrainingSettings(num_epochs=300, warmup_steps=0)),
        ("published_wild_park", TrainingSettings(num_epochs=20, warmup_steps=0)),
    ],
)
def test_published_training_of_cnns(option, settings):
    config = compose("cnn_generalization", f"trainer={option}")
    assert hydra.utils.instantiate(config.trainer) == settings


@pytest.mark.parametrize(
    ("name", "count"),
    [("none", 0), ("inr", 4), ("published", 5), ("symmetries", 1), ("weights", 2)],
)
def test_augmentations_change_training_networks(published_task, name, count):
    config = compose("inr_classification", f"augmentation={name}")
    steps = hydra.utils.instantiate(config.augmentation, _convert_="all").values()
    assert len(steps) == count
    graphs, _ = published_task.dataset("train").batch([0, 1])
    changed = Compose(steps)(graphs)
    assert torch.equal(changed.params, graphs.params) == (count == 0)


@pytest.mark.parametrize(
    ("encoder", "asked"),
    [("flat_mlp", "flattened"), ("dwsnet", "DWSNet or NFN"), ("nfn_np", "DWSNet or NFN")],
)
def test_some_models_need_one_architecture(raises_saying, encoder, asked):
    from tests.toy_zoos import mixed_zoo

    config = compose("inr_classification", f"encoder={encoder}")
    with raises_saying(asked=asked, found="2 architectures", do="encoder of graphs"):
        hydra.utils.instantiate(config.encoder.model, _convert_="all")(
            INRClassification(mixed_zoo())
        )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [(None, EXPERIMENTS.parent / "data"), ("", EXPERIMENTS.parent / "data"), ("/d", Path("/d"))],
)
def test_data_root(monkeypatch, environment, expected):
    monkeypatch.delenv("NN_GRAPHS_DATA", raising=False)
    if environment is not None:
        monkeypatch.setenv("NN_GRAPHS_DATA", environment)
    config = compose("inr_classification")
    assert Path(config.data_root) == expected
    assert Path(config.zoo.path) == expected / "digits_inrs.h5"
