"""Make a small tree of sample recordings: speech-like voices, plucked strings and drums, 20 MB.

    python examples/make_wavs.py wavs

All is synthesised here, so nobody else has rights in it. Each folder is a speaker, an instrument
or a kit. Sounds are float64 arrays (frames, channels), at any level until they are mastered to
full scale at -1 and 1; times are in seconds, pitches and rates in Hz.

Every run with the same NumPy and libsndfile writes the same bytes. Others, on other machines,
should too: the random bits are raw PCG64 output seeded with the recording's name, a stream that
NumPy promises to keep, and samples come from single +, -, *, / and square roots of IEEE doubles,
each of which has one right answer. Library sines, exponentials, FFTs and matrix products are not
used, as their last bit depends on the processor. The WAV headers are libsndfile's.
"""

import io
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soundfile as sf

Sound = npt.NDArray[np.float64]
T = TypeVar("T")

MARKER = ".made-by-make-wavs"  # tells a later run that it may write into the folder again

# Resonances of the vocal tract, Hz, of a low voice saying: father, bed, see, blue, bird.
VOWELS = (
    (730, 1090, 2440, 3400),
    (530, 1840, 2480, 3500),
    (270, 2290, 3010, 3600),
    (300, 870, 2240, 3300),
    (490, 1350, 1690, 3200),
)
# Seconds, loudness beside a vowel's 1, and resonances in Hz: s, sh, t, k, none.
CONSONANTS = (
    (0.11, 0.15, (4300, 5300, 6300, 7300)),
    (0.10, 0.25, (2400, 3600, 5000, 6800)),
    (0.03, 0.30, (3600, 4800, 6000, 7200)),
    (0.03, 0.40, (1700, 2500, 4500, 6500)),
    (0.0, 0.0, ()),
)
SCALE = (1, 9 / 8, 5 / 4, 3 / 2, 5 / 3, 2, 9 / 4, 5 / 2, 3, 10 / 3, 4)  # pentatonic
LOWEST = {"guitar": 82.4, "bass": 41.2, "harp": 130.8, "banjo": 146.8}  # Hz
# Partials in Hz, cycles that a falling pitch adds, seconds of ringing; loudness of the noise,
# seconds of it, and how often it is differenced, which takes away its lows.
DRUMS = {
    "kick": ((50,), 5.0, 0.12, 0.2, 0.004, 0),
    "snare": ((185, 331), 0.0, 0.05, 0.4, 0.07, 1),
    "hat": ((5400, 7310, 9870), 0.0, 0.03, 0.4, 0.03, 2),
    "click": ((1900, 2750), 0.0, 0.003, 0.1, 0.001, 1),
}
# How hard each sixteenth of a bar is struck, 0 to 9.
BAR = {"kick": "9000006090060000", "snare": "0000900400009003", "hat": "9040904090409044"}


class Dice:
    """Random numbers that follow from a name, and from nothing else."""

    def __init__(self, name: str) -> None:
        self._bits = np.random.PCG64(list(name.encode()))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) / 2**53)

    def one_of(self, things: Sequence[T]) -> T:
        return things[int(self.between(0, len(things)))]

    def pan(self, channels: int) -> Sound:
        """How loud a source is in each channel, (1, channels)."""
        return np.array([[self.between(0.35, 1) for _ in range(channels)]])

    def noise(self, frames: int, channels: int = 1) -> Sound:
        """White noise of rms 1, (frames, channels), with a triangular distribution."""
        halves = np.asarray(self._bits.random_raw(frames * channels)).view(np.int32) / 2**31
        # A sum of halves does not ask which of them comes first in memory.
        return (halves[0::2] + halves[1::2]).reshape(frames, channels) * math.sqrt(1.5)


@dataclass(frozen=True)
class Take:
    """A recording to be made. Its scene gives what is heard, (frames, channels)."""

    group: str  # its folder, with /
    title: str  # its name there, without .wav
    rate: int
    channels: int
    bits: int
    frames: int
    scene: "Callable[[Dice, Take], Sound]"


def sine(cycles: Sound) -> Sound:
    """sin(2 pi cycles) to five digits, from the Taylor series of a quarter of a wave."""
    cycles = cycles - np.rint(cycles)
    angle = np.minimum(abs(cycles), 0.5 - abs(cycles)) * (2 * math.pi)
    square = angle * angle
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72)))
    return np.copysign(angle * series, cycles)


def decay(frames: int, *, seconds: float, rate: int) -> Sound:
    """1 falling to 1/e in `seconds`, and on, (frames, 1)."""
    return np.cumprod(np.full((frames, 1), 1 - 1 / (seconds * rate)), axis=0)


def add(mix: Sound, sound: Sound, *, at: int) -> None:
    """Add `sound` to `mix` from frame `at` on; what reaches beyond the end is lost."""
    part = mix[at : at + len(sound)]
    part += sound[: len(part)]


def syllables(dice: Dice, *, seconds: float, pitch: float) -> Iterator[tuple[float, ...]]:
    """The puffs of air of an utterance: pulses of the glottis and, in consonants, bits of hiss.

    Yields:
        (start in s, length in s, loudness, voiced 1 or hissed 0, four resonances in Hz)
    """
    size = 0.93 + pitch / 900  # a higher voice comes from a shorter vocal tract
    vowel, accent, now = VOWELS[0], 1.0, dice.between(0.1, 0.3)
    while now < seconds - 0.6:
        hiss_s, hiss, colour = dice.one_of(CONSONANTS)
        for piece in range(round(hiss_s / 0.005)):
            yield now + 0.005 * piece, 0.005, hiss, 0, *colour
        now += hiss_s
        start, length = now, dice.between(0.11, 0.3)
        last_vowel, vowel = vowel, dice.one_of(VOWELS)
        last_accent, accent = accent, dice.between(0.85, 1.25) - 0.15 * now / seconds
        while (done := (now - start) / length) < 1:
            glide = min(1.0, 2 * done)
            tract = [size * (a + (b - a) * glide) for a, b in zip(last_vowel, vowel, strict=True)]
            tract[0] *= min(1.0, 0.6 + 2 * done)  # the jaw opens
            melody = last_accent + (accent - last_accent) * done
            period = 1 / (pitch * melody * dice.between(0.99, 1.01))
            yield now, period, min(accent, 6 * done + 0.1, 4 * (1 - done)), 1, *tract
            now += period
        now += dice.between(0.25, 0.8) if dice.between(0, 1) < 0.18 else dice.between(0, 0.06)


def resonate(air: Sound, tracts: Sound, *, rate: int) -> Sound:
    """Send each column of `air` (frames, puffs) through its row of `tracts` (puffs, resonances)."""
    radius = 1 / (1 + math.pi * (50 + 0.03 * tracts) / rate)  # bandwidths of 60 Hz and more
    near, far = 2 * radius * sine(tracts / rate + 0.25), -radius * radius
    out = air.copy()
    for one, two in zip(near.T, far.T, strict=True):
        out[1] += one * out[0]
        for frame in range(2, len(out)):
            out[frame] += one * out[frame - 1] + two * out[frame - 2]
    return out


def utterance(dice: Dice, take: Take) -> Sound:
    """Syllables and pauses.

    Resonators are linear: each puff may ring by itself, side by side with the others, and their
    sum is the voice. So the recursion takes 30 ms of steps, each over an array of all puffs.
    """
    pitch = Dice(take.group).between(90, 220)
    puffs = np.array(list(syllables(dice, seconds=take.frames / take.rate, pitch=pitch)))
    start, length, loudness, voiced = puffs[:, :4].T
    first = np.floor(start * take.rate)
    frame = np.arange(take.rate * 3 // 100)[:, None]
    phase = (frame + first - start * take.rate) / (length * take.rate)
    flow = phase / 0.6  # the glottis is open for 60 % of a period
    pulse = flow * (2 - 3 * flow) * ((flow > 0) & (flow < 1))
    hiss = dice.noise(len(frame), len(puffs)) * ((phase >= 0) & (phase < 1))
    rings = resonate(np.where(voiced, pulse + 0.02 * hiss, hiss), puffs[:, 4:], rate=take.rate)
    rings *= loudness / np.max(abs(rings), axis=0)
    mix = np.zeros((take.frames, 1))
    for at, ring in zip(first, rings.T, strict=True):
        add(mix, ring[:, None], at=int(at))
    return mix * dice.pan(take.channels)


def pluck(dice: Dice, *, pitch: float, frames: int, rate: int) -> Sound:
    """A string after Karplus and Strong, (frames, 1): a burst that goes round and gets smoother."""
    period = round(rate / pitch)
    burst = dice.noise(period)[:, 0]
    for _ in range(4 + period // 25):
        burst = (burst + np.roll(burst, 1)) / 2
    # A string plucked off its middle moves up here and down there: no mean is left.
    burst = burst - np.roll(burst, int(period * dice.between(0.1, 0.4)))
    blur = 0.5 * min(1.0, 120 / pitch)  # high strings go round more often, and would die at once
    loss = 1 - 1 / (dice.between(0.8, 1.6) * pitch)
    string = np.zeros(1 + (frames // period + 1) * period)
    string[1 : 1 + period] = burst / np.max(abs(burst))
    for now in range(1 + period, len(string), period):
        last = now - period
        turn = string[last:now] * (1 - blur) + string[last - 1 : now - 1] * blur
        string[now : now + period] = turn * loss
    return string[1 : 1 + frames, None]


def phrase(dice: Dice, take: Take) -> Sound:
    """A walk over the scale with a chord now and then; a single note or chord if it is short."""
    mix = np.zeros((take.frames, take.channels))
    beat, degree, now = dice.between(0.22, 0.32), dice.one_of(range(len(SCALE))), 0.05
    while True:
        for voice in range(dice.one_of((1, 1, 1, 3))):
            pitch = LOWEST[Path(take.group).name] * SCALE[(degree + 2 * voice) % len(SCALE)]
            string = pluck(dice, pitch=pitch, frames=2 * take.rate, rate=take.rate)
            add(mix, string * dice.pan(take.channels), at=int((now + 0.02 * voice) * take.rate))
        degree = min(max(degree + dice.one_of((-2, -1, 1, 2)), 0), len(SCALE) - 1)
        now += beat * dice.one_of((1, 1, 2, 3))
        if now > take.frames / take.rate - 1.5:
            return mix


def strike(dice: Dice, take: Take, *, drum: str, frames: int) -> Sound:
    """One stroke on a drum of the table, (frames, 1): its partials and its noise, both decaying."""
    partials, fall, tone_s, hiss, hiss_s, order = DRUMS[drum]
    tuning = Dice(take.group).between(0.8, 1.3)
    time = np.arange(frames)[:, None] / take.rate
    bend = fall * (1 - decay(frames, seconds=0.03, rate=take.rate))
    tone = np.zeros((frames, 1))
    for pitch in partials:
        tone += sine(tuning * (pitch * time + bend)) / len(partials)
    noise = hiss * np.diff(dice.noise(frames + order), n=order, axis=0)
    tone *= decay(frames, seconds=tone_s, rate=take.rate)
    return tone + noise * decay(frames, seconds=hiss_s, rate=take.rate)


def drumming(dice: Dice, take: Take) -> Sound:
    """Bars of kick, snare and hat, or one stroke on the drum in the title."""
    bars = BAR if take.title == "groove" else {take.title.split("-")[0]: "9000000000000000"}
    step = 15 / dice.between(84, 132) * take.rate
    mix = np.zeros((take.frames, take.channels))
    for drum, bar in bars.items():
        place = dice.pan(take.channels)
        for count in range(math.ceil(take.frames / step)):
            if force := int(bar[count % 16]) * dice.between(0.7, 1):
                swing = dice.between(0, 0.2) * (count % 2)
                sound = strike(dice, take, drum=drum, frames=take.rate // 2)
                add(mix, sound * force * place, at=int((count + swing) * step))
    return mix


def hum(dice: Dice, *, frames: int, channels: int) -> Sound:
    """The noise of a room, (frames, channels), rms about 1: white noise and as much of its lows."""
    width = int(dice.between(16, 128))
    white = dice.noise(frames + width, channels)
    total = np.cumsum(white, axis=0)
    lows = (total[width:] - total[:-width]) / math.sqrt(width)
    return (white[width:] + lows) / math.sqrt(2)


def master(dice: Dice, take: Take, dry: Sound) -> npt.NDArray[np.int32]:
    """Add echoes, set the level, add noise, quantize: (frames, channels), codes in the top bits.

    Peaks come out at -12 to -3 dBFS, the noise at -70 to -60 dBFS.
    """
    wet = dry.copy()
    for one in (slice(channel, channel + 1) for channel in range(take.channels)):
        for gain in (0.3, 0.2, 0.12):
            add(wet[:, one], gain * dry[:, one], at=int(dice.between(0.002, 0.05) * take.rate))
    left = np.arange(take.frames, 0, -1)[:, None] / take.rate
    wet *= np.minimum(1, left / 0.05)  # what still rings at the end is faded out
    wet *= dice.between(0.26, 0.68) / np.max(abs(wet))
    wet += hum(dice, frames=take.frames, channels=take.channels) * dice.between(0.00033, 0.0009)
    top = 1 << (take.bits - 1)
    codes = np.clip(np.rint(wet * top), -top, top - 1).astype(np.int32)
    return codes << (32 - take.bits)


def takes() -> Iterator[Take]:
    """Every recording of the tree. All 12 combinations of rate, channels and bits occur."""
    speech = [(f"utterance-{n:03}", s, utterance) for n, s in enumerate((3, 5, 8, 12), 1)]
    strings = [("phrase", 6, phrase), *((f"note-{n:02}", 1, phrase) for n in range(1, 4))]
    kit = [("groove", 6, drumming), *((drum, 0.3, drumming) for drum in BAR)]
    clicks = [(f"click-{n}", 0.03, drumming) for n in range(1, 4)]
    groups = (
        ("speech/speaker-01", 16_000, 1, 16, speech),
        ("speech/speaker-02", 16_000, 1, 16, speech),
        ("speech/speaker-03", 16_000, 1, 16, speech),
        ("speech/speaker-04", 16_000, 1, 24, speech),
        ("speech/speaker-05", 16_000, 2, 16, speech),
        ("speech/speaker-06", 16_000, 2, 24, speech),
        ("strings/bass", 44_100, 1, 16, strings),
        ("strings/guitar", 44_100, 2, 16, strings),
        ("strings/banjo", 44_100, 1, 24, strings),
        ("strings/harp", 48_000, 2, 24, strings),
        ("drums/kit-01", 48_000, 2, 16, kit),
        ("drums/kit-02", 44_100, 2, 24, kit),
        ("drums/kit-03", 48_000, 1, 24, kit),
        ("drums/block", 48_000, 1, 16, clicks),
    )
    for group, rate, channels, bits, titles in groups:
        for title, seconds, scene in titles:
            frames = int(seconds * Dice(f"{group}/{title}").between(0.65, 1.4) * rate)
            yield Take(group, title, rate, channels, bits, frames, scene)


def claim(folder: Path) -> None:
    """Make `folder`, or check that it is empty or a former run's."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / MARKER).exists():
        raise FileExistsError(f"{folder} has other files in it; name a new or an empty folder")
    (folder / MARKER).touch()


def write(folder: Path, take: Take) -> int:
    """Make the recording and write it below `folder`; return its size in bytes."""
    dice = Dice(f"{take.group}/{take.title}")
    codes = master(dice, take, take.scene(dice, take))
    wav = io.BytesIO()
    sf.write(wav, codes, take.rate, format="WAV", subtype=f"PCM_{take.bits}")
    path = folder / take.group / f"{take.title}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(wav.getbuffer())


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python make_wavs.py FOLDER")
    folder = Path(sys.argv[1])
    try:
        claim(folder)
        sizes = {take: write(folder, take) for take in takes()}
    except OSError as error:
        sys.exit(f"make_wavs: {error}")
    minutes, seconds = divmod(round(sum(take.frames / take.rate for take in sizes)), 60)
    size = f"{sum(sizes.values()) / 1e6:.1f} MB, {minutes} min {seconds} s"
    print(f"wrote {len(sizes)} recordings, {size}, to {folder}")


if __name__ == "__main__":
    main()
