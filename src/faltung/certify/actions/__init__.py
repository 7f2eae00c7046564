"""What can be done to an input, so that a network's result should follow: one family of actions a file, one line here."""

from typing import Any

from faltung.certify.actions.action import Action, Declared
from faltung.certify.actions.affine_map import AffineMap
from faltung.certify.actions.ball_motion import BallMotion
from faltung.certify.actions.contour import ContourMotion
from faltung.certify.actions.fields import FieldAction
from faltung.certify.actions.grid_group import GridTurn
from faltung.certify.actions.scale import Scale
from faltung.certify.actions.shift import Shift
from faltung.certify.actions.space import SpaceMotion
from faltung.certify.actions.sphere import SphereTurn
from faltung.certify.actions.turn import Turn
from faltung.errors import ArgumentError

NAMED = {
    "shift": Shift,
    "shift up to a roll": lambda: Shift(free=True),
    "fractional shift": lambda: Shift(fraction=True),
    "C2": lambda: Turn(2),
    "C4": lambda: Turn(4),
    "C8": lambda: Turn(8),
    "D1": lambda: Turn(1, reflect=True),
    "D4": lambda: Turn(4, reflect=True),
    "p4": lambda: GridTurn("p4"),
    "p4m": lambda: GridTurn("p4m"),
    "p6": lambda: GridTurn("p6"),
    "p6m": lambda: GridTurn("p6m"),
    "o": lambda: GridTurn("o"),
    "oh": lambda: GridTurn("oh"),
    "SO(3)": lambda: SpaceMotion("SO(3)"),
    "O(3)": lambda: SpaceMotion("O(3)"),
    "SE(2)": lambda: SpaceMotion("SE(2)"),
    "SE(3)": lambda: SpaceMotion("SE(3)"),
    "E(3)": lambda: SpaceMotion("E(3)"),
    "scale": Scale,
    "contour": ContourMotion,
    "GL+": lambda: AffineMap("GL+"),
    "SL": lambda: AffineMap("SL"),
    "SO": lambda: AffineMap("SO"),
    "ball": BallMotion,
    "sphere": SphereTurn,
}

__all__ = [
    "NAMED",
    "Action",
    "AffineMap",
    "BallMotion",
    "ContourMotion",
    "Declared",
    "FieldAction",
    "GridTurn",
    "Scale",
    "Shift",
    "SpaceMotion",
    "SphereTurn",
    "Turn",
    "named",
]


def named(group: Any) -> Action:
    """The action of that name, or the action itself.

    Raises:
        ArgumentError: neither.
    """
    if isinstance(group, str) and group in NAMED:
        return NAMED[group]()
    if isinstance(group, str) and group[:1] in ("C", "D") and group[1:].isdigit() and int(group[1:]) > 0:
        return Turn(int(group[1:]), reflect=group[0] == "D")
    if isinstance(group, Action):
        return group
    raise ArgumentError.of(
        "equivariance", "an Action, Cn, Dn or one of " + ", ".join(NAMED), repr(group), "write 'shift', say"
    )
