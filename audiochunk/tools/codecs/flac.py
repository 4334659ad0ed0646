"""FLAC through libsndfile: real channels, the right bit depth, the recording's rate.

FLAC knows 1 to 8 channels. A sound of more goes in as one channel, the samples of every frame one after the other.
Codes of 12 bits are the top bits of 16: FLAC finds out that the low ones are always zero (RFC 9639, 9.2.2).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from audiochunk.tools.codecs.codec import Codec, Measured, Stopwatch, scratch
from audiochunk.tools.codecs.sound import Frames, Sound, as_bytes, container_bits, require_same

_MAX_CHANNELS = 8
_MAX_RATE = 655_350  # Hz, RFC 9639, 9.1.2: what the header of a frame can say in tens of Hz
_ALL_RATES = 65_535  # Hz, up to which it can say them all
_READ_FRAMES = 2**16
_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}


@dataclass(frozen=True)
class FlacCodec(Codec):
    """FLAC as libsndfile writes it: an empty comment and no padding.

    Attributes:
        level: 0 to 8, as the command `flac` has them.
    """

    level: int

    def version(self) -> str:
        """libsndfile's, which has libFLAC in it or uses the system's."""
        import soundfile

        return f"libsndfile {soundfile.__libsndfile_version__}"

    def measure(self, sounds: Sequence[Sound]) -> list[Measured]:
        """Encode, decode and compare the frames of sounds."""
        return [self._measure(sound) for sound in sounds]

    def _measure(self, sound: Sound) -> Measured:
        encoding, decoding = Stopwatch(), Stopwatch()
        with scratch(sound.n_bytes) as file:
            self._encode(sound, file, encoding)
            size = file.seek(0, 2)
            file.seek(0)
            back = (as_bytes(frames) for frames in _decode(sound, file, decoding))
            require_same((as_bytes(frames) for frames in sound.frames()), back, codec=self.name)
        return Measured(size, encoding.seconds, decoding.seconds)

    def _encode(self, sound: Sound, file: IO[bytes], watch: Stopwatch) -> None:
        import soundfile

        with watch:
            flac = soundfile.SoundFile(
                file,
                "w",
                samplerate=flac_rate(sound.sample_rate),
                channels=flac_channels(sound.channels),
                format="FLAC",
                subtype=_SUBTYPES[container_bits(sound.bits)],
                compression_level=self.level / 8,  # flac_command() in libsndfile's flac.c multiplies by 8
            )
        try:
            for frames in sound.frames():
                # Left-justified, because libsndfile takes the top bits of int32.
                samples = (frames << (32 - sound.bits)).reshape(-1, flac.channels)
                with watch:
                    flac.write(samples)
        finally:
            with watch:
                flac.close()


def _decode(sound: Sound, file: IO[bytes], watch: Stopwatch) -> Iterator[Frames]:
    import soundfile

    with watch:
        flac = soundfile.SoundFile(file)
    with flac:
        while True:
            with watch:
                samples: Frames = flac.read(_READ_FRAMES, dtype="int32")
            if not len(samples):
                return
            yield samples >> (32 - sound.bits)


def flac_channels(channels: int) -> int:
    """Channels that FLAC is given of a sound that has so many."""
    return channels if channels <= _MAX_CHANNELS else 1


def flac_rate(sample_rate: int) -> int:
    """The nearest rate in Hz, not above, that a FLAC stream can have; the size does not depend on it.

    >>> flac_rate(44_100), flac_rate(75_264), flac_rate(1_000_000)
    (44100, 75260, 655350)
    """
    return sample_rate if sample_rate <= _ALL_RATES else min(sample_rate, _MAX_RATE) // 10 * 10
