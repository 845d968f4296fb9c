"""Train the paper's network at full width on small phantoms: the network that int8 is judged on.

    python -m benchmarks.quantization.wide_network --out /tmp/wide

It writes `/tmp/wide/cohort` (480 phantoms), `/tmp/wide/small` (the small preset, trained on half
of them) and `/tmp/wide/run`: the same network with 64 instead of 8 channels in the first stage,
25×81×81 voxels. Training from scratch at that width would take hours on a CPU. So the small network
is widened without changing what it computes (Net2WiderNet: Chen, Goodfellow, Shlens, "Net2Net",
ICLR 2016) and then trained further. `small/split.csv` says which scans were held out. It takes
about a quarter of an hour on two CPU cores with bfloat16.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from darnet_trt.machine.cpus import share_cpus

WIDTH = 64
SCANS = ("--scans", "480", "--matrix", "96", "--slices", "30:60", "--seed", "5")
HELD_OUT = "0.5"
EPOCHS, LEARNING_RATE, BATCH, SEED = 2, 2e-4, 4, 0
SPREAD = 0.5  # random spread of the copies' shares, so that copies learn different things


def widened(narrow, network):
    """Return a wider network that computes the same: channels are copied, weights divided."""
    import torch

    from darnet_trt.training.model import DARNet

    generator = torch.Generator().manual_seed(SEED)
    wide = DARNet(network, fused=True)
    depths = {
        name: module.squeeze.out_features
        for name, module in wide.named_modules()
        if name.endswith("depth_attention") and hasattr(module, "squeeze")
    }
    state = wide.state_dict()
    for name, value in narrow.state_dict().items():
        shape = state[name].shape
        if value.ndim == 0:
            state[name] = value
            continue
        depth = depths.get(name.rsplit(".", 2)[0]) if "depth_attention" in name else None
        view, wanted = list(value.shape), list(shape)
        if depth and ".squeeze.weight" in name:  # (d, c·d): by channel
            view, wanted = [depth, -1, depth], [depth, shape[1] // depth, depth]
        elif depth and ".excite" in name:  # (c·d, …)
            view = [-1, depth, *view[1:]]
            wanted = [shape[0] // depth, depth, *wanted[1:]]
        value = value.reshape(view)
        for axis, length in enumerate(wanted):
            copies = length // value.shape[axis]
            if copies > 1:
                value = value.repeat_interleave(copies, axis)
                reads = axis == 1 and not (depth and ".excite" in name)
                if reads:  # the shares of its copies add up to 1
                    shares = 1 + SPREAD * (2 * torch.rand(value.shape, generator=generator) - 1)
                    grouped = shares.unflatten(1, (-1, copies))
                    shares = (grouped / grouped.sum(2, keepdim=True)).flatten(1, 2)
                    value = value * shares
        state[name] = value.reshape(shape)
    wide.load_state_dict(state)
    return wide


def train_on(model, examples):
    """Train for some more epochs, in bfloat16 where a layer supports it."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    model.to(memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    steps = EPOCHS * (len(examples) // BATCH)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.random.default_rng(SEED)
    started, losses = time.monotonic(), []
    for _ in range(EPOCHS):
        chosen = order.permutation(len(examples))
        for first in range(0, len(examples) - BATCH + 1, BATCH):
            batch = [examples[i] for i in chosen[first : first + BATCH]]
            x = torch.from_numpy(np.stack([e.load() for e in batch]))
            y = torch.tensor([e.label for e in batch])
            with torch.autocast("cpu", torch.bfloat16):
                logits, _ = model(x.contiguous(memory_format=torch.channels_last_3d))
                loss = cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            annealing.step()
            losses.append(loss.item())
            if len(losses) % 10 == 0:
                mean = sum(losses[-10:]) / 10
                spent = time.monotonic() - started
                print(f"{len(losses)} of {steps}: loss {mean:.3f}, {spent:.0f} s", flush=True)


def main() -> None:
    """Make the phantoms, the small network and the wide one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cohort, small = arguments.out / "cohort", arguments.out / "small"
    command = Path(sys.executable).with_name("darnet-trt")
    if not cohort.exists():
        subprocess.run([command, "phantom", cohort, *SCANS], check=True)
    if not (small / "checkpoint.pt").exists():
        words = ["train", cohort, "-o", small, "--held-out", HELD_OUT]
        subprocess.run([command, *words], check=True)
    share_cpus()
    import numpy as np
    import torch

    from darnet_trt.evaluation.metrics import evaluate
    from darnet_trt.scan.cohorts import read_cohort, split_by_patient
    from darnet_trt.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from darnet_trt.training.inputs import prepare
    from darnet_trt.training.outputs import predict_logits

    checkpoint = load_checkpoint(small)
    sides = split_by_patient(read_cohort(cohort), float(HELD_OUT), SEED)
    seen, unseen = (
        prepare(side, checkpoint.preprocessing, small / "inputs")[0]
        for side in (sides.train, sides.held_out)
    )
    narrow = checkpoint.model()
    network = narrow.network.model_copy(update={"width": WIDTH})
    wide = widened(narrow, network)
    some = torch.from_numpy(np.stack([e.load() for e in unseen[:4]]))
    with torch.inference_mode():
        difference = (wide.eval()(some)[0] - narrow.eval()(some)[0]).abs().max()
    print(f"widened: logits differ by {difference:.1e}", flush=True)
    train_on(wide, seen)
    labels = np.array([e.label for e in unseen])
    validation = evaluate(predict_logits(wide, unseen), labels, network.classes)
    print(validation)
    save_checkpoint(
        Checkpoint(
            network=network,
            preprocessing=checkpoint.preprocessing,
            trained_on=checkpoint.trained_on,
            validation=validation,
            state_dict=wide.state_dict(),
            training_scans=checkpoint.training_scans,
        ),
        arguments.out / "run",
    )


if __name__ == "__main__":
    main()
