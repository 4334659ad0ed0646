"""Pieces of sound, some seconds long, that recordings are mixed from: float32 (frames, channels), peak 1.

A piece has no beginning and no end: what would reach beyond its end goes on at its start, so that it can be repeated.
"""

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
# Resonances of the vocal tract in Hz for five vowels.
VOWELS = np.array([(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (300, 870, 2240), (490, 1350, 1690)])


def _add_round(mix: npt.NDArray[np.float64], sound: npt.NDArray[np.float64], *, at: int) -> None:
    """Add `sound` (frames, channels) to `mix` from frame `at` on; what reaches beyond the end goes to the start."""
    first = sound[: len(mix) - at]
    mix[at : at + len(first)] += first
    rest = sound[len(first) :][: len(mix)]
    mix[: len(rest)] += rest


def _normal(mix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return mix / float(np.abs(mix).max())


def notes(rng: np.random.Generator, *, frames: int, channels: int, rate: int) -> npt.NDArray[np.float64]:
    """Struck strings: harmonics that decay, the higher the faster, about five notes a second."""
    mix = np.zeros((frames, channels))
    at = 0.0
    while at < frames:
        pitch, ring_s = 65 * 2 ** (rng.integers(0, 48) / 12), rng.uniform(0.3, 1.2)
        t = np.arange(int(min(2.5 * ring_s, 2) * rate)) / rate
        note = np.zeros(t.size)
        for k in range(1, 13):
            hertz = k * pitch * (1 + 2e-4 * k * k)  # stiff strings are a little sharp
            if hertz < 0.45 * rate:
                note += np.exp(-t * k**0.7 / ring_s) * np.sin(2 * np.pi * (hertz * t + rng.random())) / k
        fade = np.minimum(1, np.arange(t.size)[::-1] / (0.02 * rate))
        _add_round(mix, (note * fade)[:, None] * rng.uniform(0.3, 1, (1, channels)), at=int(at))
        at += rng.uniform(0.1, 0.35) * rate
    return _normal(mix)


def syllables(rng: np.random.Generator, *, frames: int, channels: int, rate: int) -> npt.NDArray[np.float64]:
    """Bursts like those of speech: a gliding voice through the resonances of a vowel, hiss before some, pauses."""
    mix = np.zeros((frames, channels))
    at = 0.0
    while at < frames:
        length = int(rng.uniform(0.09, 0.26) * rate)
        x = np.linspace(0, 1, length)
        phase = np.cumsum(rng.uniform(90, 220) * (1 + rng.uniform(-0.2, 0.2) * x)) / rate
        hertz = phase[-1] * rate / length * np.arange(1, 41)
        tract = sum(1 / (1 + ((hertz - f) / (60 + 0.04 * f)) ** 2) for f in rng.choice(VOWELS))
        voice = np.zeros(length)
        for k in range(1, 41):
            if hertz[k - 1] < 0.42 * rate:
                voice += (tract[k - 1] + 0.01) / k**0.5 * np.sin(2 * np.pi * (k * phase + rng.random()))
        burst = _normal(voice * np.sin(np.pi * x) ** 0.6)
        if rng.random() < 0.4:
            hiss = np.diff(rng.standard_normal(int(rng.uniform(0.02, 0.1) * rate) + 1))
            burst = np.concatenate([0.1 * _normal(hiss * np.hanning(hiss.size)), burst])
        loud = rng.uniform(0.3, 1) * rng.uniform(0.6, 1, (1, channels))
        _add_round(mix, burst[:, None] * loud, at=int(at))
        at += length + rng.uniform(0, 0.06 if rng.random() < 0.85 else 0.4) * rate
    return _normal(mix)


def noise(rng: np.random.Generator, *, frames: int, channels: int, rate: int) -> npt.NDArray[np.float64]:
    """Coloured noise, as of a room: 5 dB less an octave above 30 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal((frames, channels)), axis=0)
    spectrum /= np.maximum(np.fft.rfftfreq(frames, 1 / rate), 30)[:, None] ** 0.83
    return _normal(np.fft.irfft(spectrum, frames, axis=0))


def piece(rng: np.random.Generator, *, kind: str, seconds: float, channels: int, rate: int) -> Sound:
    """A piece of "music" (notes, some voice, a room) or of "speech" (voice, a room)."""
    shape = {"frames": int(seconds * rate), "channels": channels, "rate": rate}
    voice, room = syllables(rng, **shape), noise(rng, **shape)
    mix = voice + 0.02 * room if kind == "speech" else notes(rng, **shape) + 0.25 * voice + 0.02 * room
    return _normal(mix).astype(np.float32)
