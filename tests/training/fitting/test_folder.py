"""What a folder without a checkpoint is, and what to name in its place."""

import pytest

from darnet_trt.errors import CheckpointError
from darnet_trt.training.checkpoint import load_checkpoint


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("files", "of", "says"),
    [
        (["state.pt"], "", "the training is not finished; run the command that began it again"),
        (["state-before.pt"], "", "the training is not finished"),
        (["plan.json", "runs/none-fold0-seed0/checkpoint.pt"], "", "runs/none-fold0-seed0"),
        (["plan.json", "runs/none-fold0-seed0/checkpoint.pt"], "runs", "runs/none-fold0-seed0"),
        (["plan.json", "runs/none-fold0-seed0/state.pt"], "", "run the same ablation command"),
        (["notes.txt"], "", "there is no checkpoint here; name the folder that train wrote"),
        ([], "absent", "no such file or folder"),
    ],
)
def test_the_error_says_what_it_is(tmp_path, files, of, says):
    touched(tmp_path, *files)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / of)
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)
