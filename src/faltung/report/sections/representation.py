"""What many inputs fill after each layer: how many dimensions, and how bent the surface is on which they lie."""

from faltung.errors import FaltungError
from faltung.look import label_sharpness, representation_profile
from faltung.report.section import Column, Section, Subject, Values

COLUMNS = (
    Column(
        "dimension",
        "dimension",
        "of the cloud of results, by two neighbours; low beyond ten",
        "look.intrinsic_dimension",
    ),
    Column("dimension_mle", "dimension (20)", "the same by twenty neighbours", "look.intrinsic_dimension"),
    Column("linear", "components", "principal components for 90 % of the variance", "look.intrinsic_dimension"),
    Column("bend", "curvature", "mean |principal curvature| of the surface", "look.mean_curvature"),
)
LEAST = 32  # samples


def fill(subject: Subject) -> Values:
    """Dimensions and curvatures by layer."""
    batch = subject.batch
    if batch is None or len(batch) < LEAST:
        subject.notes += [] if batch is None else [f"{len(batch)} samples say nothing of dimensions: {LEAST} at least"]
        return {}
    try:
        profile = representation_profile(subject.replay if subject.model is None else subject.model, batch)
        if subject.labels is not None:
            subject.facts["label sharpness"] = label_sharpness(batch.flatten(1), subject.labels.cpu().numpy())
    except FaltungError as error:
        subject.notes.append(f"what inputs fill is not known: {error}")
        return {}
    if profile.curvature_gap == profile.curvature_gap:
        subject.facts["curvature gap"] = profile.curvature_gap
    keys = [column.key for column in COLUMNS]
    return {
        name: {key: value if value == value else None for key, value in zip(keys, values, strict=True)}
        for name, *values in profile.rows
    }


SECTION = Section("representation", "full", COLUMNS, fill)
