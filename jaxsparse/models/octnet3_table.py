"""ILA-SCNN's Table 4 and the density bounds of its appendix, as data."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jaxsparse._core.checks import expected

Widths = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Column:
    """One network of Table 4.

    Attributes:
      stages: output channels of the sparse convolutions, stage by stage; max pooling by 2 in between.
      dense_stages: the same of the convolutions that are dense in either twin; max pooling by 2 before each stage.
    """

    stages: Widths
    dense_stages: Widths = ()


_EIGHT, _SIXTEEN, _TWENTY_FOUR = (8, 8, 8), (16, 16, 16), (24, 24, 24)
_SHALLOW = Column((_EIGHT, _SIXTEEN))
_DENSE = ((32, 32, 32), (40, 40, 40), (48, 48, 48))
_DEEP = (_EIGHT, _SIXTEEN, _TWENTY_FOUR)

TABLE_4: Mapping[tuple[int, ...], Column] = MappingProxyType(
    {
        (16, 16, 16): _SHALLOW,
        (24, 24): _SHALLOW,
        # MNIST's whole images: what the paper's code ran under the name of 24^2.
        (28, 28): _SHALLOW,
        (32, 32, 32): Column(_DEEP),
        (64, 64, 64): Column(_DEEP, _DENSE[:1]),
        (128, 128, 128): Column(_DEEP, _DENSE[:2]),
        (256, 256, 256): Column(_DEEP, _DENSE[:3]),
    }
)
"""Every network of Table 4 by the spatial shape of its input."""

_USUAL = {32: (0.14, 0.33, 0.66), 64: (0.06, 0.14, 0.33)}

DENSITIES: Mapping[str, Mapping[int, tuple[float, ...]]] = MappingProxyType(
    {
        # Table 3 (MNIST): the second bound is twice the first.
        "mnist-0.035": {size: (0.035, 0.07) for size in (24, 28)},
        "mnist-0.05": {size: (0.05, 0.1) for size in (24, 28)},
        "mnist-0.075": {size: (0.075, 0.15) for size in (24, 28)},
        # Figure 7, right (ModelNet40); its bounds for 64^3 are those of figure 6, too.
        "modelnet40": {16: (1.0, 1.0), **_USUAL, 128: (0.02, 0.06, 0.14)},
        # Figure 7, left (ModelNet40): one network, four pairs of bounds.
        "modelnet40-0.06": {16: (0.06, 0.12)},
        "modelnet40-0.12": {16: (0.12, 0.24)},
        "modelnet40-0.33": {16: (0.33, 0.33)},
        "modelnet40-1": {16: (1.0, 1.0)},
        # Figure 7 (ScanNet).
        "scannet": {16: (0.14, 0.33), **_USUAL},
        # Figure 10 (ScanNet): as tight as the paper goes, and the only bounds it gives for 256^3.
        "scannet-extreme": {16: (0.01, 0.03), 32: (0.01, 0.03, 0.03), 256: (0.01, 0.03, 0.07)},
    }
)
"""The density bounds of the paper's experiments by name, then by resolution: one bound a sparse stage."""


def column(spatial_shape: Sequence[int]) -> Column:
    """The network of Table 4 for an input of this shape.

    Raises:
      ValueError: Table 4 has none.
    """
    shape = tuple(spatial_shape)
    if shape not in TABLE_4:
        known = ", ".join(str(key) for key in TABLE_4)
        wording = f"given for a spatial shape that is not in Table 4 (there: {known})"
        raise ValueError(expected("OctNet3", "stages", wording, f"None and {shape}"))
    return TABLE_4[shape]


def densities(preset: str, spatial_shape: Sequence[int], stages: int) -> tuple[float, ...]:
    """The bounds that the paper used under this name for an input of this shape.

    Raises:
      ValueError: there is no such preset, or it has no bounds for the shape.
    """
    shape = tuple(spatial_shape)
    fitting = [name for name in DENSITIES if _fits(name, shape)]
    if preset not in fitting:
        known = ", ".join(map(repr, fitting)) or "none"
        wording = f"a sequence of {stages} densities or a preset for {shape} ({known})"
        problem = "which has no bounds for it" if preset in DENSITIES else "which is none"
        raise ValueError(expected("OctNet3", "densities", wording, f"{preset!r}, {problem}"))
    return DENSITIES[preset][shape[0]]


def _fits(preset: str, shape: tuple[int, ...]) -> bool:
    # 24 and 28 are images, all others are solids.
    return shape in TABLE_4 and shape[0] in DENSITIES[preset]
