"""Build a bundle of the paper's network at full size, untrained, with every target.

    python -m benchmarks.cpu.network.full_size --out /tmp/full-size [--calibrated]

It writes `/tmp/full-size/run` and `/tmp/full-size/bundle`, and prints each engine's agreement with
torch, its time on this machine, its size and its build time. The weights are random with a fixed
seed. The batch norms' statistics come from a forward pass over phantoms, so that activations and
logits are spread as in a trained network. Its predictions mean nothing.

With `--calibrated` also `/tmp/full-size/int8`, calibrated on phantoms: a quarter of an hour more.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch
from torch import nn

from darnet_trt.bundle.manifest import MODEL_FILE
from darnet_trt.cli.build import print_summary
from darnet_trt.errors import BuildError
from darnet_trt.export.build import build_bundle
from darnet_trt.export.gates.parity_scans import synthetic_scans
from darnet_trt.export.onnx.writing import load_source
from darnet_trt.export.targets import Candidate, candidates
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import Job
from darnet_trt.export.tensorrt.plugin_choice import PluginMode
from darnet_trt.phantom import synthesize
from darnet_trt.runtime.engines.tensorrt.package import RTX_TARGETS
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.preprocessing import Preprocessing, preprocess
from darnet_trt.training.checkpoint import Checkpoint, save_checkpoint
from darnet_trt.training.model import DARNet, Network

SEED = 2021
PARAMETERS = 35_237_163  # the paper's Table 3 (its columns for DA and for both are swapped)
STATISTICS_SIZE = (64, 96, 96)  # the network fixes the depth; smaller slices suffice
PHANTOMS = (
    "--scans", "150", "--matrix", "256", "--slices", "64:90", "--format", "nifti", "--seed", "11"
)  # fmt: skip
CALIBRATION_SCANS = 87
INT8 = (
    "--precision", "int8", "--seconds", "0", "--force",
    "--accept", "the benchmark: random weights decide nothing",
)  # fmt: skip
NO_FP32 = "sm75"  # it has no FP32 3D convolution


def random_network() -> DARNet:
    """Return a network with seeded weights, batch norm statistics, and logits some units apart."""
    torch.manual_seed(SEED)
    model = DARNet(Network())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = None  # plain average of the passes
    spec = Preprocessing(size=STATISTICS_SIZE)
    phantoms = np.stack([preprocess(spec, synthesize(label, SEED)) for label in PAPER_CLASSES])
    with torch.no_grad():
        model.train()(torch.from_numpy(phantoms))
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and "attention" in name:
                parameter.normal_(0, 0.5)
        model.classifier.weight *= 20
        model.classifier.bias.normal_()
    return model.eval()


def write_run(folder: Path) -> Network:
    """Save the network with random weights as a training run; return its shape."""
    model = random_network()
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == PARAMETERS, parameters
    save_checkpoint(
        Checkpoint(
            network=model.network,
            preprocessing=Preprocessing(),
            trained_on=f"nothing: random weights, seed {SEED}",
            validation={},
            state_dict=model.state_dict(),
        ),
        folder,
    )
    return model.network


def main() -> None:
    """Make the run, build the bundle and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for run and bundle")
    parser.add_argument("--calibrated", action="store_true", help="also a bundle in int8")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--plugin", choices=get_args(PluginMode), default="auto")
    arguments = parser.parse_args()
    run, bundle = arguments.out / "run", arguments.out / "bundle"

    network = write_run(run)
    source = load_source(run)
    started = time.monotonic()
    manifest = build_bundle(
        source,
        bundle,
        (
            *candidates([], "auto"),
            *(Candidate("tensorrt-rtx", "fp16", target) for target in RTX_TARGETS),
            *(
                Candidate("tensorrt-rtx", "fp32", target)
                for target in RTX_TARGETS
                if target != NO_FP32
            ),
        ),
        synthetic_scans(source.checkpoint.preprocessing),
        plugin=arguments.plugin,
        threads=arguments.threads,
        force=True,
        log=lambda line: print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True),
    )
    print(f"\n{PARAMETERS:,} parameters, {network.input_size}, torch {torch.__version__}")
    print_summary(bundle, manifest)
    with TemporaryDirectory() as work:
        try:
            refused, model_file = Path(work) / "refused.plan", bundle / MODEL_FILE
            build_tensorrt(
                Job(backend="tensorrt-rtx", onnx=model_file, plan=refused, target=NO_FP32)
            )
        except BuildError as error:
            print(f"refused, as expected: {error}")
    if arguments.calibrated:
        build_int8(arguments.out)


def build_int8(out: Path) -> None:
    """Build `int8` from `run`, with phantoms as in `cohort`."""
    cohort = out / "cohort"
    darnet_trt("phantom", cohort, *PHANTOMS)
    lines = (cohort / "cohort.csv").read_text().splitlines(keepends=True)
    some = cohort / "some.csv"
    some.write_text("".join(lines[: 1 + CALIBRATION_SCANS]))
    darnet_trt("build", out / "run", "-o", out / "int8", *INT8, "--calibration", some)


def darnet_trt(*words: str | Path) -> None:
    """Run a command of the toolkit."""
    command = [sys.executable, "-m", "darnet_trt", *map(str, words)]
    print(shlex.join(command), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
