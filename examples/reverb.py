"""A voice in a large hall: three seconds of echo have 48,000 taps, and the planner knows what to do about it."""

import time

import numpy as np

from faltung import convolve, data, plan, tour


def main() -> None:
    voice, rate = data.sound(), data.SOUND_RATE
    hall = tour.echo(rate, seconds=3.0)
    start = time.perf_counter()
    wet = convolve(voice, hall)
    print(f"{voice.size:,} samples, {hall.size:,} taps, {time.perf_counter() - start:.3f} s")
    print(plan(voice, hall))

    whole = np.fft.irfft(np.fft.rfft(voice, 2**18) * np.fft.rfft(hall, 2**18))[: wet.size]
    assert wet.size == voice.size + hall.size - 1
    assert np.abs(wet - whole).max() < 1e-9


if __name__ == "__main__":
    main()
