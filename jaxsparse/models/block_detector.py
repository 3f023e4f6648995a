"""SBNet's detector on bird's-eye maps, block-sparse and dense from one definition."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import block, nn
from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse.models import _arguments
from jaxsparse.models.block_layers import PreActivation, Upsample

Lists = dict[str, block.BlockIndices]

default_kernel_init = nnx.initializers.lecun_normal()


class BlockDetector(nnx.Module):
    """A residual backbone, upsampling with skips, and heads for classes, boxes and orientations.

    Two 3 x 3 convolutions at full resolution (conv-1); stages of :class:`jaxsparse.nn.BlockResidualUnit`, the first unit of
    each at stride 2 (conv-2 to conv-5); a 1 x 1 convolution; upsampling by 2 for each of ``upsample_features``, with a skip
    from the stage of that resolution; three 3 x 3 convolutions side by side. Norm and ReLU stand before every convolution but
    the first.

    ``model(x, model.blocks(mask, spatial_shape))`` computes the tiles that the mask chooses at each resolution;
    ``model(x)`` is the dense twin: the same parameters, the same model. With a mask of ones and the same statistics both
    agree at every pixel. Outside of active tiles class scores are ``background``, boxes and orientations 0.

    Args:
      in_features: channels of the map.
      stem_features: output channels of the convolutions before the first stage.
      features: output channels of each stage.
      units: residual units of each stage.
      bottleneck_features: channels inside the units of each stage; None: a quarter of ``features``.
      neck_features: channels of the 1 x 1 convolution on top of the last stage.
      upsample_features: output channels of each upsampling layer.
      classes: class scores a pixel.
      box_features: numbers that describe a box.
      orientation_features: numbers that describe its orientation.
      block_sizes: pixels of a window's edge for layers whose input is at full resolution, at half of it, and so on: one
        more than there are stages. None: the paper's search, by size of the map, ranged over odd sizes around the ones
        used here (33, 23, 19, 13, 9, then 7).
      density: share of the blocks of a grid that a list may hold, ``ceil(density * blocks * batch - 1e-6)``: a number, or one
        for each list by name, as :meth:`densities` finds them. What follows computes that many, used or not. Of too many,
        those with the highest mask stay, and the list's ``overflow`` counts the others. Left out, nothing is cut, and nothing
        saved: a network that shall be fast needs a density.
      class_prior: probability that the class scores start from.
      background: class score (a logit) outside of active tiles.
      momentum: decay rate of the running statistics.
      epsilon: what is added to the variance.
      axis_name: mesh axis over whose devices the lists are spread, inside ``shard_map``.
      dtype: the type of the computation.
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernels.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size below 1, lists of sizes that do not fit each other, a density or prior out of range.
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: SBNet (Ren et al., 2018), 4.2: 2 initial convolutions, [3, 6, 6, 3] units, channels 96 to 384 (24 to 96 in the
    units' middle, Table 1), 16 times downsampled on top, one convolutional and two upsampling layers with skips from conv-4
    and conv-3, three branches. What the paper leaves open follows PIXOR (Yang, Luo, Urtasun, 2018), a detector of the same
    group and the same backbone: the initial convolutions have 32 channels and stride 1, a stage's first unit has its stride,
    196 channels on top, 128 and 96 behind upsampling, 4 numbers a box (offset of its centre in x and y, logarithms of length
    and width), 2 for the orientation (cosine and sine). Choices of this library: one 3 x 3 convolution a branch,
    pre-activation throughout, skips by a 1 x 1 convolution that is added, the focal loss's prior (Lin et al., 2017).

    Example usage::

      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import models

      >>> model = models.BlockDetector(
      ...     3, stem_features=(4,), features=(8, 8), units=(1, 2), neck_features=4,
      ...     upsample_features=(4,), block_sizes=(9, 9, 5), density=0.5, rngs=nnx.Rngs(0),
      ... )
      >>> model.eval()
      >>> @jax.jit
      ... def detect(x, mask):
      ...     return model(x, model.blocks(mask, x.shape[1:-1]))

      >>> x, mask = jnp.ones((1, 20, 24, 3)), jnp.zeros((1, 20, 24), bool).at[:, :5, :5].set(True)
      >>> {name: value.shape for name, value in detect(x, mask).items()}
      {'boxes': (1, 10, 12, 4), 'classes': (1, 10, 12, 1), 'orientations': (1, 10, 12, 2)}
    """

    def __init__(
        self,
        in_features: int = 33,
        *,
        stem_features: Sequence[int] = (32, 32),
        features: Sequence[int] = (96, 192, 256, 384),
        units: Sequence[int] = (3, 6, 6, 3),
        bottleneck_features: Sequence[int] | None = None,
        neck_features: int = 196,
        upsample_features: Sequence[int] = (128, 96),
        classes: int = 1,
        box_features: int = 4,
        orientation_features: int = 2,
        block_sizes: Sequence[int] | None = None,
        density: float | Mapping[str, float] = 1.0,
        class_prior: float = 0.01,
        background: float = -10.0,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        axis_name: str | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = jax.lax.Precision.HIGHEST,
        kernel_init: nnx.Initializer = default_kernel_init,
        rngs: nnx.Rngs,
    ):
        in_features = _size("in_features", in_features)
        stem_features = _arguments.sizes(NAME, "stem_features", stem_features)
        features = _arguments.sizes(NAME, "features", features)
        stages = len(features)
        units = _arguments.sizes(NAME, "units", units, stages)
        if bottleneck_features is None:
            bottleneck_features = tuple(max(1, n // 4) for n in features)
        middle = _arguments.sizes(NAME, "bottleneck_features", bottleneck_features, stages)
        neck_features = _size("neck_features", neck_features)
        upsample_features = _arguments.sizes(NAME, "upsample_features", upsample_features)
        if len(upsample_features) > stages - 1:
            wording = f"at most {stages - 1} numbers, one less than stages"
            raise ValueError(expected(NAME, "upsample_features", wording, upsample_features))
        if block_sizes is None:
            usual = (33, 23, 19, 13, 9)
            block_sizes = (usual + (7,) * stages)[: stages + 1]
        self.block_sizes = _arguments.sizes(
            NAME, "block_sizes", block_sizes, stages + 1, "one more than stages"
        )
        heads = [
            _size(name, value)
            for name, value in (
                ("classes", classes),
                ("box_features", box_features),
                ("orientation_features", orientation_features),
            )
        ]
        class_prior = checks.number(NAME, "class_prior", class_prior, low=0, high=1)
        if class_prior in (0, 1):
            raise ValueError(expected(NAME, "class_prior", "above 0 and below 1", class_prior))
        self.background = checks.number(NAME, "background", background)

        shared: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        conv = {"precision": precision, "kernel_init": kernel_init, "use_bias": False, **shared}
        statistics = {"momentum": momentum, "epsilon": epsilon, "axis_name": axis_name}
        norm = {**statistics, "use_fast_variance": False, **shared}
        layer: dict[str, Any] = {"conv": conv, "norm": norm}
        width, stem = in_features, []
        for i, out in enumerate(stem_features):
            stem.append(PreActivation(width, (out,), (3, 3), normalise=i > 0, **layer))
            width = out
        self.stem = nnx.List(stem)
        self.stages = nnx.List([])
        for out, inner, count in zip(features, middle, units, strict=True):
            stage = []
            for i in range(count):
                strides = 1 if i else 2
                options = {**statistics, **conv, "strides": strides}
                stage.append(nn.BlockResidualUnit(width, inner, out, **options))
                width = out
            self.stages.append(nnx.List(stage))
        self.neck = PreActivation(width, (neck_features,), (1, 1), **layer)
        width, upsamplings = neck_features, []
        for i, out in enumerate(upsample_features):
            upsamplings.append(Upsample(width, features[stages - 2 - i], out, **layer))
            width = out
        self.upsamplings = nnx.List(upsamplings)
        self.heads = PreActivation(width, heads, (3, 3), conv={**conv, "use_bias": True}, norm=norm)
        bias = self.heads.convs[0].bias
        assert bias is not None
        bias[...] = jnp.full_like(bias[...], math.log(class_prior / (1 - class_prior)))

        self.in_features = in_features
        self.features = features
        self.units = units
        self.density: float | tuple[tuple[str, float], ...] = self._checked(density)

    def geometries(self, spatial_shape: Sequence[int]) -> dict[str, tuple[int, block.Geometry]]:
        """The grids of blocks by name, with the resolution of each (0: that of the map, 1: half of it, and so on).

        ``stem``; ``down1``, ``stage1`` and on (the first and the other units of a stage); ``neck``; ``up1`` and on;
        ``heads``.

        Args:
          spatial_shape: sizes of the map.

        Raises:
          ValueError, TypeError: not two integers above 0; a block size that is too small for its layers.
        """
        shapes = self._shapes(spatial_shape)
        stages, ups = len(self.features), len(self.upsamplings)
        places: dict[str, tuple[int, Any]] = {"stem": (0, self.stem[0])}
        for i, stage in enumerate(self.stages):
            places[f"down{i + 1}"] = (i, stage[0])
            if len(stage) > 1:
                places[f"stage{i + 1}"] = (i + 1, stage[1])
        places["neck"] = (stages, self.neck)
        for i, up in enumerate(self.upsamplings):
            places[f"up{i + 1}"] = (stages - i, up)
        places["heads"] = (stages - ups, self.heads)
        return {
            name: (level, layer.geometry(shapes[level], self.block_sizes[level]))
            for name, (level, layer) in places.items()
        }

    def blocks(self, mask: jax.typing.ArrayLike, spatial_shape: Sequence[int]) -> Lists:
        """The lists of active blocks by name, one for each of :meth:`geometries`.

        Args:
          mask: bool or float ``[batch, *spatial]`` at the resolution of the map, half, a quarter, ... of it; active where it
            is above 0. See :func:`jaxsparse.nn.resize_mask`.
          spatial_shape: sizes of the map.

        Returns:
          A dict of :class:`jaxsparse.block.BlockIndices`.

        Raises:
          ValueError: a mask whose sizes do not fit.
          TypeError: a mask that is neither bool nor float.
        """
        shapes = self._shapes(spatial_shape)
        mask = jax.lax.stop_gradient(checks.array(NAME, "mask", mask))
        masks = [nn.resize_mask(mask, shape) for shape in shapes]
        lists, found = {}, {}
        grids = self.geometries(spatial_shape)
        for name, (level, geometry) in grids.items():
            if geometry not in found:
                # Layers of one grid share a list: it has room for the one that asks for the most.
                share = max(self._share(other) for other, (_, g) in grids.items() if g == geometry)
                most = mask.shape[0] * geometry.blocks
                capacity = max(1, min(most, math.ceil(share * most - 1e-6)))
                found[geometry] = block.reduce_mask(masks[level], geometry, capacity=capacity)
            lists[name] = found[geometry]
        return lists

    def densities(
        self, mask: jax.typing.ArrayLike, spatial_shape: Sequence[int], *, headroom: float = 1.25
    ) -> dict[str, float]:
        """The shares of the blocks that typical masks make active, by list: what to give as ``density``.

        Not to be called inside ``jit``.

        Args:
          mask: bool or float ``[images, *spatial]``, as :meth:`blocks` takes them; the fullest image counts.
          spatial_shape: sizes of the map.
          headroom: how much more than that.

        Returns:
          A share above 0, at most 1, for each of :meth:`geometries`.

        Raises:
          ValueError: a mask whose sizes do not fit, ``headroom`` below 1.
          TypeError: a mask that is neither bool nor float, or traced.

        Example::

          >>> import jax.numpy as jnp
          >>> from flax import nnx
          >>> from jaxsparse import models

          >>> model = models.BlockDetector(
          ...     3, stem_features=(4,), features=(8, 8), units=(1, 2), neck_features=4,
          ...     upsample_features=(4,), block_sizes=(9, 9, 5), rngs=nnx.Rngs(0),
          ... )
          >>> masks = jnp.zeros((2, 20, 24), bool).at[0, :5, :5].set(True)
          >>> found = model.densities(masks, (20, 24), headroom=1.0)
          >>> round(found["stem"], 3), round(found["heads"], 3)
          (0.083, 0.25)
        """
        shapes = self._shapes(spatial_shape)
        mask = checks.array("densities", "mask", mask)
        if checks.concrete(mask) is None:
            wording = "known: densities counts, which jit cannot"
            raise TypeError(expected("densities", "mask", wording, checks.described(mask)))
        headroom = checks.number("densities", "headroom", headroom, low=1)
        levels = [nn.resize_mask(mask, shape) for shape in shapes]
        found: dict[Any, float] = {}
        shares = {}
        for name, (level, geometry) in self.geometries(spatial_shape).items():
            if geometry not in found:
                counts = [
                    int(block.reduce_mask(levels[level][i : i + 1], geometry, capacity=1).count)
                    for i in range(mask.shape[0])
                ]
                found[geometry] = max([1, *counts]) / geometry.blocks
            shares[name] = min(1.0, headroom * found[geometry])
        return shares

    def __call__(
        self, x: jax.typing.ArrayLike, blocks: Lists | None = None, *, gate: Any = None
    ) -> dict[str, jax.Array]:
        """Scores, boxes and orientations.

        Args:
          x: ``[batch, height, width, in_features]``.
          blocks: what :meth:`blocks` returned for maps of this size; None: dense.
          gate: float ``[batch, *spatial]`` at any of the resolutions; the features in front of the heads are multiplied by
            it. With ``nn.straight_through_mask`` it lets a mask network train end to end.

        Returns:
          ``classes`` (logits), ``boxes`` and ``orientations``: ``[batch, height', width', ...]`` at the resolution of the
          last upsampling layer.

        Raises:
          ValueError: shapes that do not fit, a list that is missing.
          TypeError: ``x`` is not floating point.
        """
        y = checks.float_array(NAME, "x", x)
        if y.ndim != 4 or y.shape[-1] != self.in_features or 0 in y.shape:
            wording = f"of shape [batch, height, width, {self.in_features}]"
            raise ValueError(expected(NAME, "x", wording, f"shape {y.shape}"))
        names = list(self.geometries(y.shape[1:-1]))
        if blocks is None:
            lists: dict[str, Any] = dict.fromkeys(names)
        elif not isinstance(blocks, dict) or set(blocks) != set(names):
            what = sorted(blocks) if isinstance(blocks, dict) else checks.kind(blocks)
            wording = f"what blocks() returned, with {names}"
            raise ValueError(expected(NAME, "blocks", wording, what))
        else:
            lists = blocks
        for layer in self.stem:
            (y,) = layer(y, lists["stem"])
        skips = []
        for i, stage in enumerate(self.stages, 1):
            for j, unit in enumerate(stage):
                y = unit(y, lists[f"stage{i}" if j else f"down{i}"])
            skips.append(y)
        skips.pop()
        (y,) = self.neck(y, lists["neck"])
        for i, up in enumerate(self.upsamplings, 1):
            y = up(y, skips.pop(), lists[f"up{i}"])
        if gate is not None:
            gate = checks.float_array(NAME, "gate", gate).astype(y.dtype)
            y = y * nn.resize_mask(gate, y.shape[1:-1])[..., None]
        outputs = self.heads(y, lists["heads"], (self.background, 0.0, 0.0))
        return dict(zip(("classes", "boxes", "orientations"), outputs, strict=True))

    def _share(self, name: str) -> float:
        """The density of a list."""
        return dict(self.density)[name] if isinstance(self.density, tuple) else self.density

    def _checked(self, density: Any) -> float | tuple[tuple[str, float], ...]:
        """A share, or one for each list; hashable."""
        if not isinstance(density, Mapping):
            return float(capacities.share_of(NAME, "density", density))
        # Any size will do for the names.
        names = list(self.geometries((64 * 2 ** len(self.features),) * 2))
        if sorted(density) != sorted(names):
            wording = f"a number, or one for each of {names}"
            raise ValueError(expected(NAME, "density", wording, sorted(map(str, density))))
        return tuple(
            (name, capacities.share_of(NAME, f"density[{name!r}]", density[name])) for name in names
        )

    def _shapes(self, spatial_shape: Any) -> list[tuple[int, ...]]:
        """Sizes at every resolution."""
        shapes = [windows.spatial_shape(NAME, spatial_shape)]
        if len(shapes[0]) != 2:
            raise ValueError(expected(NAME, "spatial_shape", "2 integers", shapes[0]))
        for _ in self.features:
            shapes.append(tuple(-(-n // 2) for n in shapes[-1]))
        return shapes


NAME = BlockDetector.__name__


def _size(argument: str, value: Any) -> int:
    return checks.integer(NAME, argument, value, minimum=1)
