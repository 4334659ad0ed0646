"""A small transformer that predicts each byte of a chunk from those before it, for train_torch.py.

It is a decoder of the usual kind (rotary positions, normalised queries and keys, no biases within the blocks) with two
additions for bytes of audio, which are mostly amplitudes: the last bytes are given to it as numbers, too, and beside a
table of 256 values it predicts with logistic distributions. It does not know what else is in a dataset: sample rates,
channels, or how many bytes make a code.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - everybody calls it so
from torch import Tensor, nn

START = 256  # stands before the first byte of a chunk
SCALE = 32.0  # amplitudes are given to the network in units of this many steps


def norm(x: Tensor) -> Tensor:
    # On a CPU, the kernel of layer_norm is three times as fast as that of rms_norm.
    return F.layer_norm(x, x.shape[-1:])


class Block(nn.Module):  # type: ignore[misc]  # mypy is told not to look into torch
    """Causal attention and a feed-forward network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 3 * width, bias=False)
        self.down = nn.Linear(3 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, turns: Tensor, cache: Tensor | None, at: int) -> Tensor:
        """(b, t, width). With a cache, (2, b, heads, length, d), x is the one position `at`, and sees those before."""
        q, k, v = self.qkv(norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(norm(q), turns).to(v.dtype), rotate(norm(k), turns).to(v.dtype)
        if cache is not None:
            cache[:, :, :, at] = torch.stack((k, v))[:, :, :, 0]
            k, v = cache[:, :, :, : at + 1]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(norm(x))).square())


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Rotary positions: turn the two halves of each vector by the angles of its position, (2, t, d / 2)."""
    cos, sin = turns
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Model(nn.Module):  # type: ignore[misc]  # mypy is told not to look into torch
    """Probabilities of every byte of a chunk: a mixture of a table of 256 and of `experts` logistics.

    The centre of each logistic is a linear prediction from the last `window` bytes, whose taps the network chooses
    anew for every byte.

    Args:
        length: bytes of a chunk.
        width: of the vector at each byte; an even multiple of `heads`.
        depth: how many blocks there are.
        heads: of attention, in each block.
        window: how many bytes are seen as numbers.
        experts: how many logistics there are.
    """

    def __init__(self, *, length: int, width: int, depth: int, heads: int, window: int = 16, experts: int = 4) -> None:
        super().__init__()
        self.length, self.window, self.experts = length, window, experts
        self.embed = nn.Embedding(START + 1, width)
        self.amplitudes = nn.Linear(2 * window, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.table = nn.Linear(width, 256)
        self.mixture = nn.Linear(width, 1 + experts * (3 + window))
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.zeros_(self.table.weight)
        nn.init.zeros_(self.mixture.weight)
        with torch.no_grad():  # begins with the fixed predictors of FLAC, orders 1 to 4
            scales, taps = self.mixture.bias.zero_()[1 + 2 * experts :].split((experts, experts * window))
            scales += 7 * torch.arange(experts) - 10
            for expert, row in enumerate(taps.view(experts, window)):
                order = 1 + expert % 4
                row[-order:] = torch.tensor([-10.0 * math.comb(order, i) * (-1) ** i for i in range(order, 0, -1)])
        angles = torch.outer(torch.arange(length), 1e4 ** -torch.linspace(0, 1, width // heads // 2))
        self.register_buffer("turns", torch.stack((angles.cos(), angles.sin())), persistent=False)

    def before(self, chunks: Tensor) -> Tensor:
        """The `window` bytes before each byte: (b, t) uint8 -> (b, t, window) int64."""
        return F.pad(chunks.long(), (self.window, 0), value=START)[:, :-1].unfold(1, self.window, 1)

    def forward(self, past: Tensor, values: Tensor, caches: list[Tensor] | None = None, at: int = 0) -> Tensor:
        """Log-probabilities of `values`, (b, t, n), as the byte that follows `past`, (b, t, window).

        With caches, t is 1: past is of the byte at `at`, and those before have been seen in earlier calls.
        """
        numbers = torch.where(past == START, 0.0, (past - 127.5) / SCALE)
        steps = SCALE / 4 * numbers.diff(dim=-1, prepend=torch.zeros_like(numbers[..., :1]))
        x = norm(self.embed(past[..., -1]) + self.amplitudes(torch.cat((numbers, steps), -1)))
        for i, block in enumerate(self.blocks):
            x = block(x, self.turns[:, at : at + past.shape[1]], caches[i] if caches else None, at)
        # bf16 has eight bits, which are too few for predictions of eight bits.
        with torch.autocast(x.device.type, enabled=False):
            return self.mix(norm(x.float()), numbers, values)

    def mix(self, x: Tensor, numbers: Tensor, values: Tensor) -> Tensor:
        """Of `values`, in float32, from what the blocks made of the past, (b, t, width), and the past as numbers."""
        k = self.experts
        # A tenth: the optimizer's steps are of one size, and taps are more delicate than other weights.
        weights, shifts, scales, taps = (0.1 * self.mixture(x)).split((1 + k, k, k, k * self.window), -1)
        centres = (taps.unflatten(-1, (k, -1)) * numbers[..., None, :]).sum(-1) + shifts
        centres, sharpness = 127.5 + SCALE * centres, torch.exp(-scales.clamp(-6, 5))
        edges = torch.stack(
            (torch.where(values == 0, -1e5, values - 0.5), torch.where(values == 255, 1e5, values + 0.5))
        )
        low, high = (edges[..., None] - centres[..., None, :]) * sharpness[..., None, :]
        # The logistic's mass between low and high, s(high) - s(low), without a difference of nearly equal numbers.
        logistics = F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(low - high))
        table = F.log_softmax(self.table(x), -1).gather(-1, values)
        log_p = torch.cat((table[..., None], logistics), -1) + F.log_softmax(weights, -1)[..., None, :]
        return torch.logsumexp(log_p, -1)

    def bits(self, chunks: Tensor) -> Tensor:
        """How many bits each byte costs: (b, t) uint8 -> (b, t)."""
        return -self(self.before(chunks), chunks.long()[..., None])[..., 0] / math.log(2)

    def new_caches(self, n: int) -> list[Tensor]:
        """For n chunks that are gone through byte after byte: the keys and values of every block."""
        heads = self.blocks[0].heads
        shape = (2, n, heads, self.length, self.embed.embedding_dim // heads)
        return [torch.zeros(shape, device=self.turns.device) for _ in self.blocks]
