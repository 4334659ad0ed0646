"""The model of the PyTorch examples: probabilities that sum to one, and come of the past alone."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

import byte_model  # noqa: E402 - there may be no torch
from byte_model import START, Model  # noqa: E402 - likewise


@pytest.fixture
def model() -> Model:
    """A small one whose weights are all random: none is 0, as some are before training."""
    torch.manual_seed(0)
    model = Model(length=24, width=16, depth=2, heads=2, window=4)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return model


@pytest.fixture
def chunks() -> "torch.Tensor":
    chunks = torch.randint(256, (3, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    chunks[0, :4] = torch.tensor([0, 255, 0, 255])
    return chunks


def probabilities(model: Model, chunks: "torch.Tensor") -> "torch.Tensor":
    """Of every value at every byte: (b, t, 256)."""
    with torch.no_grad():
        return model(model.before(chunks), torch.arange(256).expand(*chunks.shape, 256)).exp()


def test_probabilities_of_all_values_sum_to_one(model: Model, chunks: "torch.Tensor") -> None:
    sums = probabilities(model, chunks).double().sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)


def test_bits_are_those_of_the_probability_of_each_byte(model: Model, chunks: "torch.Tensor") -> None:
    p = probabilities(model, chunks)
    expected = [[-math.log2(p[i, t, int(chunks[i, t])]) for t in range(24)] for i in range(3)]
    assert torch.allclose(model.bits(chunks), torch.tensor(expected), atol=1e-4)


@pytest.mark.parametrize("at", [0, 1, 11, 23])
def test_byte_changes_nothing_at_or_before_its_place_and_something_after(
    model: Model, chunks: "torch.Tensor", at: int
) -> None:
    changed = chunks.clone()
    changed[:, at] ^= 0x55
    before, after = probabilities(model, chunks), probabilities(model, changed)
    assert torch.equal(before[:, : at + 1], after[:, : at + 1])
    assert at == 23 or not torch.allclose(before[:, at + 1 :], after[:, at + 1 :], atol=1e-4)


def test_byte_after_byte_gives_what_all_at_once_gives(model: Model, chunks: "torch.Tensor") -> None:
    past, caches = model.before(chunks), model.new_caches(3)
    values = torch.arange(256).expand(3, 1, 256)
    with torch.no_grad():
        steps = [model(past[:, at : at + 1], values, caches, at) for at in range(24)]
    assert torch.allclose(torch.cat(steps, 1).exp(), probabilities(model, chunks), atol=1e-5)


def test_logistic_of_a_value_is_the_difference_of_two_sigmoids() -> None:
    model = Model(length=2, width=8, depth=1, heads=1, window=2, experts=1)
    model.mixture.bias.data = 10 * torch.tensor([-30.0, 0, 1.0, math.log(3), 0, 0])
    values = torch.tensor([[[0, 100, 159, 160, 255]]])
    past = torch.full((1, 1, 2), START)
    found = model(past, values).exp()[0, 0]
    centre, scale = 127.5 + byte_model.SCALE, 3
    below = torch.sigmoid((torch.tensor([0.5, 99.5, 100.5, 158.5, 159.5, 160.5, 254.5]) - centre) / scale)
    expected = [below[0], below[2] - below[1], below[4] - below[3], below[5] - below[4], 1 - below[6]]
    assert torch.allclose(found, torch.stack(expected), rtol=1e-3, atol=1e-7)


def test_before_training_a_steady_slope_is_foreseen() -> None:
    model = Model(length=32, width=16, depth=1, heads=1)
    slope = torch.arange(100, 164, 2, dtype=torch.uint8)[None]
    bits = model.bits(slope)[0]
    assert bits[4:].mean() < 3.5 < 6 < bits[0]
