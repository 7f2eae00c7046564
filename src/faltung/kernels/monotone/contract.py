"""What the monotone kernel computes, in NumPy: smallest sums of a signal and convex taps, the same as an envelope's."""

from faltung.kernels.envelope.contract import envelope

monotone = envelope
