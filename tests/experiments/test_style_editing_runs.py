"""Style editing as a user runs it: on the tiny zoo, to a row of results, or to one clear error."""

import dataclasses

import pytest
from support.launch import EXPERIMENTS

from nn_graphs.results import read_results
from tests.conftest import TINY_RECIPE
from tests.experiments.in_process import commands_of

FOLDER = EXPERIMENTS / "style_editing"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run_main(tmp_path, tiny_zoo_path):
    """`python main.py ...` in this process, for two epochs."""
    recipe = dataclasses.asdict(TINY_RECIPE) | {"hidden_widths": list(TINY_RECIPE.hidden_widths)}
    zoo = [
        f"zoo.recipe.{name}={value}".replace(" ", "")
        for name, value in recipe.items()
        if value is not None
    ]
    options = (
        f"zoo.path={tiny_zoo_path}",
        *zoo,
        "trainer.num_epochs=2",
        "trainer.batch_size=16",
        "trainer.accelerator=cpu",
        "trainer.max_minutes=null",
    )
    with commands_of(FOLDER, tmp_path) as command:

        def run(*overrides: str):
            command(*options, *overrides)
            return tmp_path

        yield run


@pytest.mark.parametrize("encoder", ["ng_gnn_small", "nfn_hnp_small"])
def test_from_images_to_results(run_main, encoder):
    place = run_main(f"encoder={encoder}", "target.num_copies=2", "target.edit=erosion")
    for name in ("learning_curves.png", "edits.png"):
        assert (place / "run" / name).stat().st_size > 1000
    assert (place / "scores_digits_inrs.png").exists()
    rows = read_results(place / "results.csv").set_index("metric")["value"]
    assert rows["test/minus_mse"] == -rows["test/mse"] < 0
    assert rows["test/share"] == pytest.approx(
        rows["test/mse"] / rows["test/unedited_mse"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("encoder=flat_mlp", "what is put out are networks"),
        ("target.num_copies=0", "num_copies: 0 is not at least 1"),
        ("target.edit=blur", "there is no 'blur'"),
        ("target.edit=contrast", "3 channels"),
    ],
)
def test_mistakes_end_with_a_message(run_main, option, said):
    with pytest.raises(SystemExit) as caught:
        run_main(option)
    assert str(caught.value).startswith("error: Cannot ")
    assert said in str(caught.value)
