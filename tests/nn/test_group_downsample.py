"""Sampling on subgroups: projections that commute with the group, perfect reconstruction, cyclic groups against the FFT."""

import itertools

import numpy as np
import pytest
import torch

from faltung import nn
from faltung.domains.group import cyclic, dihedral, symmetric
from faltung.domains.group import group as finite_group
from faltung.errors import ArgumentError
from faltung.nn.symmetry import act, complement, grid_group, subgroups
from faltung.nn.symmetry.downsample import sampling
from faltung.nn.symmetry.group_fourier import real_irreps
from faltung.nn.symmetry.groups import generated
from faltung.nn.symmetry.smoothest import pieces, roughness, smoothest

PAIRS = [
    ("d4", "c4", 2), ("d6", "c6", 2), ("d8", "d4", 2), ("d4", "d2", 2), ("o", "c4", 3), ("oh", "o", 3), ("c6", "c2", 2),
    ("o", "d4", 3), ("oh", "d4", 3), ("oh", "c4", 3),
]  # fmt: skip


def left(acting, g):
    """The matrix of x(h) ↦ x(g⁻¹h)."""
    found = np.zeros((acting.order, acting.order))
    found[acting.group.table[g], np.arange(acting.order)] = 1
    return found


@pytest.mark.parametrize(("group", "held", "ndim"), PAIRS)
def test_coset_means_are_a_sampling_theorem(group, held, ndim):
    """P² = P, P commutes with all left translations, down∘up = 1 on the subgroup, up∘down = 1 on P's range."""
    acting = grid_group(group, ndim)
    subgroup = acting.subgroup(held)
    down, up = sampling(acting, subgroup, "coset")
    project = up @ down
    assert abs(project @ project - project).max() < 1e-15
    assert abs(down @ up - np.eye(len(subgroup))).max() < 1e-15
    for g in range(acting.order):
        assert abs(project @ left(acting, g) - left(acting, g) @ project).max() < 1e-12
    rank = np.linalg.matrix_rank(project)
    assert rank == len(subgroup)


def test_dihedral_to_cyclic_is_the_mean_with_the_mirror():
    x = torch.randn(1, 12, 2, 2, dtype=torch.float64)
    y = nn.GroupDownsample2d(1, "d6", "c6", dtype=torch.float64)(x)
    r = torch.arange(6)
    acting = grid_group("d6", 2)
    mirrored = torch.from_numpy(acting.group.table[r.numpy(), 6].astype(np.int64))  # r·s
    assert torch.allclose(y, (x[:, r] + x[:, mirrored]) / 2, atol=1e-15)


def test_ideal_low_passes_of_cyclic_groups():
    eight, nine = grid_group("c8", 2), grid_group("c9", 2)
    down, up = sampling(eight, eight.subgroup("c4"), "lowpass")
    assert np.linalg.matrix_rank(up @ down) == 3
    half = sampling(eight, eight.subgroup("c4"), "half")
    low = half[1] @ half[0]
    assert abs(low @ low - low).max() > 1e-2
    assert np.linalg.matrix_rank(low) == 4
    down, up = sampling(nine, nine.subgroup("c3"), "lowpass")
    project = up @ down
    assert abs(project @ project - project).max() < 1e-14
    assert np.linalg.matrix_rank(project) == 3
    assert abs(down @ up - np.eye(3)).max() < 1e-14
    with pytest.raises(ArgumentError, match="complement"):
        sampling(eight, eight.subgroup("c4"), "coset")


@pytest.mark.parametrize(("n", "m"), [(9, 3), (12, 3), (8, 4), (15, 5)])
def test_cyclic_lowpass_is_that_of_the_fft(n, m):
    acting = grid_group(f"c{n}", 2)
    down, _ = sampling(acting, acting.subgroup(f"c{m}"), "lowpass")
    x = np.random.default_rng(0).normal(size=n)
    spectrum = np.fft.fft(x)
    spectrum[np.abs(np.fft.fftfreq(n, 1 / n)) >= m / 2] = 0
    assert abs(down @ x - np.fft.ifft(spectrum).real[:: n // m]).max() < 1e-14


def test_without_a_filter_the_low_pass_is_missing():
    """The same check that coset means pass finds that plain restriction is no sampling theorem of the whole group."""
    acting = grid_group("d4", 2)
    down, up = sampling(acting, acting.subgroup("c4"), None)
    project = up @ down
    gaps = [abs(project @ left(acting, g) - left(acting, g) @ project).max() for g in range(8)]
    assert max(gaps) == 1


def test_folding_into_the_next_convolution():
    down, conv = nn.GroupDownsample2d(2, "d4", "c4"), nn.GroupConv2d(2, 3, 3, "c4", padding=1)
    x = torch.randn(2, 16, 6, 5)
    folded = down.folded(conv)
    assert folded.in_channels == 16
    assert torch.allclose(folded(x), conv(down(x)), atol=1e-5)
    with pytest.raises(ArgumentError):
        down.folded(nn.GroupConv2d(1, 3, 3, "c4"))


def test_a_complement_meets_its_subgroup_in_the_neutral_element_alone():
    for group, held, ndim in PAIRS:
        acting = grid_group(group, ndim)
        subgroup = acting.subgroup(held)
        found = complement(acting, subgroup)
        products = {int(acting.group.table[h, k]) for h in subgroup for k in found}
        assert len(products) == acting.order == len(subgroup) * len(found)


def test_wrong_settings_are_refused():
    for wrong in (("d4", "c4", "best"), ("d8", "c4", "coset"), ("c8", "c3", "coset"), ("c4", "d4", "coset")):
        with pytest.raises(ArgumentError):
            nn.GroupDownsample2d(1, *wrong)
    with pytest.raises(ArgumentError):
        nn.GroupDownsample3d(1, "o", "c4", "lowpass")


@pytest.mark.parametrize(
    ("group", "held", "ndim"), [("d8", "c4", 2), ("d9", "d3", 2), ("d9", "c3", 2), ("d4", "c2", 3), ("c8", "c4", 2)]
)
def test_lowpass_commutes_with_dihedral_groups(group, held, ndim):
    """Where there is no complement: a projection that commutes, of rank |H| where the rotations are odd in number."""
    acting = grid_group(group, ndim)
    subgroup = acting.subgroup(held)
    down, up = sampling(acting, subgroup, "lowpass")
    project, rotations = up @ down, int(held[1:])
    assert abs(project @ project - project).max() < 1e-14
    for g in range(acting.order):
        assert abs(project @ left(acting, g) - left(acting, g) @ project).max() < 1e-12
    sheets = len(subgroup) // rotations
    assert np.linalg.matrix_rank(project) == sheets * (rotations if rotations % 2 else rotations - 1)
    assert abs(down @ up @ down - down).max() < 1e-14


ALONE = [("c8", "c4", 2), ("c9", "c3", 2), ("d8", "c4", 2), ("d9", "d3", 2), ("d9", "c3", 2), ("d4", "c2", 3)]
"""Pairs without a complement: "lowpass" is their closed form."""
NEITHER = [("c18", "c6", 2), ("oh", "c2", 3), ("o", "c2", 3), ("o", (5, 19), 3), ("d24", "c12", 2), ("c24", "c12", 2)]


def optimum(group, held, ndim, steps=None):
    acting = grid_group(group, ndim)
    subgroup = acting.subgroup(held)
    return (acting, subgroup, *sampling(acting, subgroup, "optimal", steps))


@pytest.mark.parametrize(("group", "held", "ndim"), [*PAIRS, *ALONE, *NEITHER])
def test_the_optimum_is_a_projection_that_commutes(group, held, ndim):
    """P² = P = Pᵀ, P commutes with G; up∘down = 1 on its range; down∘up = 1 at rank |H|, else a projection; H moves both."""
    acting, subgroup, down, up = optimum(group, held, ndim)
    project, count = up @ down, len(subgroup)
    assert abs(project @ project - project).max() < 1e-12
    assert abs(project - project.T).max() < 1e-12
    for g in range(acting.order):
        assert abs(project @ left(acting, g) - left(acting, g) @ project).max() < 1e-12
    assert abs(up @ (down @ project) - project).max() < 1e-12
    kept = down @ up
    assert abs(kept @ kept - kept).max() < 1e-12
    assert (np.linalg.matrix_rank(project) == count) == (abs(kept - np.eye(count)).max() < 1e-12)
    for h in subgroup:
        own = np.array([[acting.group.table[h, b] == a for b in subgroup] for a in subgroup], dtype=float)
        assert abs(down @ left(acting, h) - own @ down).max() < 1e-12
        assert abs(left(acting, h) @ up - up @ own).max() < 1e-12


@pytest.mark.parametrize(("pairs", "closed"), [(PAIRS, "coset"), (ALONE, "lowpass")])
def test_the_optimum_is_the_closed_form_where_there_is_one(pairs, closed):
    for pair in pairs:
        acting, subgroup, down, up = optimum(*pair)
        wanted = sampling(acting, subgroup, closed)
        assert abs(up @ down - wanted[1] @ wanted[0]).max() < 1e-12, pair
        if np.linalg.matrix_rank(up) == len(subgroup):  # else "lowpass" leaves open where its result has no values
            assert abs(down - wanted[0]).max() < 1e-12, pair
            assert abs(up - wanted[1]).max() < 1e-12, pair


@pytest.mark.parametrize(("group", "held"), [("c12", "c3"), ("c15", "c5"), ("c6", "c3"), ("d9", "d3"), ("d15", "d5")])
def test_along_rotations_the_optimum_is_the_low_pass(group, held):
    """Also where cosets would do: what is smooth depends on the steps."""
    acting = grid_group(group, 2)
    steps = (1,) if group[0] == "c" else (1, acting.order // 2)
    _, subgroup, down, up = optimum(group, held, 2, steps)
    wanted = sampling(acting, subgroup, "lowpass")
    assert abs(up @ down - wanted[1] @ wanted[0]).max() < 1e-12


@pytest.mark.parametrize(
    ("group", "held", "ndim", "steps"),
    [
        ("c8", "c4", 2, (1,)), ("d4", "d2", 2, (1, 4)), ("d6", "c2", 2, (1, 6)), ("o", (5, 19), 3, (1, 2)),
        # Here one smooth piece after the other, each that still fits, ends rougher, and in the last two smaller.
        ("d6", (7,), 2, (1, 6)), ("o", (4,), 3, (1, 12)), ("o", (1,), 3, (1, 2)),
        ("oh", (4, 6), 3, (1, 2)), ("oh", (1,), 3, (1, 24)),
    ],
)  # fmt: skip
def test_no_other_sum_of_pieces_is_larger_or_smoother(group, held, ndim, steps):
    """Against all subsets of the pieces, in which no bunch and no bound is used."""
    acting = grid_group(group, ndim)
    subgroup = acting.subgroup(held)
    found = pieces(acting.group, steps)
    assert sum(basis.shape[1] for _, basis in found) == acting.order
    rough = roughness(acting.group, steps)
    best = (0, 0.0)
    for count in range(len(subgroup) + 1):
        for chosen in itertools.combinations(found, count):
            basis = np.concatenate([np.zeros((acting.order, 0)), *(b for _, b in chosen)], 1)
            size = basis.shape[1]
            if size <= len(subgroup) and np.linalg.matrix_rank(basis[list(subgroup)], tol=1e-6) == size:
                best = max(best, (size, -np.trace(basis.T @ rough @ basis)))
    ours = smoothest(acting.group, subgroup, steps)
    assert ours.shape[1] == best[0]
    assert np.trace(ours.T @ rough @ ours) == pytest.approx(-best[1], abs=1e-9)


def test_a_frequency_in_the_place_of_half_the_sampling_rate():
    """C₁₈ to C₆: cos 9·2πr/18 = (−1)^r is real and has the values of the frequency 3 on every third element."""
    _, _, down, up = optimum("c18", "c6", 2)
    assert abs(down @ up - np.eye(6)).max() < 1e-12
    wave = (-1.0) ** np.arange(18)
    assert abs(up @ down @ wave - wave).max() < 1e-12


def test_four_half_turns_of_the_cube_have_a_sampling_theorem():
    """Neutral, two half turns about diagonals of faces and one about an axis: no complement, no rotations of a plane."""
    acting, subgroup, down, up = optimum("o", (5, 19), 3)
    assert complement(acting, subgroup) is None
    with pytest.raises(ArgumentError):
        sampling(acting, subgroup, "lowpass")
    assert abs(down @ up - np.eye(4)).max() < 1e-12


def largest_by_characters(acting, subgroup):
    """No space that commutes with G and that H tells apart has more dimensions: its restriction must fit into H's own functions."""
    place = {h: n for n, h in enumerate(subgroup)}
    own = finite_group(table=[[place[int(acting.group.table[a, b])] for b in subgroup] for a in subgroup])
    below = [np.trace(r, axis1=1, axis2=2) for r in real_irreps(own)]
    above = [np.trace(r, axis1=1, axis2=2) for r in real_irreps(acting.group)]
    room = np.array([round(len(subgroup) * c[0] / (c @ c)) for c in below])
    uses = [np.array([round(a[list(subgroup)] @ c / (c @ c)) for c in below]) for a in above]
    most = [round(acting.order * a[0] / (a @ a)) for a in above]

    def walk(at, room):
        if at == len(above):
            return 0
        found, times = walk(at + 1, room), 1
        while times <= most[at] and (times * uses[at] <= room).all():
            found = max(found, round(times * above[at][0]) + walk(at + 1, room - times * uses[at]))
            times += 1
        return found

    return walk(0, room)


@pytest.mark.parametrize(("group", "held", "ndim"), [*PAIRS, *ALONE, *NEITHER])
def test_no_space_at_all_is_larger_than_the_optimum(group, held, ndim):
    acting, subgroup, down, _ = optimum(group, held, ndim)
    assert np.linalg.matrix_rank(down) == largest_by_characters(acting, subgroup)


def test_steps_belong_to_the_optimum():
    x = torch.randn(1, 12, 2, 2)
    smooth = nn.GroupDownsample2d(1, "c12", "c3", "optimal", steps=(1,))
    cosets = nn.GroupDownsample2d(1, "c12", "c3", "optimal")
    assert torch.allclose(cosets(x), nn.GroupDownsample2d(1, "c12", "c3")(x), atol=1e-6)
    assert not torch.allclose(cosets(x), smooth(x), atol=1e-2)
    for antialias, steps in (("coset", (1,)), ("optimal", (12,)), ("optimal", ())):
        with pytest.raises(ArgumentError, match="steps"):
            nn.GroupDownsample2d(1, "c12", "c3", antialias, steps=steps)


def test_all_subgroups():
    """Their numbers are known; each is closed; every one that pairs of elements generate is among them."""
    known = {"o": 30, "oh": 98}
    for name, count in known.items():
        table = grid_group(name, 3).group
        found = subgroups(table)
        assert len(found) == count == len(set(found))
        for own in found:
            assert {int(table.table[a, b]) for a in own for b in own} == set(own)
            assert table.order % len(own) == 0
    table = grid_group("o", 3).group
    assert {generated(table, pair) for pair in itertools.product(range(24), repeat=2)} <= set(subgroups(table))
    # Of dihedral(n) there are as many as divisors of n and their sum, of cyclic(n) as divisors, of symmetric(4) 30.
    assert [len(subgroups(dihedral(n))) for n in (3, 4, 6)] == [6, 10, 16]
    assert [len(subgroups(cyclic(n))) for n in (1, 7, 12)] == [1, 2, 6]
    assert len(subgroups(symmetric(4))) == 30


@pytest.mark.parametrize(("group", "held"), [("o", "d4"), ("oh", "d4"), ("oh", "c4")])
def test_cubes_to_the_square_have_named_subgroups_and_sampling_theorems(group, held):
    """Of the turns of the cube those that keep an axis, up to its sign; coset means restore what they keep."""
    acting = grid_group(group, 3)
    subgroup = acting.subgroup(held)
    plane = acting.matrices[list(subgroup)]
    assert len(subgroup) == (4 if held == "c4" else 8)
    assert (np.abs(plane[:, 0, 0]) == 1).all()
    assert {tuple(m[1:, 1:].ravel()) for m in plane} == {tuple(m.ravel()) for m in grid_group(held, 2).matrices}
    layer = nn.GroupDownsample3d(2, group, held, dtype=torch.float64)
    y = torch.randn(1, 2 * len(subgroup), 2, 3, 2, dtype=torch.float64)
    assert torch.allclose(layer(nn.GroupUpsample3d(2, group, held, dtype=torch.float64)(y)), y, atol=1e-14)


@pytest.mark.parametrize("antialias", ["coset", "optimal", None])
def test_any_finite_group_is_sampled(antialias):
    """Permutations of four things brought to those of three: the values of a fibre move, places do not."""
    table = symmetric(4)
    held = next(own for own in subgroups(table) if len(own) == 6)
    down = nn.GroupDownsample1d(2, table, held, antialias, dtype=torch.float64)
    up = nn.GroupUpsample1d(2, table, held, antialias, dtype=torch.float64)
    x = torch.randn(1, 48, 3, dtype=torch.float64)
    assert torch.allclose(down(up(down(x))), down(x), atol=1e-12)
    for h in held:
        order = torch.from_numpy(table.table[table.inverses[h]].astype(np.int64))
        own = torch.tensor([held.index(int(table.table[table.inverses[h], b])) for b in held])
        moved = x.unflatten(1, (2, 24))[:, :, order].flatten(1, 2)
        wanted = down(x).unflatten(1, (2, 6))[:, :, own].flatten(1, 2)
        assert torch.allclose(down(moved), wanted, atol=1e-13)
    if antialias == "coset":
        project = (up.matrix @ down.matrix).numpy()
        for g in range(24):
            left_ = np.zeros((24, 24))
            left_[table.table[g], np.arange(24)] = 1
            assert abs(project @ left_ - left_ @ project).max() < 1e-14


CANONICAL = [
    ("d4", "c4", 2, "coset"),
    ("d4", "c2", 2, None),
    ("o", "c4", 3, None),
    ("oh", "c4", 3, "coset"),
    ("o", "d4", 3, None),
]


@pytest.mark.parametrize(("group", "held", "ndim", "antialias"), CANONICAL)
def test_the_coset_element_brings_back_what_the_subgroup_lost(group, held, ndim, antialias):
    """After `canonical` every element of G moves the result by one of H, and `restore` makes a layer of H one of G."""
    torch.manual_seed(0)
    down = nn.GroupDownsample(ndim, 2, group, held, antialias, dtype=torch.float64)
    acting, regular = down.acting, down.acting.fibre("regular")
    own = grid_group(held, ndim) if (group, held) != ("o", "d4") else None
    x = torch.randn(3, 2 * acting.order, *[4] * ndim, dtype=torch.float64)
    y, elements = down.canonical(x)
    assert elements.dtype == torch.int64
    assert torch.allclose(y, torch.cat([down(act(x[n : n + 1], acting, int(acting.group.inverses[g]), regular))
                                        for n, g in enumerate(elements)]), atol=1e-14)  # fmt: skip

    def whole(x):
        """A layer of H on what is canonical, ended by channels that stay, then turned back."""
        y, elements = down.canonical(x)
        return down.restore(second(y), elements)

    if own is None:
        moved = {int(g): down.canonical(act(x, acting, int(g), regular)) for g in range(0, acting.order, 5)}
        for z, found in moved.values():
            for n in range(3):
                options = [down._moving(h, False)(y[n : n + 1]) for h in down.held]
                assert min(float((z[n : n + 1] - o).abs().max()) for o in options) < 1e-13
            assert found.shape == (3,)
        return
    second = nn.GroupConv(ndim, 2, 1, 3, held, "regular", "trivial", padding=1, dtype=torch.float64)
    wanted, plain = whole(x), []
    for g in range(1, acting.order, 3):
        z = act(x, acting, g, regular)
        assert torch.allclose(whole(z), act(wanted, acting, g), atol=1e-12)
        plain.append(float((second(down(z)) - act(second(down(x)), acting, g)).abs().max().detach()))
    assert max(plain) > 1e-2, "without it the layer commutes with H alone"


def test_canonical_is_refused_where_it_cannot_be():
    x = torch.zeros(1, 16, 4, 4)
    with pytest.raises(ArgumentError, match="maps the grid"):
        nn.GroupDownsample2d(1, "d8", "c4", None).canonical(x)
    down = nn.GroupDownsample2d(1, "d4", "c2", None)
    with pytest.raises(ArgumentError, match="one size"):
        down.canonical(torch.zeros(1, 8, 4, 3))
    with pytest.raises(ArgumentError, match="for each sample"):
        down.restore(torch.zeros(2, 1, 3, 3), torch.zeros(1, dtype=torch.int64))
