"""Values as people read them."""

import math
from typing import Any


def shown(value: Any) -> str:
    """A value for people: three digits, thousands apart, `?` for what is not known."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isnan(value):
            return "?"
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.3g}"
    return str(value)
