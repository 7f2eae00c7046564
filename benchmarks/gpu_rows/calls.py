"""What is compared: operands, our calls, torch's. Nothing here measures."""

from collections.abc import Callable
from typing import Any

Calls = dict[str, Callable[[], Any]]


def gated(x, k, a, b, dtype: str) -> Callable:
    """Ours: one filter a channel between two gates, causal; half precision where the arrays are."""
    from faltung import Policy
    from faltung.nn.functional import gated_conv

    policy = None if dtype == "float32" else Policy(tolerance=0.1)
    return lambda: gated_conv(x, k, a, b, policy=policy)


def composed(x, k, a, b) -> Callable:
    """torch.fft in float32, gates as products."""
    import torch

    n = x.shape[-1]

    def call():
        signal = (x if a is None else x * a).float()
        y = torch.fft.irfft(torch.fft.rfft(signal, 2 * n) * torch.fft.rfft(k.float(), 2 * n), 2 * n)[..., :n].to(
            x.dtype
        )
        return y if b is None else y * b

    return call


def direct(x, k, a, b) -> Callable:
    """cuDNN's depthwise convolution, padded on the left."""
    import torch

    n, t = x.shape[-1], k.shape[-1]

    def call():
        signal = x if a is None else x * a
        y = torch.nn.functional.conv1d(signal, k.flip(-1)[:, None], padding=t - 1, groups=k.shape[0])[..., :n]
        return y if b is None else y * b

    return call


def trained(call: Callable, operands) -> Callable:
    """The call and the derivatives of all its operands, under a cotangent that is the result itself."""
    import torch

    operands = [a.requires_grad_() for a in operands if a is not None]

    def both():
        y = call()
        return torch.autograd.grad(y, operands, y.detach())

    return both


def sequences(batch: int, channels: int, n: int, dtype: str, device: str) -> list:
    """Signal, filter and two gates; a filter as long as the signal that fades, as trained ones do."""
    import torch

    kind = getattr(torch, dtype)
    generator = torch.Generator(device).manual_seed(n)

    def random(*shape):
        return torch.randn(shape, generator=generator, device=device)

    fade = torch.exp(-8.0 * torch.arange(n, device=device) / n) / n**0.5
    return [
        random(batch, channels, n).to(kind), (random(channels, n) * fade).to(kind),
        random(batch, channels, n).to(kind), random(batch, channels, n).to(kind),
    ]  # fmt: skip


def planes(dtype: str, size: int, shape: tuple[int, int, int], device: str) -> dict[str, Calls]:
    """For results and both gradients of a depthwise layer, and results of filters of each sample's own: calls by whom.

    `faltung` is our kernel, `auto` what the planner chooses without being told.
    """
    import torch

    import faltung
    from faltung import torch_gate

    B, C, side = shape
    generator = torch.Generator().manual_seed(size)
    kind = getattr(torch, dtype)
    x = torch.randn(B, C, side, side, generator=generator).to(device, kind)
    k = torch.randn(C, size, size, generator=generator).to(device, kind) / size
    y = torch.randn(x.shape, generator=generator).to(device, kind)
    half = size // 2
    problem = faltung.Problem.parse(
        f'correlate "b c *s, c *s -> b c *s" x={B}x{C}x{side}x{side}:{dtype} k={C}x{size}x{size}:{dtype} out={dtype} '
        f"pad={half}:{half},{half}:{half} host=torch device={x.device}"
    )
    only = "only=triton-bands tolerance=0.01"
    back = torch.ops.aten.convolution_backward
    rest = (None, [1, 1], [half, half], [1, 1], False, [0, 0], C)
    texts = {unknown: problem.gradient(unknown).text for unknown in ("out", "x", "k")}
    own = torch.randn(B, C, size, size, generator=generator).to(device, kind) / size
    each = problem.text.replace("c *s ->", "b c *s ->").replace(f"k={C}x", f"k={B}x{C}x")
    texts["each"] = faltung.Problem.parse(each).text

    def ours(text: str, **operands: Any) -> Calls:
        return {
            "faltung": lambda: torch_gate.solve(texts[text], only, **operands),
            "auto": lambda: torch_gate.solve(texts[text], "", **operands),
        }

    return {
        "result": {
            **ours("out", x=x, k=k),
            "torch": lambda: torch.conv2d(x, k[:, None], padding=half, groups=C),
        },
        "signal's gradient": {
            **ours("x", k=k, y=y),
            "torch": lambda: back(y, x, k[:, None], *rest, [True, False, False])[0],
        },
        "filter's gradient": {
            **ours("k", x=x, y=y),
            "torch": lambda: back(y, x, k[:, None], *rest, [False, True, False])[1][:, 0],
        },
        "result, a filter for each sample": {
            **ours("each", x=x, k=own),
            "torch": lambda: torch.conv2d(
                x.reshape(1, B * C, side, side), own.reshape(B * C, 1, size, size), padding=half, groups=B * C
            ).reshape(x.shape),
        },
    }


def short(batch: int, n: int, channels: int, last: bool, device: str, dtype: str = "float16", taps: int = 5):
    """A few taps a channel along a sequence, channels first or last in memory: (calls, operands)."""
    import torch

    from faltung.nn import functional

    generator = torch.Generator(device).manual_seed(n)
    kind, sizes = getattr(torch, dtype), (batch, n, channels) if last else (batch, channels, n)
    x = torch.randn(sizes, generator=generator, device=device).to(kind)
    x = x.transpose(1, 2) if last else x
    k = (torch.randn(channels, 1, taps, generator=generator, device=device) / taps).to(kind)
    return {
        "faltung": lambda: functional.conv(x, k, padding=taps // 2, groups=channels),
        "torch": lambda: torch.nn.functional.conv1d(x, k, padding=taps // 2, groups=channels),
    }, [x, k]


def ordered(algebra: str, size: int, shape: tuple[int, int, int], device: str):
    """Depthwise windows over max-plus or log, and the same from patches in torch: (calls, operands)."""
    import torch

    import faltung

    B, C, side = shape
    generator = torch.Generator(device).manual_seed(size)
    x = torch.randn(B, C, side, side, generator=generator, device=device)
    k = torch.randn(C, size, size, generator=generator, device=device)
    half = size // 2
    pads = ((half, half), (half, half))

    def patches():
        wide = torch.nn.functional.pad(x, (half,) * 4, value=-torch.inf)
        terms = wide.unfold(2, size, 1).unfold(3, size, 1) + k[:, None, None]
        return terms.amax((-2, -1)) if algebra == "max-plus" else terms.logsumexp((-2, -1))

    pattern = "b c *s, c *s -> b c *s"
    return {"faltung": lambda: faltung.correlate(x, k, pattern, mode=pads, over=algebra), "torch": patches}, [x, k]


def gathered(B: int, Q: int, C: int, R: int, J: int, device: str):
    """Weighted sums of rows named by number, and torch's gather with a product: (calls, operands)."""
    import torch

    from faltung.nn.functional.gather import gather

    generator = torch.Generator(device).manual_seed(Q)
    x = torch.randn(B, Q, C, generator=generator, device=device)
    w = torch.randn(B, R, J, generator=generator, device=device)
    index = torch.randint(0, Q, (B, R, J), generator=generator, device=device)
    at = index.reshape(B, R * J, 1).expand(-1, -1, C)

    def ours():
        return gather(x, w, None, index, Q)

    def theirs():
        return torch.einsum("brjc,brj->brc", x.gather(1, at).reshape(B, R, J, C), w)

    return {"faltung": ours, "torch": theirs}, [x, w]
