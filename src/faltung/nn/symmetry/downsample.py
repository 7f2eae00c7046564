"""Fields on a group sampled on a subgroup after a low-pass that commutes with the group, and brought back."""

import itertools
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.domains.group import Group
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, SHIFT_INVARIANT, ConvLayer, Example, Symmetry
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.symmetry.acting import act
from faltung.nn.symmetry.group_conv import GroupConv
from faltung.nn.symmetry.groups import Fibre, GridGroup, fibre_of, generated, grid_group, still_group
from faltung.nn.symmetry.smoothest import generating, smoothest

FILTERS = ("coset", "lowpass", "half", "optimal", None)


@lru_cache(maxsize=64)
def complement(acting: GridGroup, subgroup: tuple[int, ...]) -> tuple[int, ...] | None:
    """A subgroup K with G = H·K and H ∩ K = {e}, among those of at most two generators; None where there is none.

    Example:
        >>> G = grid_group("d4", 2)
        >>> complement(G, G.subgroup("c4"))  # the neutral element and a mirror
        (0, 4)
        >>> complement(grid_group("c8", 2), (0, 2, 4, 6)) is None
        True
    """
    size, own = acting.order // len(subgroup), set(subgroup)
    others = [g for g in range(acting.order) if g not in own and set(generated(acting.group, (g,))) & own == {0}]
    for count in (0, 1, 2):
        for chosen in itertools.combinations(others, count):
            found = generated(acting.group, chosen)
            if len(found) == size and not (set(found) & own) - {0}:
                return found
    return None


@lru_cache(maxsize=64)
def sampling(
    acting: GridGroup, subgroup: tuple[int, ...], antialias: str | None, steps: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices down (|H|, |G|) and up (|G|, |H|) for one fibre; up·down is the low-pass where there is one.

    Args:
        steps: for "optimal", the elements s along which `(x(g) − x(g·s))²` is rough. Default: a complement's, else generators.

    Raises:
        ArgumentError: no complement for "coset", a group that is no plane one for "lowpass" and "half".
    """
    order, held = acting.order, list(subgroup)
    restrict = np.zeros((len(held), order))
    restrict[np.arange(len(held)), held] = 1
    if antialias is None:
        return restrict, restrict.T.copy()
    table = acting.group.table
    if antialias == "optimal":
        found = complement(acting, subgroup) if steps is None else None
        along = steps or (generating(acting.group) if found is None else found[1:])
        basis = smoothest(acting.group, subgroup, along)
        return basis[held] @ basis.T, basis @ np.linalg.pinv(basis[held])
    if antialias == "coset":
        found = complement(acting, subgroup)
        if found is None:
            raise ArgumentError.of(
                "antialias", f"a subgroup of {acting.name} with a complement", f"one of order {len(held)} without",
                "use 'lowpass' or 'half' for cyclic groups",
            )  # fmt: skip
        up = np.zeros((order, len(held)))
        for n, h in enumerate(held):
            up[table[h, list(found)], n] = 1
        return up.T / len(found), up
    return _lowpass(acting, held, antialias)


def _lowpass(acting: GridGroup, held: list[int], antialias: str) -> tuple[np.ndarray, np.ndarray]:
    """Along the rotations, on both sheets of a dihedral group; the mean with the mirror where the subgroup has none.

    The filter is even, so that it is the same from both sides of a mirror, and commutes with the group.
    """
    mirrors = acting.name == "p6m" or acting.name.startswith("d")
    n = acting.order // 2 if mirrors else acting.order
    r = np.arange(n)
    rotations = [h for h in held if h < n]
    m = len(rotations)
    circle = bool((acting.group.table[:n, :n] == (r[:, None] + r) % n).all())
    if not circle or rotations != [*range(0, n, n // m)] or len(held) not in (m, 2 * m):
        raise ArgumentError.of(
            "antialias", "rotations of the plane, with or without mirrors, for 'lowpass'", acting.name, "use 'coset'"
        )
    k = np.arange(-((m - 1) // 2), (m - 1) // 2 + 1)
    turn = 2 * np.pi / n * (r[:, None] - r)
    low = np.cos(turn[..., None] * k).sum(-1)
    if antialias == "half" and m % 2 == 0 and m < n:
        low += np.cos(turn * (m // 2))  # of the two phases of the real Nyquist the cosine, each at half weight
    low /= n
    if mirrors:
        low = np.kron(np.eye(2), low)
        if len(held) == m:
            mean = np.eye(2 * n)
            mean[np.arange(2 * n), acting.group.table[:, n]] += 1
            low = low @ mean / 2
    return low[held], low[:, held] * (acting.order / len(held))


class _Resampling(ConvLayer):
    """What both layers share: a matrix for every fibre at every place, which is a plain convolution of one tap."""

    dims = (1, 2, 3)
    source = "Rahman and Yeh, Group downsampling with equivariant anti-aliasing (2025)"
    bias = None

    matrix: Tensor

    _up = False

    def __init__(
        self,
        ndim: int,
        fields: int,
        group: str | Group,
        subgroup: Any,
        antialias: str | None = "coset",
        device: Any = None,
        dtype: Any = None,
        steps: Any = None,
    ) -> None:
        super().__init__()
        (count,) = functional.numbers("ndim", ndim, 1, 1)
        (self.fields,) = functional.numbers("fields", fields, 1, 1)
        if antialias not in FILTERS:
            raise ArgumentError.of(
                type(self).__name__, f"antialias among {FILTERS}", repr(antialias), "choose one of these"
            )
        self.acting = still_group(group, count) if isinstance(group, Group) else grid_group(group, count)
        self.held = self.acting.subgroup(subgroup)
        self.sizes = (self.acting.order, len(self.held))
        along = None if steps is None else tuple(int(s) for s in steps)
        if along is not None and (antialias != "optimal" or not along or not set(along) <= set(range(self.sizes[0]))):
            raise ArgumentError.of(
                type(self).__name__, f"steps from 0 to {self.sizes[0] - 1}, at least one, for 'optimal'",
                f"{steps!r} for {antialias!r}", "leave them out, or look at grid_group(...).group.elements",
            )  # fmt: skip
        down, up = sampling(self.acting, self.held, antialias, along)
        wide, narrow = (self.fields * n for n in self.sizes)
        rows, columns = (wide, narrow) if self._up else (narrow, wide)
        self.settle(count, columns, rows, 1, groups=self.fields)
        chosen = np.ascontiguousarray(up if self._up else down)
        made = torch.tensor(chosen).to(device=device, dtype=dtype or torch.get_default_dtype())
        self.register_buffer("matrix", made, persistent=False)

    @property
    def neutral(self) -> Tensor:
        """The matrix: it is of the kind of numbers that the layer takes, and moves with it."""
        return self.matrix

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE, SHIFT_INVARIANT})

    def kernel(self) -> Tensor:
        return self.matrix.repeat(self.fields, 1).reshape(self.weight_shape)

    def definition_kernel(self) -> Tensor:
        return torch.cat([self.matrix] * self.fields).reshape(self.weight_shape)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        flat = input.reshape(input.shape[0] * self.fields, self.matrix.shape[1], math.prod(input.shape[2:]))
        return torch.matmul(self.matrix, flat).reshape(input.shape[0], self.out_channels, *input.shape[2:])

    def definition(self, *inputs: Any) -> Tensor:
        one = (1,) * self.ndim
        return conv_by_taps(
            inputs[0], self.definition_kernel(), None, one, ((0, 0),) * self.ndim, one, self.fields, "zeros"
        )

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        for h in self.held[1:5]:
            if self.acting.integral[h]:
                yield Symmetry(f"element {h} of the subgroup", self._moving(h, not self._up), self._moving(h, self._up))

    def _moving(self, h: int, whole: bool) -> Any:
        """How an element of the subgroup moves a field on the group, or one on the subgroup."""
        order = self.acting.group.table[self.acting.group.inverses[h]]
        values = order if whole else [self.held.index(int(order[g])) for g in self.held]
        index, size = torch.tensor([int(v) for v in values]), self.sizes[0 if whole else 1]

        def moved(x: Tensor) -> Tensor:
            return act(x, self.acting, h).unflatten(1, (self.fields, size))[:, :, index].flatten(1, 2)

        return moved


class GroupDownsample(_Resampling):
    """A field on a group G brought to a subgroup H: a low-pass along the group that commutes with it, then the values on H.

    Formula: `y(h) = (1/|K|) Σ over k in K of x(h·k)` with a complement K of H ("coset": G = H·K, H ∩ K = {e}), an exact sampling
    theorem in closed form. Where there is none (c8 to c4, d8 to c4), "lowpass" keeps the frequencies along the rotations below half
    their number m in H, drops the one at m/2, and takes the mean with the mirror if H has none; "half" keeps m/2 at half weight,
    which is no projection. "optimal" solves an eigenproblem for any pair: of the roughness
    `Σ over g, s of (x(g) − x(g·s))²` it takes the irreducible pieces that values on H tell apart, as many as can be, the smoothest
    of these; P projects on them. With a complement's elements as steps s that is "coset". Elsewhere generators are the steps: for
    cN and dN P is that of "lowpass", or larger (c18 to c6 keeps all 6); subgroups of the cube's groups have theirs, too.
    None restricts without a filter.

    Shapes: input (batch, fields·|G|, *n), returns (batch, fields·|H|, *n), the values of H in the order of the group of that name.

    Args:
        ndim: number of spatial axes, 1 to 3.   fields: at least 1.
        group: as for `GroupConv`, or any finite group of `faltung.domains.group`, which then leaves places alone.
        subgroup: its name, or numbers of elements that generate it; `faltung.nn.symmetry.subgroups` lists all.
        antialias: "coset" (default), "lowpass", "half", "optimal" or None.   steps: numbers of the elements s along which "optimal"
            measures roughness. Default: those of a complement of H where there is one, else generators of G.

    Raises:
        ArgumentError: settings that name no layer, or a filter that this pair has not.

    Error: equivariant to H exactly; to all of G before the values are dropped, for the low-pass commutes with G.
    Cost: |G| for each value; nothing after `folded`, which puts it into the next convolution.
    Source: Rahman and Yeh, Group downsampling with equivariant anti-aliasing (2025), who solve for the filter numerically.

    Example:
        >>> GroupDownsample(2, 3, "d8", "c8")(torch.zeros(1, 48, 5, 5)).shape
        torch.Size([1, 24, 5, 5])
    """

    name = "group-downsample"
    summary = "fields on a group brought to a subgroup after an equivariant low-pass"
    cost = "|G|"

    def canonical(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """The result for inputs that are turned first so that nothing but H is left open, and the elements that turn them back.

        Formula: of the cosets gH the one with the largest `Σ over fields, places and h of x(g·h)²`, g its first element that maps
        the grid to itself; `y = down(g⁻¹·x)`. For an input moved by any element of G the same coset is found, moved: y is moved by
        an element of H, and `restore(f(y), g)` moves as the input did, for every f that commutes with H.

        Shapes: as the layer's, and elements (batch), int64. Of equal sums the first coset counts, which no element need respect.

        Raises:
            ArgumentError: a coset none of whose elements maps the grid to itself.
        """
        self.expect(input, self.in_channels, self.ndim)
        cosets = fibre_of(self.acting.group, frozenset(self.held)).cosets
        firsts = [next((g for g in coset if self.acting.integral[g]), None) for coset in cosets]
        if any(g is None for g in firsts):
            raise ArgumentError.of(
                "GroupDownsample.canonical", "cosets with an element that maps the grid to itself", repr(self.acting),
                "use a group that does, or an antialias filter, which commutes with the group",
            )  # fmt: skip
        whole = input.detach().double().square().unflatten(1, (self.fields, -1)).transpose(1, 2).flatten(2).sum(2)
        sums = torch.stack([whole[:, list(coset)].sum(1) for coset in cosets], 1)
        elements = torch.tensor([g or 0 for g in firsts], device=input.device)[sums.argmax(1)]
        back = torch.from_numpy(self.acting.group.inverses).to(elements)[elements]
        return self(_each_moved(input, self.acting, back, self.acting.fibre("regular"))), elements

    def restore(self, x: Tensor, elements: Tensor, kind: Any = "trivial") -> Tensor:
        """Each sample moved by its element: what was made of a result of `canonical` stands again as the input stood.

        Shapes: x (batch, fields·|F|, *n) for fields of this kind of G ("trivial": channels that stay, "regular", or a subgroup).

        Raises:
            ArgumentError: other numbers of samples or channels, axes of unlike sizes that an element exchanges.
        """
        self.expect(x, None, self.ndim)
        fibre = self.acting.fibre(kind)
        if elements.shape != x.shape[:1] or x.shape[1] % fibre.size:
            raise ArgumentError.of(
                "GroupDownsample.restore", f"an element for each sample and fibres of {fibre.size}",
                f"{tuple(elements.shape)} for {tuple(x.shape)}", "give what canonical returned",
            )  # fmt: skip
        return _each_moved(x, self.acting, elements, fibre)

    def folded(self, conv: GroupConv) -> Conv:
        """The plain convolution that does what this layer and the group convolution after it do.

        Raises:
            ArgumentError: a convolution of other fields, or of several groups of channels.
        """
        if conv.groups != 1 or conv.in_channels != self.out_channels or conv.ndim != self.ndim:
            raise ArgumentError.of(
                "GroupDownsample.folded",
                f"a convolution of {self.out_channels} values in one group",
                repr(conv),
                "leave it",
            )
        kernel = conv.kernel().unflatten(1, (self.fields, self.sizes[1]))
        whole = torch.einsum("ofh...,hg->ofg...", kernel, self.matrix).flatten(1, 2)
        bias = conv.effective_bias()
        made = Conv(
            conv.ndim, self.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, 1,
            bias is not None, conv.padding_mode, device="meta", policy=conv.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(whole.detach().clone())
        made.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        return made.train(conv.training)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2, "group": "d4", "subgroup": "c4"}, ((2, 16, 3, 2),))
        yield Example(
            {"ndim": 2, "fields": 1, "group": "c8", "subgroup": "c4", "antialias": "lowpass"}, ((2, 8, 2, 3),)
        )
        yield Example(
            {"ndim": 2, "fields": 1, "group": "d4", "subgroup": "d2", "antialias": "optimal", "steps": (1, 4)},
            ((2, 8, 2, 3),),
        )


def _each_moved(x: Tensor, acting: GridGroup, elements: Tensor, fibre: Fibre) -> Tensor:
    """Every sample moved by its own element."""
    sizes = x.shape[2:]
    if any(acting.exchanges(a, b) and sizes[a] != sizes[b] for a, b in itertools.combinations(range(len(sizes)), 2)):
        raise ArgumentError.of(
            "GroupDownsample", "axes of one size where the group exchanges them", f"{tuple(sizes)}", "crop or pad"
        )
    moved = torch.empty_like(x)
    for g in elements.unique().tolist():
        rows = (elements == g).nonzero()[:, 0]
        moved = moved.index_copy(0, rows, act(x.index_select(0, rows), acting, int(g), fibre))
    return moved


class GroupUpsample(_Resampling):
    """A field on a subgroup H brought to the group G: the band-limited field with these values on H.

    Formula: `y(h·k) = x(h)` for the complement's elements k ("coset"); by sines and cosines ("lowpass", "half"); the one such
    field in the range of P ("optimal"); zeros elsewhere (None). `GroupDownsample` undoes it, but for what "lowpass", and "optimal"
    where the rank of P is below |H|, drop, and "half" weighs.

    Shapes: input (batch, fields·|H|, *n), returns (batch, fields·|G|, *n).   Args, Raises: as for `GroupDownsample`.

    Source: Rahman and Yeh, Group downsampling with equivariant anti-aliasing (2025).

    Example:
        >>> GroupUpsample(1, 1, "d1", "c1")(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[1., 2.],
                 [1., 2.]]])
    """

    name = "group-upsample"
    summary = "fields on a subgroup continued to the group, band-limited"
    cost = "|H|"
    _up = True

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "fields": 2, "group": "d4", "subgroup": "d2"}, ((2, 8, 3, 2),))
        yield Example({"ndim": 2, "fields": 1, "group": "c6", "subgroup": "c2", "antialias": "half"}, ((2, 2, 2, 3),))
        yield Example(
            {"ndim": 3, "fields": 1, "group": "d4", "subgroup": "c2", "antialias": "optimal"}, ((2, 2, 2, 1, 2),)
        )
