"""A command writes into no folder of another kind, whose files it would replace."""

import pytest


@pytest.mark.parametrize(
    ("command_name", "holds", "says"),
    [
        ("train", "plan.json", "is an ablation (it holds plan.json)"),
        ("train", "predictions.csv", "is an evaluation (it holds predictions.csv)"),
        ("train", "manifest.json", "is a bundle"),
        ("ablation", "checkpoint.pt", "is a run (it holds checkpoint.pt)"),
        ("ablation", "state.pt", "is a run (it holds state.pt)"),
        ("ablation", "predictions.csv", "is an evaluation"),
        ("ablation", "cohort.csv", "is a cohort"),
        ("evaluate", "plan.json", "is an ablation"),
        ("evaluate", "checkpoint.pt", "is a run"),
        ("evaluate", "state.pt", "is a run"),
    ],
)
def test_a_folder_of_another_kind_is_refused(
    command, phantom_cohort, tmp_path, command_name, holds, says
):
    (tmp_path / holds).write_bytes(b"kept")
    words = ["no-run", phantom_cohort] if command_name == "evaluate" else [phantom_cohort]
    done = command(command_name, *words, "-o", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{tmp_path}: {says}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [holds]
    assert (tmp_path / holds).read_bytes() == b"kept"
