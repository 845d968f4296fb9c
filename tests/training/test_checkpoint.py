"""A checkpoint comes back as it was, or says in one line why it cannot be used."""

import pickle
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from darnet_trt.errors import CheckpointError, OutputError
from darnet_trt.evaluation.familiarity import Familiarity
from darnet_trt.evaluation.seen import TrainingScans
from darnet_trt.evaluation.texture import TEXTURES
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from darnet_trt.training.model import DARNet, Network
from tests.full_disk import files_up_to

SEEN = TrainingScans(
    b"salt", frozenset({-(2**63), 7, 2**63 - 1}), (frozenset({1, 2}), frozenset(), frozenset({-3}))
)
NETWORK = Network(width=4, input_size=(8, 16, 16), attention="depth")


def make(**change):
    torch.manual_seed(0)
    fields = {
        "network": NETWORK,
        "preprocessing": Preprocessing(size=(8, 16, 16)),
        "trained_on": "nothing",
        "validation": {"accuracy": 0.5},
        "state_dict": DARNet(NETWORK).state_dict(),
    }
    return Checkpoint(**(fields | change))


def alter(path, **change):
    content = torch.load(path, weights_only=True)
    content.update(change)
    torch.save(content, path)


@pytest.mark.parametrize(
    ("phantoms_only", "pixel_mm", "seen"),
    [(True, 1.5, SEEN), (False, None, None), (True, None, TrainingScans(b"", frozenset(), ()))],
)
def test_round_trip(tmp_path, phantoms_only, pixel_mm, seen):
    before = make(
        phantoms_only=phantoms_only,
        coarsest_pixel_mm=pixel_mm,
        training_scans=seen,
        shortcuts=("matrix", "probe") if phantoms_only else (),
    )
    path = save_checkpoint(before, tmp_path / "run")
    assert path == tmp_path / "run" / "checkpoint.pt"
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]
    for where in (path, path.parent):
        after = load_checkpoint(where)
        model = after.model()
        for name in set(vars(before)) - {"state_dict"}:
            assert getattr(after, name) == getattr(before, name)
        assert not model.training
        x = torch.rand(1, 1, 8, 16, 16)
        with torch.no_grad():
            for a, b in zip(before.model()(x), model(x), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("said", ["6 synthetic phantoms; not real patients", "6 scans"])
def test_an_older_checkpoint_says_it_in_its_sentence(tmp_path, said):
    path = save_checkpoint(make(trained_on=said), tmp_path)
    content = torch.load(path, weights_only=True)
    del content["phantoms_only"], content["coarsest_pixel_mm"], content["training_scans"]
    del content["shortcuts"], content["temperature"], content["features and textures"]
    content["familiarity"] = {"means": torch.zeros(3, 32)}  # of features alone
    torch.save(content, path)
    kept = load_checkpoint(path)
    assert (kept.phantoms_only, kept.coarsest_pixel_mm) == ("phantoms" in said, None)
    assert (kept.shortcuts, kept.training) == ((), said)
    assert kept.training_scans is None
    assert (kept.temperature, kept.familiarity) == (1.0, None)


def test_temperature_and_familiarity_are_kept(tmp_path):
    count = 32 + TEXTURES
    means, precision = np.ones((3, count), np.float32), np.eye(count, dtype=np.float32)
    given = make(temperature=1.7, familiarity=Familiarity(means, precision, 41.0))
    save_checkpoint(given, tmp_path)
    kept = load_checkpoint(tmp_path)
    assert (kept.temperature, kept.familiarity.threshold) == (1.7, 41.0)
    np.testing.assert_array_equal(kept.familiarity.means, means)
    np.testing.assert_array_equal(kept.familiarity.precision, precision)


def test_saved_weights_are_contiguous(tmp_path):
    model = DARNet(NETWORK).to(memory_format=torch.channels_last_3d)
    save_checkpoint(make(state_dict=model.state_dict()), tmp_path)
    assert all(v.is_contiguous() for v in load_checkpoint(tmp_path).state_dict.values())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("text", b"this is not a checkpoint"),
        ("pickle", pickle.dumps({"schema": 1})),
        ("zip", b"PK\x03\x04 broken"),
        ("truncated", None),
        ("absent", None),
    ],
)
def test_other_files_are_refused(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif name == "truncated":
        whole = save_checkpoint(make(), tmp_path).read_bytes()
        (tmp_path / name).write_bytes(whole[:-1000])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_code_in_a_file_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    torch.save({"schema": 1, "network": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)


def test_reading_does_not_import_the_compiler(tmp_path):
    path = save_checkpoint(make(), tmp_path)
    code = (
        "import pathlib, sys; from darnet_trt.training.checkpoint import load_checkpoint\n"
        f"load_checkpoint(pathlib.Path({str(path)!r})).model()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        {"network": "{}}"},
        {"network": '{"width": 2}'},
        {"preprocessing": '{"window": 3}'},
        {"validation": [1, 2]},
        {"state_dict": {"stem.0.weight": 3}},
        {"state_dict": 7},
        {"schema": 99},
        {"training_scans": 3},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": "warm"},
        {"features and textures": {"means": 3}},
        {
            "features and textures": {
                "means": torch.zeros(3, 16 + TEXTURES),  # of a network of another width
                "precision": torch.eye(16 + TEXTURES),
                "threshold": 1.0,
            }
        },
        {"training_scans": {"salt": "no hex"}},
        {
            "training_scans": {
                "salt": "",
                "patients": torch.tensor([1]),
                "slices": torch.tensor([1, 2]),
                "slices_of_scan": torch.tensor([5]),
            }
        },
    ],
)
def test_damaged_fields(tmp_path, change):
    path = save_checkpoint(make(), tmp_path)
    alter(path, **change)
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)


def test_weights_of_another_network(tmp_path):
    other = DARNet(Network(width=8, input_size=(8, 16, 16)))
    path = save_checkpoint(make(state_dict=other.state_dict()), tmp_path)
    with pytest.raises(CheckpointError, match="expected"):
        load_checkpoint(path)


def test_input_of_another_size(tmp_path):
    path = save_checkpoint(make(preprocessing=Preprocessing(size=(8, 16, 32))), tmp_path)
    with pytest.raises(CheckpointError, match=r"\(8, 16, 16\).*\(8, 16, 32\)"):
        load_checkpoint(path)


# torch passes on what the system says at the first size; at the second it has its own words.
@pytest.mark.parametrize("size", [100_000, 550_000])
def test_full_disk_leaves_nothing(tmp_path, size):
    with files_up_to(size), pytest.raises(OutputError, match="File too large"):
        save_checkpoint(make(), tmp_path)
    assert not list(tmp_path.iterdir())


WEIGHTS = make().state_dict
LONG = torch.zeros(1, dtype=torch.int64).expand(10**11)  # of one number in the file


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": {k: v.double() for k, v in WEIGHTS.items()}},
        {"state_dict": {k: v.half() for k, v in WEIGHTS.items()}},
        {"state_dict": WEIGHTS | {"classifier.weight": torch.zeros(3, 32).to_sparse()}},
        {"state_dict": WEIGHTS | {"stem.0.weight": torch.zeros(1).expand(10**6, 10**6)}},
        {"state_dict": WEIGHTS | {"classifier.bias": torch.zeros(5_000_000)[:3]}},
        {"more": torch.zeros(5_000_000)},
        {"network": NETWORK.model_copy(update={"width": 10**6}).model_dump_json()},
        {
            "training_scans": {
                "salt": "",
                "patients": LONG,
                "slices": LONG,
                "slices_of_scan": torch.tensor([10**11]),
            }
        },
    ],
)
def test_weights_of_another_kind_and_more_than_the_network_needs_are_refused(tmp_path, change):
    path = save_checkpoint(make(), tmp_path)
    alter(path, **change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000, "kB"


def test_a_file_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    path = save_checkpoint(make(), tmp_path)
    with zipfile.ZipFile(path) as whole:
        parts = [(info, whole.read(info)) for info in whole.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for info, content in parts:
            packed.writestr(info.filename, content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)


def test_a_changed_weight_is_noticed(tmp_path):
    path = save_checkpoint(make(), tmp_path)
    content = bytearray(path.read_bytes())
    weight = WEIGHTS["stem.0.weight"].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)
