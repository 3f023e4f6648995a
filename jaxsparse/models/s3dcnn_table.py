"""Densities of S3DCNN's levels, as data."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jaxsparse._core.checks import expected

PAPER_TABLE_1 = (
    0.0018,
    0.0035,
    0.0069,
    0.0107,
    0.0193,
    0.0326,
    0.0732,
    0.1514,
    0.4630,
    0.9754,
    1,
    1,
)
"""Mean share of active sites in the paper's Table 1 (render size 40, field 126): input, then convolutions and poolings in
turn, the last two of the last pooling and of the last convolution."""

S3DCNN_DENSITIES: Mapping[str, Mapping[int, Sequence[float]]] = MappingProxyType(
    {
        # The means of Table 1 and half as much again.
        "paper-40": {5: tuple(min(1.0, 1.5 * share) for share in PAPER_TABLE_1[1:-1])},
    }
)
"""Bounds by name, then by depth: convolutions and poolings in turn, as shares of the voxels of the whole batch."""


def densities_of(preset: str, depth: int) -> Sequence[float]:
    """The bounds of a preset for a network of so many blocks.

    Raises:
      ValueError: there is no such preset, or it has no bounds for the depth.
    """
    fitting = [name for name, by_depth in S3DCNN_DENSITIES.items() if depth in by_depth]
    if preset not in fitting:
        known = ", ".join(map(repr, fitting)) or "none"
        wording = f"a sequence of {2 * depth} densities or a preset for depth {depth} ({known})"
        raise ValueError(expected("S3DCNN", "densities", wording, repr(preset)))
    return S3DCNN_DENSITIES[preset][depth]
