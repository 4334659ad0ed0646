"""Train a small transformer on the bytes of a dataset, as LMIC trains its own.

    python examples/lmic/train.py --dataset shards --steps 1000

The loop is that of `train.py` of "Language Modeling Is Compression" (arXiv 2309.10668): batches of 128 chunks of 2048
bytes, drawn at random with replacement, Adam with a learning rate of 1e-4, log-loss. The model is a plain decoder of
the same size: 4 layers, 8 heads, 64 wide. It needs jax and optax, and for whole batches an accelerator: on a CPU, begin
with --batch-size 4. Loss is printed in bits per byte: 8 is chance, and an arithmetic coder that is driven by the model
compresses to loss / 8 of the size.
"""

import argparse
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

import audiochunk
from audiochunk.integrations import lmic

Params = dict[str, Any]


def load(dataset: str, split: str, num_chunks: int) -> npt.NDArray[np.uint8]:
    """The first `num_chunks` chunks as (chunks, bytes), all in memory, as LMIC has them."""
    chunks = list(lmic.get_dataset_iterator(dataset, num_chunks, split=split))
    if not chunks:
        raise SystemExit(f"train: no chunks in split {split} of {dataset}")
    return np.frombuffer(b"".join(chunks), np.uint8).reshape(len(chunks), -1)


def make_params(key: jax.Array, *, length: int, width: int, layers: int) -> Params:
    """Weights of a decoder for sequences of `length` bytes, drawn from a normal distribution."""
    keys = iter(jax.random.split(key, 3 + 4 * layers))

    def normal(*shape: int) -> jax.Array:
        return 0.02 * jax.random.normal(next(keys), shape)

    def layer() -> Params:
        return {
            "qkv": normal(width, 3 * width),
            "out": normal(width, width),
            "up": normal(width, 4 * width),
            "down": normal(4 * width, width),
        }

    return {
        "byte": normal(256, width),
        "position": normal(length, width),
        "layers": [layer() for _ in range(layers)],
        "logits": normal(width, 256),
    }


def attend(qkv: jax.Array) -> jax.Array:
    """Causal attention within one chunk: (t, 3, heads, width of a head) -> (t, heads, width of a head)."""
    return jax.nn.dot_product_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2], is_causal=True)


def apply_layer(layer: dict[str, jax.Array], x: jax.Array, heads: int) -> jax.Array:
    """Causal self-attention, then a feed-forward network, each on normalised input and added to it; (b, t, width)."""
    qkv = (jax.nn.standardize(x) @ layer["qkv"]).reshape(*x.shape[:2], 3, heads, -1)
    # Its weights are quadratic in the length: made for one chunk at a time, and again for the gradient.
    attended = jax.lax.map(jax.checkpoint(attend), qkv)
    x = x + attended.reshape(x.shape) @ layer["out"]
    return x + jax.nn.gelu(jax.nn.standardize(x) @ layer["up"]) @ layer["down"]


def log_loss(params: Params, batch: jax.Array, heads: int) -> jax.Array:
    """Mean of -ln p(byte | bytes before it in its chunk), for (chunks, bytes)."""
    targets = batch.astype(jnp.int32)
    inputs = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)))  # the first byte is predicted from a 0
    x = params["byte"][inputs] + params["position"]
    for layer in params["layers"]:
        x = apply_layer(layer, x, heads)
    logits = jax.nn.standardize(x) @ params["logits"]
    losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return losses.mean()


def main() -> None:
    parser = argparse.ArgumentParser(description="train a transformer on the bytes of a dataset")
    parser.add_argument("--dataset", required=True, help="folder of the dataset")
    parser.add_argument("--split", default="train")
    parser.add_argument("--num-chunks", type=int, default=lmic.NUM_CHUNKS, help="chunks to train on, at most")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--log-every", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--params", help="file for the weights, .npz, in the order of jax.tree.leaves")
    options = parser.parse_args()
    if min(options.batch_size, options.log_every, options.heads, options.layers) < 1 or options.width % options.heads:
        sys.exit("train: --batch-size, --log-every, --layers and --heads are above 0, --width a multiple of --heads")

    try:
        chunks = load(options.dataset, options.split, options.num_chunks)
    except audiochunk.AudiochunkError as error:
        sys.exit(f"train: {error}")
    draw = np.random.default_rng(options.seed % 2**32)
    params = make_params(
        jax.random.key(options.seed % 2**32), length=chunks.shape[1], width=options.width, layers=options.layers
    )
    optimizer = optax.adam(options.learning_rate)
    state = optimizer.init(params)

    def update(params: Params, state: Any, batch: jax.Array) -> tuple[Params, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(log_loss)(params, batch, options.heads)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, loss

    step_once = jax.jit(update, donate_argnums=(0, 1))
    for step in range(options.steps):
        batch = chunks[draw.integers(len(chunks), size=options.batch_size)]
        params, state, loss = step_once(params, state, batch)
        if step % options.log_every == 0 or step == options.steps - 1:
            print(f"step {step}: {float(loss) / math.log(2):.4f} bits per byte", flush=True)
    if options.params:
        np.savez(options.params, *map(np.asarray, jax.tree.leaves(params)))


if __name__ == "__main__":
    main()
