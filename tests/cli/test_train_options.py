"""The options of `train` make its recipe, and their defaults are the recipe's."""

import inspect

import pytest

from darnet_trt.cli.train import train
from darnet_trt.training.recipe import Recipe

OTHER_NAMES = {"rotation_deg": "rotation"}
OF_THE_PRESET = "epochs"


def test_defaults_are_those_of_the_recipe():
    options = inspect.signature(train).parameters
    recipe = Recipe().model_dump()
    recipe |= recipe.pop("augmentation")
    del recipe[OF_THE_PRESET]
    for name, value in recipe.items():
        assert options[OTHER_NAMES.get(name, name)].default == value, name


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--learning-rate", "0"], "--learning-rate"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--rotation", "nan"], "--rotation"),
        (["--new-head"], "--new-head"),
        (["--fold", "1"], "--folds"),
        (["--classes", "a"], "--classes"),
        (["--patience", "0"], "--patience"),
        (["--scaling", "1"], "--scaling"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(phantom_cohort, tmp_path, command, options, named):
    done = command("train", phantom_cohort, "-o", tmp_path / "run", *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert not (tmp_path / "run").exists()
