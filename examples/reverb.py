"""A voice in a large hall, as it is spoken: three seconds of echo have 48,000 taps, and each block is answered at once.

The stream cuts the echo into parts; small ones answer soon, large ones are cheap. What comes out is the convolution of the whole.
"""

import time

import numpy as np

import faltung
from faltung import convolve, data, tour

BLOCK = 256  # 16 ms at 16,000 samples a second


def main() -> None:
    voice, rate = data.sound(), data.SOUND_RATE
    hall = tour.echo(rate, seconds=3.0)
    stream = faltung.stream(hall, block=BLOCK)
    print(f"{stream!r}, {1000 * stream.latency / rate:.1f} ms")

    start = time.perf_counter()
    wet = list(stream.run(voice[at : at + BLOCK] for at in range(0, voice.size, BLOCK)))
    seconds = time.perf_counter() - start
    print(f"{voice.size:,} samples in {len(wet) - 1} blocks: {seconds:.3f} s for {voice.size / rate:.1f} s of sound")

    whole = convolve(voice, hall)
    together = np.concatenate(wet)
    assert together.shape == whole.shape == (voice.size + hall.size - 1,)
    assert np.abs(together - whole).max() <= stream.error * np.abs(voice).max() * np.abs(hall).sum() + 1e-12

    # The hall gives way to a small room: over a tenth of a second one is faded into the other.
    room = tour.echo(rate, seconds=0.4)
    half = voice.size // 2
    first = stream.push(voice[:half])
    change = stream.emitted
    stream.exchange(room, fade=rate // 10)
    moved = np.concatenate([first, stream.push(voice[half:]), stream.flush()])
    small = convolve(voice, room)
    settled = change + rate // 10
    assert np.allclose(moved[:change], whole[:change], atol=1e-9)
    assert np.allclose(moved[settled : small.size], small[settled:], atol=1e-9)

    # With the first block of taps summed directly, every sample is answered by itself.
    at_once = faltung.stream(hall, block=BLOCK, zero_latency=True)
    sample = np.concatenate([at_once.push(voice[p : p + 1]) for p in range(1000)])
    assert np.allclose(sample, whole[:1000], atol=1e-9)


if __name__ == "__main__":
    main()
