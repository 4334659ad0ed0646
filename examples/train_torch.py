"""Train a small transformer on the bytes of a dataset, and compare it with gzip, xz, FLAC and entropies on `val`.

    python examples/train_torch.py shards

Each chunk is coded alone, from its first byte on. On the sample dataset of `make dataset`, two cores of a Xeon with
bf16 (AMX) make the 600 steps in 129 s, without it in four minutes. The figures of gzip and of order 1 are reached
within the first 50 steps, FLAC's within 200; the loader takes 0.14 % of the time. At the end it prints:

    382 chunks of val
                                     bits per byte  % of raw
    entropy-0    bound                       5.322     66.52
    lzma         chunked                     3.951     49.39
    gzip-9       chunked                     3.934     49.18
    gzip-9       chunked-header-once         3.853     48.16
    lzma         chunked-header-once         3.718     46.47
    gzip-9       whole                       3.153     39.42
    entropy-1    bound                       3.092     38.65
    flac-8       chunked                     2.568     32.10
    lzma         whole                       2.538     31.72
    flac-8       whole                       2.256     28.20
    flac-8       chunked-header-once         2.188     27.35
    model:scores chunked                     1.679     20.98

It needs torch 2.9 or newer. --resume goes on with a checkpoint, to the same weights as without the stop.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checkpoint
import numpy as np
import numpy.typing as npt
import torch
from byte_model import Model
from comparison import save_and_compare
from options import positive
from torch import Tensor
from tqdm import tqdm

import audiochunk
from audiochunk.integrations.torch import Loader, loader


def precision(device: torch.device) -> torch.autocast:
    """bf16 where the device computes in it; elsewhere it is emulated, and slow."""
    # torch 2.9 does not say what a CPU can do.
    of_cpu: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    native = device.type == "cuda" or of_cpu.get("amx_bf16", False)
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def score(
    bits: Callable[[Tensor], Tensor], val: audiochunk.ChunkDataset, numbers: range, device: torch.device
) -> npt.NDArray[np.float64]:
    """Bits that each of these chunks costs."""
    scores = []
    for start in range(0, len(numbers), 16):
        chunks = torch.from_numpy(val.gather(numbers[start : start + 16]).view(np.uint8))
        with torch.no_grad(), precision(device):
            scores.append(bits(chunks.to(device)).double().sum(1).cpu().numpy())
    return np.concatenate(scores)


def make_optimizers(model: Model, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else."""
    matrices = list(model.blocks.parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("blocks.")]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def pace(step: int, steps: int) -> float:
    """Share of the learning rate: up in 20 steps, level, and down to nothing over the last two fifths."""
    return min(1.0, (step + 1) / 20, (steps - step) / (0.4 * steps))


def forever(batches: Loader) -> Iterator[Tensor]:
    """Epoch after epoch."""
    while True:
        yield from batches


def train(options: argparse.Namespace) -> None:
    device = checkpoint.device_of(options.device)
    checkpoint.require_room(options.out, resume=options.resume)
    rows, val = (audiochunk.open(options.dataset, split) for split in ("train", "val"))
    n_val = min(len(val), options.eval_chunks or len(val))
    if not n_val:
        sys.exit("train_torch: there are no chunks in val; build the dataset with a larger share of it")
    # Codes of two bytes are taken apart again below: what is modelled is bytes.
    dtype = torch.uint8 if rows.dtype == np.uint8 else torch.uint16
    batches = loader(rows, options.batch_size, options.seed, dtype=dtype, pin_memory=device.type == "cuda")

    torch.manual_seed(options.seed)
    shape = {"width": options.width, "depth": options.depth, "heads": options.heads}
    shape, first = {"length": rows.encoding.chunk_bytes, **shape}, 0
    saved = checkpoint.load(options.out, device) if options.resume else None
    model = Model(**(saved["shape"] if saved else shape)).to(device)
    optimizers = make_optimizers(model, options.lr)
    if saved:
        shape, first = saved["shape"], saved["step"]
        batches.load_state_dict(saved["loader"])
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    bits = torch.compile(model.bits) if device.type == "cuda" else model.bits

    last = max(first, min(options.steps, options.stop_at or options.steps))
    checked = range(0, n_val, -(-n_val // 32))
    source, waited, looked, began = forever(batches), 0.0, 0.0, time.perf_counter()
    bar = tqdm(total=options.steps, initial=first, unit="step", disable=None)
    for step in range(first, last):
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        with precision(device):
            loss = bits(batch.to(device, non_blocking=True).view(torch.uint8)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.lr * pace(step, options.steps)
            optimizer.step()
            optimizer.zero_grad()
        bar.update()
        if step % 10 == 0:  # to look at the loss is to wait for the GPU
            bar.set_postfix(train=f"{loss.item():.3f}")
        if (step + 1) % options.check_every == 0 or step + 1 == last:
            paused = time.perf_counter()
            states = {"model": model.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
            checkpoint.save(options.out, {**states, "loader": batches.state_dict(), "step": step + 1, "shape": shape})
            found = score(bits, val, checked, device).mean() / model.length
            seconds = time.perf_counter() - began
            looked += time.perf_counter() - paused
            bar.write(f"step {step + 1}, {seconds:.0f} s: {found:.3f} bits per byte on {len(checked)} chunks of val")
    bar.close()
    seconds = max(time.perf_counter() - began - looked, 1e-9)
    print(f"{last - first} steps in {seconds:.0f} s, {waited / seconds:.2%} of them for the loader")
    if last < options.steps:
        return
    scores = score(bits, val, range(n_val), device)
    print(f"\n{save_and_compare(options.dataset, scores, options.out.with_name('scores.npy'))}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small transformer on the bytes of a dataset.")
    parser.add_argument("dataset", type=Path, help="folder with splits train and val")
    parser.add_argument(
        "--out", type=Path, default=Path("checkpoints/model.pt"), help="checkpoint, with scores.npy beside"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the checkpoint; its width, depth and heads hold"
    )
    parser.add_argument("--stop-at", type=positive, help="stop after this step of --steps, for --resume to go on")
    parser.add_argument("--steps", type=positive, default=600)
    parser.add_argument("--batch-size", type=positive, default=4, help="chunks")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=positive, default=128)
    parser.add_argument("--depth", type=positive, default=2)
    parser.add_argument("--heads", type=positive, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cpu or cuda; what there is by default")
    parser.add_argument("--eval-chunks", type=positive, help="score only so many chunks of val, from its first")
    parser.add_argument("--check-every", type=positive, default=50, help="steps between checkpoints, and looks at val")
    options = parser.parse_args()
    if options.width % (2 * options.heads):
        sys.exit(f"train_torch: --width must be a multiple of twice --heads, not {options.width} for {options.heads}")
    try:
        train(options)
    except (audiochunk.AudiochunkError, checkpoint.CheckpointError, OSError) as error:
        sys.exit(f"train_torch: {error}")
    except KeyboardInterrupt:
        print(f"train_torch: stopped; --resume goes on with {options.out}, if it is there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
