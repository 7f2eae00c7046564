"""A real tree, layers of this library by family, laid out in the hyperbolic disc and in the plane: which bends distances less?"""

import torch
from torch import Tensor

from faltung import nn
from faltung.nn import hyperbolic


def tree() -> tuple[list[str], Tensor]:
    """Names of the nodes (the library, its families, three layers of each), and how many steps lie between any two."""
    names, parents = ["nn"], [0]
    for family in nn.FAMILIES:
        names.append(family.__name__.rsplit(".", 1)[-1])
        parents.append(0)
        branch = len(names) - 1
        for kind in family.ALL[:3]:
            names.append(kind.__name__)
            parents.append(branch)
    depth = [0 if n == 0 else 1 if p == 0 else 2 for n, p in enumerate(parents)]
    count = len(names)
    steps = torch.zeros(count, count, dtype=torch.float64)
    for a in range(count):
        for b in range(count):
            family = [n if depth[n] == 1 else parents[n] for n in (a, b)]
            shared = 2 if a == b else 1 if family[0] == family[1] and family[0] else 0
            steps[a, b] = depth[a] + depth[b] - 2 * (depth[a] if shared == 2 else shared)
    return names, steps


def bent(steps: Tensor, c: float, rounds: int = 250) -> float:
    """The mean relative error of all distances after an embedding into two dimensions of curvature −c."""
    torch.manual_seed(0)
    vectors = (0.3 * torch.randn(len(steps), 2, dtype=torch.float64)).requires_grad_()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)  # the length of a step
    optimizer = torch.optim.Adam([vectors, scale], 0.05)
    rows, columns = torch.triu_indices(len(steps), len(steps), 1)
    for _ in range(rounds):
        points = hyperbolic.expmap0(vectors, c)
        far = hyperbolic.dist(points[rows], points[columns], c)
        error = far / (scale.abs() * steps[rows, columns]) - 1
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    return error.abs().mean().item()


def main() -> None:
    names, steps = tree()
    print(f"{len(names)} names, at most {int(steps.max())} steps apart")
    disc, plane = bent(steps, 1.0), bent(steps, 0.0)
    print(f"hyperbolic disc: distances off by {disc:.1%} on average")
    print(f"         plane: distances off by {plane:.1%} on average")

    layer = nn.PoincareLinear(2, 3, c=1.0, init="normal", dtype=torch.float64)
    scores = layer(torch.randn(5, 2, dtype=torch.float64))
    print("a layer on tangent vectors:", tuple(scores.shape))

    assert disc < 0.8 * plane
    assert hyperbolic.expmap0(scores, 1.0).norm(dim=1).max() < 1


if __name__ == "__main__":
    main()
