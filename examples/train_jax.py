"""Train the transformer of train_torch.py with grain, flax and optax, and compare it with gzip, FLAC and entropies.

    python examples/train_jax.py shards

On the sample dataset of `make dataset`, two cores make the 200 steps in 214 s, and the loader takes 0.04 % of them. At
the end it prints:

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
    model:scores chunked                     1.890     23.62

It needs flax 0.12 or newer. --resume goes on with a checkpoint, which has the state of grain's iterator in it: the
batches that follow are those that would have followed.
"""

import argparse
import json
import math
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from comparison import save_and_compare
from flax import nnx
from options import positive
from tqdm import tqdm

import audiochunk
from audiochunk.integrations.grain import batches

START, SCALE, WINDOW, EXPERTS = 256, 32.0, 16, 4  # as in byte_model.py, which says why


def norm(x: jax.Array) -> jax.Array:
    return jax.nn.standardize(x, epsilon=1e-5)


def rotate(x: jax.Array) -> jax.Array:
    """Rotary positions: (b, heads, t, d)."""
    half = x.shape[-1] // 2
    angles = jnp.outer(jnp.arange(x.shape[-2]), 1e4 ** -jnp.linspace(0, 1, half))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate((a * jnp.cos(angles) - b * jnp.sin(angles), a * jnp.sin(angles) + b * jnp.cos(angles)), -1)


class Block(nnx.Module):  # type: ignore[misc]  # mypy is told not to look into flax
    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.up = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(3 * width, width, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        q, k, v = self.qkv(norm(x)).reshape(*x.shape[:2], 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        # On a CPU, this takes half the time of jax.nn.dot_product_attention, which has heads after positions.
        likeness = rotate(norm(q)) @ rotate(norm(k)).swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        y = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones_like(likeness, bool)), likeness, -1e9)) @ v
        x = x + self.out(y.transpose(0, 2, 1, 3).reshape(x.shape))
        return x + self.down(jnp.square(jax.nn.relu(self.up(norm(x)))))


class Model(nnx.Module):  # type: ignore[misc]  # mypy is told not to look into flax
    """Predicts each byte of a chunk: a mixture of a table of 256 and of logistics around linear predictions."""

    def __init__(self, *, width: int, depth: int, heads: int, rngs: nnx.Rngs) -> None:
        zeros = nnx.initializers.zeros
        self.embed = nnx.Embed(START + 1, width, embedding_init=nnx.initializers.normal(0.5), rngs=rngs)
        self.amplitudes = nnx.Linear(2 * WINDOW, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(depth)])
        self.table = nnx.Linear(width, 256, kernel_init=zeros, rngs=rngs)
        self.mixture = nnx.Linear(width, 1 + EXPERTS * (3 + WINDOW), kernel_init=zeros, rngs=rngs)
        taps = np.zeros((EXPERTS, WINDOW))
        for order in range(1, EXPERTS + 1):
            taps[order - 1, -order:] = [-math.comb(order, i) * (-1) ** i for i in range(order, 0, -1)]
        bias = np.concatenate((np.zeros(1 + 2 * EXPERTS), 0.7 * np.arange(EXPERTS) - 1, taps.reshape(-1)))
        self.mixture.bias[...] = jnp.asarray(10 * bias, jnp.float32)

    def __call__(self, chunks: jax.Array) -> jax.Array:
        """How many bits each byte costs: (b, t) uint8 -> (b, t)."""
        bytes_ = chunks.astype(jnp.int32)
        padded = jnp.pad(bytes_, ((0, 0), (WINDOW, 0)), constant_values=START)
        past = jnp.stack([padded[:, i : i + chunks.shape[1]] for i in range(WINDOW)], -1)
        numbers = jnp.where(past == START, 0.0, (past - 127.5) / SCALE)
        steps = SCALE / 4 * jnp.diff(numbers, axis=-1, prepend=0.0)
        x = norm(self.embed(past[..., -1]) + self.amplitudes(jnp.concatenate((numbers, steps), -1)))
        for block in self.blocks:
            x = block(x)
        x = norm(x)
        ends = np.cumsum((1 + EXPERTS, EXPERTS, EXPERTS))
        weights, shifts, scales, taps = jnp.split(0.1 * self.mixture(x), ends, -1)
        taps = taps.reshape(*x.shape[:2], EXPERTS, WINDOW)
        centres = 127.5 + SCALE * ((taps * numbers[:, :, None]).sum(-1) + shifts)
        sharpness = jnp.exp(-jnp.clip(scales, -6, 5))
        low, high = (
            jnp.where(bytes_ == end, edge, bytes_ + side) for end, edge, side in ((0, -1e5, -0.5), (255, 1e5, 0.5))
        )
        low, high = ((edge[..., None] - centres) * sharpness for edge in (low, high))
        logistics = jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + jnp.log(-jnp.expm1(low - high))
        table = -optax.softmax_cross_entropy_with_integer_labels(self.table(x), bytes_)
        log_p = jnp.concatenate((table[..., None], logistics), -1) + jax.nn.log_softmax(weights)
        return -jax.nn.logsumexp(log_p, -1) / math.log(2)


@nnx.jit  # type: ignore[untyped-decorator]
def learn(model: Model, optimizer: nnx.Optimizer, chunks: jax.Array) -> jax.Array:
    """One step of training; returns bits per byte."""
    loss, gradient = nnx.value_and_grad(lambda model: model(chunks).mean())(model)
    optimizer.update(model, gradient)
    return loss


@nnx.jit  # type: ignore[untyped-decorator]
def chunk_bits(model: Model, chunks: jax.Array) -> jax.Array:
    return model(chunks).sum(1)


def train(options: argparse.Namespace) -> None:
    rows, val = (audiochunk.open(options.dataset, split) for split in ("train", "val"))
    if options.out.is_dir() or (options.out.exists() and not options.resume):
        sys.exit(f"train_jax: {options.out} is there; --resume goes on with a checkpoint, --out names another file")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    n_val = min(len(val), options.eval_chunks or len(val))
    if not n_val:
        sys.exit("train_jax: there are no chunks in val; build the dataset with a larger share of it")
    model = Model(width=options.width, depth=options.depth, heads=options.heads, rngs=nnx.Rngs(options.seed % 2**32))

    def pace(step: jax.Array) -> jax.Array:
        """Learning rate: up in 20 steps, level, and down to nothing over the last two fifths."""
        left = (options.steps - step) / (0.4 * options.steps)
        return options.lr * jnp.minimum(jnp.minimum(1.0, (step + 1) / 20), left)

    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(pace, b2=0.95, weight_decay=0.01))
    optimizer = nnx.Optimizer(model, rule, wrt=nnx.Param)
    data = batches(rows, options.batch_size, options.seed).repeat()
    source = iter(data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
    first = 0
    if options.resume:
        first = restore(options, rows, model, optimizer, source)
    last = max(first, min(options.steps, options.stop_at or options.steps))

    bar = tqdm(total=options.steps, initial=first, unit="step", disable=None)
    waited, began = 0.0, time.perf_counter()
    for step in range(first, last):
        asked = time.perf_counter()
        batch = next(source).view(np.uint8)
        waited += time.perf_counter() - asked
        loss = learn(model, optimizer, batch)
        bar.update()
        if step % 10 == 0:  # to look at the loss is to wait for it
            bar.set_postfix(train=f"{loss:.3f}")
        if (step + 1) % options.save_every == 0 or step + 1 == last:
            save(options, rows, model, optimizer, source, step + 1)
    bar.close()
    seconds = max(time.perf_counter() - began, 1e-9)
    print(f"{last - first} steps in {seconds:.0f} s, {waited / seconds:.2%} of them for the loader")
    if last < options.steps:
        return
    starts = range(0, n_val, 8)
    parts = [chunk_bits(model, val.gather(range(start, min(start + 8, n_val))).view(np.uint8)) for start in starts]
    scores = np.concatenate(parts).astype(np.float64)
    print(f"\n{save_and_compare(options.dataset, scores, options.out.with_name('scores.npy'))}")


def identity(options: argparse.Namespace, rows: audiochunk.ChunkDataset) -> dict[str, Any]:
    """What a checkpoint is worth nothing without. The state of grain's iterator is only a number."""
    fixed = ("seed", "batch_size", "width", "depth", "heads")
    return {"dataset": f"{rows.selection} of {rows.dataset_id}", **{name: getattr(options, name) for name in fixed}}


def save(
    options: argparse.Namespace,
    rows: audiochunk.ChunkDataset,
    model: Model,
    optimizer: nnx.Optimizer,
    source: Any,
    step: int,
) -> None:
    """Write a checkpoint so that there is always a whole one."""
    leaves = jax.tree.leaves(nnx.state((model, optimizer)))
    where = json.dumps({"of": identity(options, rows), "step": step, "data": source.get_state()})
    with open(temporary := options.out.with_name(options.out.name + ".tmp"), "wb") as file:
        np.savez(file, where, *leaves)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, options.out)


def restore(
    options: argparse.Namespace, rows: audiochunk.ChunkDataset, model: Model, optimizer: nnx.Optimizer, source: Any
) -> int:
    """Put everything where a checkpoint has it; returns how many steps it has made."""
    tree = nnx.state((model, optimizer))
    try:
        with np.load(options.out) as saved:
            where = json.loads(str(saved["arr_0"]))
            leaves = [jnp.asarray(saved[f"arr_{i}"]) for i in range(1, len(saved))]
        found = where["of"]
    except (ValueError, LookupError, TypeError, zipfile.BadZipFile):
        sys.exit(f"train_jax: {options.out}: no checkpoint of train_jax.py")
    for name, value in identity(options, rows).items():
        if found.get(name) != value:
            sys.exit(f"train_jax: {options.out} is of another {name}: {found.get(name)}, not {value}")
    nnx.update((model, optimizer), jax.tree.unflatten(jax.tree.structure(tree), leaves))
    source.set_state(where["data"])
    return int(where["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small transformer on the bytes of a dataset.")
    parser.add_argument("dataset", type=Path, help="folder with splits train and val")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/jax/model.npz"), help="the checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on with the checkpoint")
    parser.add_argument("--stop-at", type=positive, help="stop after this step of --steps, for --resume to go on")
    parser.add_argument("--steps", type=positive, default=200)
    parser.add_argument("--batch-size", type=positive, default=4, help="chunks")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=positive, default=128)
    parser.add_argument("--depth", type=positive, default=2)
    parser.add_argument("--heads", type=positive, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eval-chunks", type=positive, help="score only so many chunks of val, from the first")
    parser.add_argument("--save-every", type=positive, default=50, help="steps between checkpoints")
    options = parser.parse_args()
    if options.width % (2 * options.heads):
        sys.exit(f"train_jax: --width must be a multiple of twice --heads, not {options.width} for {options.heads}")
    try:
        train(options)
    except (audiochunk.AudiochunkError, OSError) as error:
        sys.exit(f"train_jax: {error}")
    except KeyboardInterrupt:
        print(f"train_jax: stopped; --resume goes on with {options.out}, if it is there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
