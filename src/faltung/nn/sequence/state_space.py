"""State-space layers: a recurrence, a convolution over the whole signal and a differential equation in one, LSSL, S4 and S4D."""

from collections.abc import Iterable
from typing import Any

from faltung.errors import ArgumentError
from faltung.nn.base import Example, shown
from faltung.nn.sequence.dense import DenseStateSpace
from faltung.nn.sequence.diagonal import DiagonalStateSpace
from faltung.nn.sequence.low_rank import LowRankStateSpace
from faltung.nn.sequence.sequence import LOCAL, FilterConstructor, SequenceConv, heads_of
from faltung.planner import Policy

METHODS = ("diag", "dplr", "krylov", "dense")


def state_space(
    channels: int,
    state: int = 64,
    heads: int = 1,
    init: str | None = None,
    method: str = "diag",
    disc: str | float | None = None,
    dt: tuple[float, float] = (0.001, 0.1),
    fixed_dynamics: bool = False,
    device: Any = None,
    dtype: Any = None,
) -> FilterConstructor:
    """The constructor of state-space filters that a method names.

    Args:
        method: diag (`DiagonalStateSpace`), dplr (`LowRankStateSpace`), krylov or dense (`DenseStateSpace`). Default diag.
        others: those of the constructor; None for its default. dplr is bilinear.

    Raises:
        ArgumentError: settings that name no constructor.
    """
    if method not in METHODS:
        raise ArgumentError.of("method", f"one of {', '.join(METHODS)}", repr(method), "choose one of these")
    settings: dict[str, Any] = {"dt": dt, "fixed_dynamics": fixed_dynamics, "device": device, "dtype": dtype}
    if init is not None:
        settings["init"] = init
    if method == "dplr":
        if disc not in (None, "bilinear", 0.5):
            raise ArgumentError.of("disc", "bilinear for dplr", repr(disc), "leave it out, or take another method")
        return LowRankStateSpace(channels, state, heads, **settings)
    if disc is not None:
        settings["disc"] = disc
    if method == "diag":
        return DiagonalStateSpace(channels, state, heads, **settings)
    return DenseStateSpace(channels, state, heads, method=method, **settings)


class StateSpaceConv1d(SequenceConv):
    """A linear state-space layer: x' = A x + B u, y = C x + D u for every channel.

    Formula: `y[t] = Σ_l k[l] u[t − l] + D u[t]` with `k[l] = C Ā^l B̄` of the constructor that `method` names. The same numbers come
    from `step`, sample by sample, and from `chunk`, piece by piece, with a state that is carried along.

    Shapes: input (batch, channels, T), returns (batch, channels · heads, T).

    Args:
        channels: at least 1.   heads: results of each channel. Default 1.
        state: numbers that the state of a channel has. Default 64.
        method, init, disc, dt, fixed_dynamics: see `state_space` and the constructors.
        direction, skip, policy: see `SequenceConv`.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) for a result channel and the filters: O(channels · state · T) for diag. A step: O(channels · state) for diag,
    O(channels · state²) for all others.
    Source: Gu, Johnson, Goel, Saab, Dao, Rudra and Ré, Combining recurrent, convolutional, and continuous-time models with linear
    state-space layers (2021), and those of the constructors.

    Example:
        >>> layer = StateSpaceConv1d(4, state=16)
        >>> x = torch.randn(1, 4, 100)
        >>> y, state = layer.step(x[..., 0], layer.initial_state(1))
        >>> torch.allclose(y, layer(x)[..., 0], atol=1e-5)
        True
    """

    name = "state-space"
    summary = (
        "a differential equation for every channel: a filter over all of the past, or a recurrence (LSSL, S4, S4D)"
    )
    source = "Gu et al., Combining recurrent, convolutional, and continuous-time models with linear state-space layers (2021)"
    cost = "log T, as a convolution of spectra; state by steps"
    portrait = shown("rows", (1, 4, 96), channels=4, state=16, skip=False, dt=(0.02, 0.2))

    def __init__(
        self,
        channels: int,
        state: int = 64,
        heads: int = 1,
        method: str = "diag",
        init: str | None = None,
        disc: str | float | None = None,
        dt: tuple[float, float] = (0.001, 0.1),
        direction: str = "causal",
        skip: bool = True,
        fixed_dynamics: bool = False,
        policy: Policy | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        made = state_space(
            channels, state, heads_of(heads, direction), init, method, disc, dt, fixed_dynamics, device, dtype
        )
        super().__init__(made, direction, skip, None, policy)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "state": 6, "heads": 2}, ((2, 2, 20),))
        yield Example({"channels": 2, "state": 3, "init": "s4d-real", "policy": LOCAL}, ((2, 2, 17),))
        yield Example({"channels": 2, "state": 4, "method": "dplr", "skip": False}, ((2, 2, 12),))
        yield Example(
            {"channels": 2, "state": 4, "method": "dense", "init": "fourier", "fixed_dynamics": True}, ((2, 2, 9),)
        )
        yield Example({"channels": 2, "state": 4, "method": "dplr", "init": "legt", "heads": 2}, ((1, 2, 11),))
        yield Example({"channels": 2, "state": 3, "method": "krylov", "disc": "zoh"}, ((1, 2, 13),))
        yield Example(
            {"channels": 2, "state": 3, "method": "dense", "init": "legt", "direction": "bidirectional"}, ((1, 2, 10),)
        )
