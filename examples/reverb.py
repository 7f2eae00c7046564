"""A voice in a large hall, as it is spoken: three seconds of echo have 48,000 taps, and each block is answered at once.

The stream cuts the echo into parts; small ones answer soon, large ones are cheap. What comes out is the convolution of the whole.
The hall is made, as the rooms are: noise that dies away, no measurement of a place.
"""

import time

import numpy as np

import faltung
from faltung import convolve, data, tour

BLOCK = 256  # 16 ms at 16,000 samples a second
WAYS = {
    "`uniform`": {"partitions": "uniform"},
    "`growing`": {"partitions": "growing"},
    "`growing`, `zero_latency=True`": {"partitions": "growing", "zero_latency": True},
    "`auto`": {},
}


def main() -> None:
    voice, rate = data.sound(), data.SOUND_RATE
    hall = tour.echo(rate, seconds=3.0)
    whole = convolve(voice, hall)
    print("| partitions | answers after, ms | parts | off the whole | bound | processor time, ms a second of sound |")
    print("|---|---|---|---|---|---|")
    for name, options in WAYS.items():
        list(faltung.stream(hall, block=BLOCK, **options).run([voice]))  # what is compiled first is no part of the cost
        stream = faltung.stream(hall, block=BLOCK, **options)
        start = time.process_time()
        wet = np.concatenate(list(stream.run(voice[at : at + BLOCK] for at in range(0, voice.size, BLOCK))))
        spent = time.process_time() - start
        assert wet.shape == whole.shape == (voice.size + hall.size - 1,)
        off, scale = np.abs(wet - whole).max(), np.abs(voice).max() * np.abs(hall).sum()
        assert off <= stream.error * scale + 1e-12
        late, cost = 1000 * stream.latency / rate, 1000 * spent / (voice.size / rate)
        print(f"| {name} | {late:.1f} | {len(stream.parts)} | {off / scale:.0e} | {stream.error:.0e} | {cost:.1f} |")

    # The hall gives way to a small room: over a tenth of a second one is faded into the other.
    room = tour.echo(rate, seconds=0.4)
    half = voice.size // 2
    stream = faltung.stream(hall, block=BLOCK)
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
