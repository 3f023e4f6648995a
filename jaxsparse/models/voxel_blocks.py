"""What sparse residual networks and U-Nets are made of."""

from typing import Any

from flax import nnx

from jaxsparse import nn, voxel


class ConvNormRelu(nnx.Module):
    """A convolution of voxels, batch normalisation over active sites and, unless told otherwise, a ReLU."""

    def __init__(
        self, conv: Any, *, relu: bool = True, dtype: Any, param_dtype: Any, rngs: nnx.Rngs
    ):
        self.conv = conv
        self.norm = nn.BatchNorm(conv.out_features, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.relu = relu

    def __call__(
        self, x: voxel.VoxelTensor, *, plan: voxel.KernelMap, **onto: voxel.VoxelTensor
    ) -> voxel.VoxelTensor:
        """The three in turn; ``onto=`` for inverse convolutions."""
        y = self.norm(self.conv(x, plan=plan, **onto))
        return nn.relu(y) if self.relu else y


class ResidualBlock(nnx.Module):
    """Two submanifold convolutions of 3 and a skip connection, by 1 x 1 where the channels change (He et al., 2016)."""

    def __init__(
        self, in_features: int, out_features: int, dims: int, *, precision: Any, dtype: Any,
        param_dtype: Any, rngs: nnx.Rngs,
    ):  # fmt: skip
        kinds: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}

        def made(features: int, size: int, relu: bool) -> ConvNormRelu:
            conv = nn.VoxelSubmanifoldConv(
                features, out_features, (size,) * dims, use_bias=False, precision=precision, **kinds
            )
            return ConvNormRelu(conv, relu=relu, **kinds)

        self.first = made(in_features, 3, True)
        self.second = made(out_features, 3, False)
        same = in_features == out_features
        self.skip = nnx.data(None) if same else made(in_features, 1, False)

    @property
    def layers(self) -> list[Any]:
        """The convolutions, in the order of their calls."""
        skip = [] if self.skip is None else [self.skip.conv]
        return [self.first.conv, self.second.conv, *skip]

    def __call__(self, x: voxel.VoxelTensor, maps: "Maps") -> voxel.VoxelTensor:
        """Takes a map for each of its convolutions."""
        y = self.second(self.first(x, plan=maps.next()), plan=maps.next())
        skipped = x if self.skip is None else self.skip(x, plan=maps.next())
        return nn.relu(nn.add(y, skipped))


class Maps:
    """The entries of a plan, handed out in the order of the calls."""

    def __init__(self, maps: tuple[voxel.KernelMap, ...]):
        self._rest = iter(maps)

    def next(self) -> voxel.KernelMap:
        """That of the next convolution."""
        return next(self._rest)
