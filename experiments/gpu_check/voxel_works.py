"""What is measured of jaxsparse.voxel: sparse ResNet encoders, beside what others measured on an H200. Only names, no JAX."""

import dataclasses

SOURCE = "youngsm/sparse-conv-benchmarks 27f7dae, H200 NVL, bfloat16, kernel maps kept between iterations"
PEERS = ("spconv", "TorchSparse", "WarpConvNet", "MinkowskiEngine")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder and a batch.

    Attributes:
      model: ``"small"``, ``"medium"`` or ``"large"``: `jaxsparse.models.VOXEL_RESNET_SIZES`.
      batch: elements.
      voxels: of all of them.
      resolution: of the volume that they lie in.
      both: milliseconds forward and backward of `PEERS`, as published; their geometry cannot be had.
      forward: forward alone.
      peak: megabytes.
    """

    model: str
    batch: int
    voxels: int
    resolution: int = 128
    both: tuple[float, ...] = ()
    forward: tuple[float, ...] = ()
    peak: tuple[float, ...] = ()

    def row(self) -> str:
        """The name of its row."""
        return f"voxel encoder {self.model} batch {self.batch} bfloat16"


ENCODERS = (
    Encoder("small", 1, 4690, both=(4.49, 2.72, 6.45, 5.69), forward=(2.88, 1.25, 4.96, 2.42)),
    Encoder("medium", 16, 56700, both=(26.09, 47.54, 16.17, 29.99)),
    Encoder(
        "large", 16, 56700, both=(87.32, 237.1, 34.94, 72.06), forward=(23.83, 102.3, 15.69, 19.45),
        peak=(2383, 5061, 1105, 1595),
    ),
    Encoder("small", 16, 56700, both=(9.21, 9.27, 8.81, 8.51)),
    Encoder("medium", 1, 4690, both=(6.79, 8.89, 10.49, 15.52)),
    Encoder("large", 1, 4690, both=(13.11, 33.4, 16.24, 31.71)),
    Encoder("large", 8, 30392, both=(51.53, 145.8, 25.75, 51.21)),
)  # fmt: skip
"""Those that the published figures are known of; first the ones to stand beside."""
REHEARSAL = (Encoder("small", 2, 60, resolution=16),)

KERNEL_SIZES = {"kernels": (128, 4, 64), "rehearsal": (8, 2, 4)}
"""What each kernel is called with: resolution, batch, channels. Sites are a sphere's surface."""


def kernel_row(kernel: str, size: tuple[int, ...]) -> str:
    """The name of a kernel's row."""
    resolution, batch, channels = size
    return f"voxel kernel {kernel} {resolution}^3 batch {batch} {channels} channels"
