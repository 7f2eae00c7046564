"""What a network that enlarges leaves behind: copies of the spectrum at the frequencies of its steps."""

from faltung.errors import FaltungError
from faltung.look import profile_deviation, upsampling_artifacts
from faltung.readers import undisturbed
from faltung.report.section import WHOLE, Column, Rule, Section, Subject, Values

COLUMNS = (
    Column("enlarged", "enlarges", "by how much, along each axis", "look.upsampling_artifacts"),
    Column(
        "replica", "copies", "power where copies of frequency 0 lie, over the median of high ones", "look.replica_peak"
    ),
    Column(
        "profile",
        "profile off",
        "mean |log₁₀| of the spectrum's radial profile over that of the inputs, where both are pictures of one size",
        "look.profile_deviation",
    ),
)
GRID = 10.0


def fill(subject: Subject) -> Values:
    """Copies by step, and in the result."""
    steps = [
        n
        for n in subject.network.nodes
        if n.op in ("upsample", "pixel_shuffle") or (n.transposed and max(n.stride) > 1)
    ]
    if not steps or subject.batch is None or subject.model is None:
        return {}
    try:
        table = upsampling_artifacts(subject.model, subject.batch[:16])
    except FaltungError as error:
        subject.notes.append(f"what enlarging leaves behind is not known: {error}")
        return {}
    found = {
        row.name: {"enlarged": " × ".join(f"{f:g}" for f in dict.fromkeys(row.factor)), "replica": row.replica}
        for row in table.layers
    }
    return {**found, WHOLE: {"replica": table.replica, "profile": profile(subject)}}


def profile(subject: Subject) -> float | None:
    """How far the spectrum of the results is from that of the inputs, None where these are not pictures of one size."""
    import torch

    assert subject.model is not None
    x = subject.batch[:16]
    with undisturbed(subject.model), torch.no_grad():
        y = subject.call(x)
    return profile_deviation(x, y) if y.ndim == 4 and y.shape == x.shape else None


SECTION = Section(
    "enlarging",
    "full",
    COLUMNS,
    fill,
    (
        Rule("G1", "A grid in what was enlarged", "replica", lambda v: v > GRID, f"at most {GRID:g} times the median",
             "Copies of the spectrum stand out: results carry a regular pattern that can be seen or detected.",
             "enlarge by repetition or interpolation and convolve after it", "info"),
    ),
)  # fmt: skip
