"""The options of `train` make its recipe, and their defaults are the recipe's."""

import inspect

import pytest

from darnet_trt.cli.train import train
from darnet_trt.training.recipe import Recipe
from tests.scan.cohorts.layouts import write_csv, write_raw

OTHER_NAMES = {"rotation_deg": "rotation"}
OF_THE_PRESET = "epochs"
CC = ("ncp", "cp", "normal")


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
        (["--rotation", "nan"], "'--rotation': nan is not a number"),
        (["--learning-rate", "0"], "--learning-rate: 0 is not above 0"),
        (["--learning-rate", "inf"], "--learning-rate: inf is not finite"),
        (["--learning-rate", "11"], "--learning-rate: 11 is above 10"),
        (["--folds", "f.csv"], "--folds: needs --fold; say which fold to hold out"),
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
    assert "Input should" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_table_may_name_the_folds(tmp_path, command):
    rows = [f"{label}{fold},{label}{fold},{label},{fold}" for label in CC for fold in (0, 1)]
    (tmp_path / "cohort.csv").write_text("\n".join(["scan,patient,label,fold", *rows]))
    done = command("train", tmp_path, "-o", tmp_path / "run", "--fold", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no fold 2" in done.stderr
    done = command("train", tmp_path, "-o", tmp_path / "run", "--folds", tmp_path / "cohort.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--fold" in done.stderr


def test_what_a_cohort_lacks_is_said(tmp_path, command):
    write_raw(tmp_path / "raw")
    columns = "zip_file,label,patient_id,scan_id,n_slice"
    write_csv(tmp_path / "raw" / "unzip_filenames.csv", columns, ("CP-1.zip", "CP", 9, 99, 4))
    done = command("train", tmp_path / "raw", "-o", tmp_path / "run", "--fold", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "CP/9/99" in done.stderr.splitlines()[0]
    folds = tmp_path / "folds.csv"
    done = command("cohort", "folds", tmp_path / "raw", "-o", folds, "--folds", 2)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "CP/9/99" in done.stderr
    done = command("ablation", tmp_path / "raw", "-o", tmp_path / "run", "--folds", "9")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "CP/9/99" in done.stderr.splitlines()[0]
