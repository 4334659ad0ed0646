"""Compress chunks of `val` without loss, with a model that train_torch.py has trained and an arithmetic coder.

    python examples/compress_with_lm.py shards checkpoints/model.pt

With the model of the sample dataset it prints, after 47 s on two cores:

    64 chunks of val, 131,072 bytes
    cross-entropy  27,766 bytes, 1.6947 bits per byte
    compressed     27,772 bytes, 1.6951 bits per byte
    ratio          1.00022
    encoding took 22 s, decoding 25 s
    decoded bytes are equal

A language model is a compressor: a byte of probability p costs -log2 p bits, and an arithmetic coder gets there but for
a few bits a message. Here the whole loop is closed: chunks are encoded, decoded from nothing but the compressed bytes,
and compared. The exit code is 1 if one byte differs or the compressed size is 1 % above the cross-entropy.

The decoder knows only the bytes that it has decoded, so it asks the model for one byte after another. Its probabilities
must equal the encoder's in every bit, and those of a whole chunk at once do not: sums of floats depend on their order.
So the encoder goes byte by byte too, through the same function, with as many chunks side by side. What it writes can
be decoded on the same machine with the same version of torch and as many threads, and need not be elsewhere.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import checkpoint
import constriction
import numpy as np
import numpy.typing as npt
import torch
from byte_model import START, Model
from options import positive
from tqdm import tqdm

import audiochunk

Bytes = npt.NDArray[np.uint8]
Coder = Callable[[int, npt.NDArray[np.float32]], npt.NDArray[np.int32]]

# Rounds probabilities to multiples of 2**-24. To do that in the best of ways takes much longer.
_FAMILY = constriction.stream.model.Categorical(perfect=False)


def load(path: Path, device: torch.device) -> Model:
    """The model of a checkpoint."""
    saved = checkpoint.load(path, device)
    model = Model(**saved["shape"])
    model.load_state_dict(saved["model"])
    model.to(device)
    return model


def go_through(model: Model, n: int, coder: Coder, device: torch.device) -> Bytes:
    """Byte after byte of `n` chunks side by side: (n, bytes of a chunk).

    Args:
        model: in float32, which is exact enough that its bits per byte are those of training.
        n: chunks.
        coder: is given a position and the probabilities there, (n, 256), and says which bytes there are, (n,).
        device: where the model is.
    """
    past = torch.full((n, model.window), START, device=device)
    values = torch.arange(256, device=device).expand(n, 1, 256)
    caches = model.new_caches(n)
    found = np.empty((n, model.length), np.uint8)
    for at in tqdm(range(model.length), unit="byte", leave=False, disable=None):
        with torch.no_grad():
            p = model(past[:, None], values, caches, at)[:, 0].exp()
        found[:, at] = coder(at, p.cpu().numpy())
        past = torch.cat((past[:, 1:], torch.from_numpy(found[:, at].astype(np.int64)).to(device)[:, None]), 1)
    return found


def compress(model: Model, chunks: Bytes, device: torch.device) -> bytes:
    """One message of all chunks; their bytes take turns in it, so that its end is paid for once."""
    encoder = constriction.stream.queue.RangeEncoder()

    def encode(at: int, p: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        symbols = chunks[:, at].astype(np.int32)
        encoder.encode(symbols, _FAMILY, p)
        return symbols

    go_through(model, len(chunks), encode, device)
    message: npt.NDArray[np.uint32] = encoder.get_compressed()
    return message.astype("<u4").tobytes()


def decompress(model: Model, message: bytes, n: int, device: torch.device) -> Bytes:
    """The `n` chunks of a message."""
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(message, "<u4").astype(np.uint32))

    def decode(_: int, p: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        symbols: npt.NDArray[np.int32] = decoder.decode(_FAMILY, p)
        return symbols

    return go_through(model, n, decode, device)


def cross_entropy(model: Model, chunks: Bytes, device: torch.device) -> float:
    """Bits that the model says the chunks cost, each seen at once, as in training."""
    with torch.no_grad():
        costs = [model.bits(torch.from_numpy(chunk[None]).to(device)).double().sum().item() for chunk in chunks]
    return math.fsum(costs)


def run(options: argparse.Namespace) -> None:
    device = checkpoint.device_of(options.device)
    val = audiochunk.open(options.dataset, "val")
    model = load(options.checkpoint, device)
    if model.length != val.encoding.chunk_bytes:
        sys.exit(f"compress_with_lm: the model has chunks of {model.length} bytes, not {val.encoding.chunk_bytes}")
    numbers = range(0, len(val), max(1, len(val) // options.chunks))[: options.chunks]
    if not numbers:
        sys.exit("compress_with_lm: there are no chunks in val")
    chunks = val.gather(numbers).view(np.uint8)

    began = time.perf_counter()
    message = compress(model, chunks, device)
    encoded = time.perf_counter()
    restored = decompress(model, message, len(chunks), device)
    decoded = time.perf_counter()

    expected = cross_entropy(model, chunks, device)
    ratio = 8 * len(message) / expected
    equal = np.array_equal(restored, chunks)
    print(f"{len(chunks)} chunks of val, {chunks.size:,} bytes")
    print(f"cross-entropy  {math.ceil(expected / 8):,} bytes, {expected / chunks.size:.4f} bits per byte")
    print(f"compressed     {len(message):,} bytes, {8 * len(message) / chunks.size:.4f} bits per byte")
    print(f"ratio          {ratio:.5f}")
    print(f"encoding took {encoded - began:.0f} s, decoding {decoded - encoded:.0f} s")
    print("decoded bytes are equal" if equal else "decoded bytes DIFFER")
    if not equal or ratio >= 1.01:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compress chunks of val with a trained model, and decompress them.")
    parser.add_argument("dataset", type=Path, help="folder with a split val")
    parser.add_argument("checkpoint", type=Path, help="of train_torch.py")
    parser.add_argument("--chunks", type=positive, default=64, help="how many chunks of val, evenly spread")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cpu or cuda; what there is by default")
    try:
        run(parser.parse_args())
    except (audiochunk.AudiochunkError, checkpoint.CheckpointError, OSError) as error:
        sys.exit(f"compress_with_lm: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
