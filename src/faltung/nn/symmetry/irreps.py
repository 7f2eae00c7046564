"""Names of fields by how they turn: irreducible ones of SO(2), O(2) and O(3), their sizes and matrices."""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from faltung.errors import ArgumentError
from faltung.nn.symmetry.so3 import wigner


@dataclass(frozen=True)
class Irreps:
    """A sum of irreducible fields, ((how many, name), ...).

    Of the plane: "0" for scalars, "0-" for those that a mirror negates, "1", "2", ... by frequency. Of space, as e3nn writes them:
    "0e" for scalars, "1o" for vectors, "1e" for those that a mirror through the origin leaves alone, "2e", "2o", ...
    """

    parts: tuple[tuple[int, str], ...]

    @property
    def dim(self) -> int:
        """How many numbers stand at one place."""
        return sum(many * size(name) for many, name in self.parts)

    @property
    def count(self) -> int:
        """How many fields there are."""
        return sum(many for many, _ in self.parts)

    def matrix(self, element: np.ndarray) -> np.ndarray:
        """How all numbers at one place change under an orthogonal matrix on (x, y) or (x, y, z), (dim, dim)."""
        found, at = np.zeros((self.dim, self.dim)), 0
        for many, name in self.parts:
            block = turned(name, element)
            for _ in range(many):
                found[at : at + len(block), at : at + len(block)] = block
                at += len(block)
        return found


def size(name: str) -> int:
    """How many numbers a field has: in the plane 1 for scalars and 2 for others, in space 2l + 1."""
    if name[-1] in "eo":
        return 2 * int(name[:-1]) + 1
    return 1 if name.startswith("0") else 2


def turned(name: str, element: np.ndarray) -> np.ndarray:
    """The matrix of an irreducible field under an orthogonal matrix.

    In the plane cos and sin of m times the angle; (x, −y) gives diag(1, −1), or −1 for "0-". In space Wigner's, times −1 for "o"
    where the origin is mirrored.
    """
    mirrored = bool(np.linalg.det(element) < 0)
    if name[-1] in "eo":
        rotation = torch.from_numpy(np.where(mirrored, -1.0, 1.0) * element)
        return (-1 if mirrored and name[-1] == "o" else 1) * wigner(int(name[:-1]), rotation)[-1].numpy()
    if size(name) == 1:
        return np.array([[-1.0 if mirrored and name == "0-" else 1.0]])
    m, angle = int(name), math.atan2(element[1, 0], element[0, 0])
    c, s = math.cos(m * angle), math.sin(m * angle)
    return np.array([[c, -s], [s, c]]) @ (np.diag([1.0, -1.0]) if mirrored else np.eye(2))


@lru_cache(maxsize=128)
def irreps(text: str, group: str) -> Irreps:
    """The fields that a text like "8x0 + 4x1 + 2x2", or "8x0e + 4x1o" for o3, names, in that order.

    Args:
        text: "how many x name" joined by +; "1x" may be left out.   group: "so2", "o2", which alone knows "0-", or "o3".

    Raises:
        ArgumentError: another text.

    Example:
        >>> irreps("8x0 + 4x1", "so2").dim, irreps("8x0e + 4x1o", "o3").dim
        (16, 20)
    """
    parts, names = [], {"so2": r"\d+", "o2": r"0-|\d+", "o3": r"\d+[eo]"}[group]
    for piece in text.split("+"):
        found = re.fullmatch(rf"\s*(?:([1-9]\d*)\s*x\s*)?({names})\s*", piece)
        if not found:
            known = (
                '"8x0e + 4x1o"'
                if group == "o3"
                else '"8x0 + 4x1"' + (', "0-" for mirrored scalars' if group == "o2" else "")
            )
            raise ArgumentError.of("irreps", f"fields of {group} like {known}", repr(text), "give how many x which")
        parts.append((int(found[1] or 1), found[2]))
    return Irreps(tuple(parts))
