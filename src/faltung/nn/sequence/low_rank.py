"""Normal matrices plus one of low rank: S4, whose filters are found in the frequency domain by sums of fractions."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.sequence.dense import Matrices
from faltung.nn.sequence.diagonal import drawn_steps, put_dynamics
from faltung.nn.sequence.hippo import correction, matrices, normal_pairs

INITS = ("legs", "legt", "lagt", "fourier")
LEAST_DECAY = 1e-4
AT_ONCE = 1 << 22  # fractions, or sums of them, that are held at a time


class LowRankStateSpace(Matrices):
    """Filters of x' = A x + B u, y = C x with A = Λ − P P*, Λ diagonal: S4.

    Formula: `k[l] = C Ā^l B̄`, discretised by the bilinear transform. At the frequencies ω of the length L the spectrum is
    `C̃ (I − ωĀ)⁻¹ B̄`, `C̃ = C (I − Ā^L)`: sums over n of fractions with the denominators 1 − ω − (1 + ω)·dt/2·Λ_n, joined by
    Woodbury's identity. They are finite at ω = −1 as well. C̃ is computed from C for the length that is asked for, so parameters
    belong to no length. All in double precision.

    Shapes: log_dt (channels); log_decay, frequency (state/2); real and imaginary parts of P (rank, state/2), B (state/2) and
    C (channels, heads, state/2): halves of conjugate pairs. All channels share A and B.

    Args:
        channels, heads: at least 1.   state: an even number. Default 64.
        init: legs (rank 1), legt (2), lagt (1) or fourier (1), see `matrices`. Default legs. Where the normal part has
            no decay, 10⁻⁴ stands for it.
        dt, fixed_dynamics, device, dtype: as for `DenseStateSpace`.

    Raises:
        ArgumentError: settings that name no constructor.

    Cost: for each channel O(state · length + state³ log length); memory a few times the filters, fractions in blocks of a fixed
    size.
    Source: Gu, Goel and Ré, Efficiently modeling long sequences with structured state spaces (2022).

    Example:
        >>> LowRankStateSpace(4, state=16).filters(100).shape
        torch.Size([4, 1, 100])
    """

    source = "Gu, Goel and Ré, Efficiently modeling long sequences with structured state spaces (2022)"
    disc = "bilinear"
    learning_rates: ClassVar[dict[str, float]] = dict.fromkeys(
        ("log_dt", "log_decay", "frequency", "P_re", "P_im", "B_re", "B_im"), 1e-3
    )

    def __init__(
        self,
        channels: int,
        state: int = 64,
        heads: int = 1,
        init: str = "legs",
        dt: tuple[float, float] = (0.001, 0.1),
        fixed_dynamics: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.settle(channels, heads)
        (self.state,) = functional.numbers("state", state, 1, 1)
        if init not in INITS:
            raise ArgumentError.of(
                "init", f"one of {', '.join(INITS)}", repr(init), "choose one of these, or method dense"
            )
        self.init, self.fixed_dynamics = init, fixed_dynamics
        factory = {"device": device, "dtype": dtype}
        values, turn = normal_pairs(init, self.state)
        P, B = (turn @ v.to(turn.dtype) for v in (correction(init, self.state).T, matrices(init, self.state)[1]))
        put_dynamics(self, "log_dt", drawn_steps(dt, self.channels), factory)
        put_dynamics(self, "log_decay", (-values.real).clamp_min(LEAST_DECAY).log(), factory)
        put_dynamics(self, "frequency", values.imag, factory)
        for name, vector in (("P", P.mT), ("B", B)):
            put_dynamics(self, f"{name}_re", vector.real, factory)
            put_dynamics(self, f"{name}_im", vector.imag, factory)
        shape = (self.channels, self.heads, self.state // 2)
        self.C_re = nn.Parameter(torch.randn(shape, **factory) * 0.5**0.5)
        self.C_im = nn.Parameter(torch.randn(shape, **factory) * 0.5**0.5)

    def parameter_count(self) -> int:
        dynamics = 0 if self.fixed_dynamics else self.channels + self.state * (2 + len(self.P_re))
        return dynamics + self.channels * self.heads * self.state

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """In the coordinates √2·(real part, imaginary part) of one of each pair."""
        decay, turn = -self.log_decay.double().exp(), self.frequency.double()
        A = torch.cat([torch.cat([decay.diag(), -turn.diag()], 1), torch.cat([turn.diag(), decay.diag()], 1)])
        P, B = (2**0.5 * torch.cat([a, b], -1).double() for a, b in ((self.P_re, self.P_im), (self.B_re, self.B_im)))
        return A - P.T @ P, B, 2**0.5 * torch.cat([self.C_re, -self.C_im], -1).double()

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        step, _, C = self.fixed(rate)
        left = C - C @ torch.linalg.matrix_power(step, length)
        half = self.state // 2
        C_re, C_im = left[..., :half] / 2**0.5, -left[..., half:] / 2**0.5
        P, channels = (self.P_re.double(), self.P_im.double()), self.channels
        lefts = [torch.cat([c, p.expand(channels, *p.shape)], 1)[:, :, None] for c, p in ((C_re, P[0]), (C_im, -P[1]))]
        rights = [torch.cat([b.double()[None], p])[None, None] for b, p in ((self.B_re, P[0]), (self.B_im, P[1]))]
        re, im = lefts[0] * rights[0] - lefts[1] * rights[1], lefts[0] * rights[1] + lefts[1] * rights[0]
        decay, turn = -self.log_decay.double().exp(), self.frequency.double()
        rows = 2 * torch.cat([re.flatten(1, 2), (re * decay + im * turn).flatten(1, 2)], 1)  # of v and of v · conj Λ
        dt = self.log_dt.double().exp()[:, None] * rate
        angles = torch.arange(length // 2 + 1, dtype=torch.float64, device=dt.device) * (math.pi / length)
        wide = max(
            half, 2 * rows.shape[1]
        )  # numbers a frequency: the fractions, or the real and imaginary parts of their sums
        parts = angles.split(max(1, AT_ONCE // (channels * wide)))
        if len(parts) > 1 and torch.is_grad_enabled():
            spectra = [checkpoint(self._spectrum, a, rows, decay, turn, dt, use_reentrant=False) for a in parts]
        else:
            spectra = [self._spectrum(a, rows, decay, turn, dt) for a in parts]
        return torch.fft.irfft(torch.cat(spectra, -1), length).to(self.C_re.dtype)

    def _spectrum(self, angle: Tensor, rows: Tensor, decay: Tensor, turn: Tensor, dt: Tensor) -> Tensor:
        """The filters' spectrum (channels, heads, frequencies) at ω = exp(−2i·angle); rows (channels, 2·lefts·rights, state/2).

        Numerator and denominator of every fraction lose the common factor exp(−i·angle): 1 − ω becomes 2i·sin, 1 + ω becomes 2·cos.
        """
        sine, cosine = torch.sin(angle), dt * torch.cos(angle)  # the latter (channels, frequencies)
        re = cosine[:, None] ** 2 * (decay**2 + turn**2)[:, None] - 4 * sine**2
        im = -4 * sine * cosine[:, None] * decay[:, None]
        size = re**2 + im**2
        sums = torch.complex(rows @ (re / size), rows @ (-im / size))
        of_v, of_turned = sums.unflatten(1, (2, self.heads + len(self.P_re), -1)).unbind(1)
        sums = 2j * sine * of_v - cosine[:, None, None] * of_turned
        direct, low = sums[:, : self.heads, 0], sums[:, : self.heads, 1:]
        back, around = sums[:, self.heads :, 0], sums[:, self.heads :, 1:]
        c = cosine[:, None, None]
        eye = torch.eye(len(self.P_re), dtype=sums.dtype, device=sums.device)[..., None]
        solved = torch.linalg.solve((eye + c * around).permute(0, 3, 1, 2), back.permute(0, 2, 1)[..., None])
        joined = torch.einsum("cmrf,cfr->cmf", c * low, solved[..., 0])
        return dt[:, None] * torch.polar(torch.ones_like(angle), angle) * (direct - joined)
