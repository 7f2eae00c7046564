"""State spaces along every axis of images and volumes: S4ND."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from faltung.nn.base import Example, shown
from faltung.nn.sequence.spatial import SpatialLong, axis_parameters
from faltung.nn.sequence.state_space import StateSpaceConv1d
from faltung.planner import Policy


class StateSpaceConv(SpatialLong):
    """A depthwise convolution over the whole of an image or volume: one state space for every axis.

    Formula: `y[p] = Σ_l k₁[l₁]·k₂[l₂]·… x[p − l] + D x[p]`, the filters of `StateSpaceConv1d` for every axis; both directions of an
    axis are summed before the next.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 1.
        direction: of every axis, one word for all or one each. Default bidirectional.
        state, method, init, disc, dt, skip, fixed_dynamics, policy: as for `StateSpaceConv1d`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: a convolution along each axis, one after the other; the outer product of the filters is never made.
    Source: Nguyen, Goel, Gu, Downs, Shah, Dao, Baccus and Ré, S4ND: modeling images and videos as multidimensional signals using
    state spaces (2022).

    Example:
        >>> StateSpaceConv(2, 4, state=16)(torch.zeros(1, 4, 20, 30)).shape
        torch.Size([1, 4, 20, 30])
    """

    name = "state-space-nd"
    summary = "a filter as large as the image, the outer product of state spaces along its axes (S4ND)"
    source = "Nguyen et al., S4ND: modeling images and videos as multidimensional signals using state spaces (2022)"
    cost = "Σ log n, as convolutions of spectra"
    dims = (2, 3)
    portrait = shown("impulses", (1, 1, 24, 24), ndim=2, channels=1, state=16, skip=False, dt=(0.05, 0.2))

    def __init__(
        self,
        ndim: int,
        channels: int,
        state: int = 64,
        method: str = "diag",
        init: str | None = None,
        disc: str | float | None = None,
        dt: tuple[float, float] = (0.001, 0.1),
        direction: str | tuple[str, ...] = "bidirectional",
        skip: bool = True,
        fixed_dynamics: bool = False,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Module.__init__(self)
        factory = {"device": device, "dtype": dtype}
        self.settle(ndim, channels, direction, skip, policy, factory)
        self.axes = nn.ModuleList(
            StateSpaceConv1d(
                channels, state, 1, method, init, disc, dt, word, False, fixed_dynamics, policy, **factory
            )
            for word in self.words
        )  # fmt: skip

    def parameter_count(self) -> int:
        return axis_parameters(self) + (0 if self.skip is None else self.channels)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 2, "state": 4, "disc": "bilinear"}, ((2, 2, 5, 4),))
        words = ("causal", "anticausal", "causal")
        yield Example(
            {"ndim": 3, "channels": 1, "state": 2, "init": "s4d-real", "direction": words, "skip": False}, ((2, 1, 3, 4, 2),)
        )  # fmt: skip
