"""What the layers of a trained network store for some images, small enough for a page."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import UserError
from experiments.report.blocks import Block, Pictures, Text

if TYPE_CHECKING:  # a page without pictures need not load JAX's network code
    from experiments.activations import Trained

CHANNELS = 8
"""Channels of a layer that are shown: those with the largest sums."""
VOXELS = 4000
"""Entries of a channel that are shown: the strongest ones."""

Encoded = dict[str, Any]


def load(run: Path, overrides: tuple[str, ...] = ()) -> "Trained | Text":
    """The network of a run's newest checkpoint, or why there is none.

    Args:
      run: the run's folder.
      overrides: ``key=value`` strings for the run's configuration, as ``data.root=DIR``.
    """
    if not (run / "checkpoints").is_dir():
        return Text(
            "Pictures of the layers need a run's folder with a checkpoint; there is none here.",
            missing=True,
        )
    from experiments.activations import load_networks

    try:
        return load_networks(run, overrides)
    except UserError as error:
        return Text(f"Pictures of the layers could not be made: {error}", missing=True)
    except Exception as error:  # of Orbax: a checkpoint that is damaged, or goes away meanwhile
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Text(f"The newest checkpoint cannot be read: {reason[:300]}", missing=True)


def bounds(trained: "Trained | Text") -> dict[str, float]:
    """The density bounds of the layers."""
    if isinstance(trained, Text):
        return {}
    from experiments.train.evaluate import describe

    layers = describe(trained.config, trained.network, trained.dataset)
    return {layer.name: layer.bound for layer in layers}


def pictures(trained: "Trained | Text", indices: Sequence[int]) -> list[Block]:
    """What the layers store.

    Args:
      trained: of :func:`load`.
      indices: which images of the test set.

    Raises:
      UserError: an index is out of range.
    """
    if isinstance(trained, Text):
        return [trained]
    if trained.config.model.kind == "s3dcnn":
        return [Text("python -m experiments retrieve RUN draws what this network finds.")]
    dimensions = len(trained.dataset.image_shape) - 1
    if dimensions not in (2, 3):
        return [Text(f"There are no pictures of data of {dimensions} dimensions.", missing=True)]
    samples = [_sample(trained, index, dimensions) for index in indices]
    way = (
        "The entries that the layers store for an image of the test set, as cubes: drag with the pointer, or press the "
        "arrow keys on a picture, to rotate all of them. "
        if dimensions == 3
        else "What the layers store for an image of the test set: the network above and, where it is sparse, its dense "
        "twin with the same weights below, on one scale of colours. "
    )
    cut = (
        f"Colours go from 0 to a layer's largest value. Shown are the {CHANNELS} channels with the largest sums"
        + (
            f", and of a channel the {VOXELS:,} strongest entries."
            if _was_cut(samples)
            else ", and of these every entry."
        )
    )
    return [
        Text(f"{way}From the checkpoint of step {trained.step}. {cut}"),
        Pictures({"dimensions": dimensions, "samples": samples}),
    ]


def _sample(trained: "Trained", index: int, dimensions: int) -> Encoded:
    image, label = trained.sample(index)
    names = trained.dataset.class_names
    outputs = trained.network.activations(image)
    scores = np.asarray(trained.network.head(list(outputs.values())[-1]), np.float32)
    title = f"test image {index}: {names[label]}, taken for {names[int(scores[0].argmax())]}"
    twin = trained.twin.activations(image) if dimensions == 2 and trained.twin is not None else None
    layers = [_layer(name, x, None if twin is None else twin[name]) for name, x in outputs.items()]
    return {"title": title, "layers": layers}


def _layer(name: str, x: Any, dense: Any) -> Encoded:
    shape, channels, entries = _entries(x)
    rows = [("sparse" if dense is not None else "", entries)]
    if dense is not None:
        rows.append(("dense twin", _entries(dense)[2]))
    sums = np.array([entries(channel)[1].sum() for channel in range(channels)])
    chosen = [int(channel) for channel in np.argsort(-sums, kind="stable")[:CHANNELS]]
    held = [(title, [of(channel) for channel in chosen]) for title, of in rows]
    peak = max(
        (float(np.abs(values).max()) for _, row in held for _, values in row if len(values)),
        default=0.0,
    )
    return {
        "name": name,
        "shape": list(shape),
        "channels": channels,
        "peak": float(f"{peak:.3g}"),
        "rows": [
            {
                "title": title,
                "channels": [
                    {"channel": number, **encode(keys, values, peak, int(np.prod(shape)))}
                    for number, (keys, values) in zip(chosen, row, strict=True)
                ],
            }
            for title, row in held
        ],
    }


def _entries(
    x: Any,
) -> tuple[tuple[int, ...], int, Callable[[int], tuple[np.ndarray, np.ndarray]]]:
    """Shape, channels, and keys and values of a channel, of the first image of a layer's output."""
    from jaxsparse import direct

    if isinstance(x, direct.SparseTensor):
        keys, values = np.asarray(x.keys)[0], np.asarray(x.values)[0].astype(np.float32)
        stored = np.asarray(x.stored)[0]

        def of_sparse(channel: int) -> tuple[np.ndarray, np.ndarray]:
            return keys[channel, : stored[channel]], values[channel, : stored[channel]]

        return tuple(x.spatial_shape), keys.shape[0], of_sparse
    array = np.asarray(x)[0].astype(np.float32)

    def of_dense(channel: int) -> tuple[np.ndarray, np.ndarray]:
        flat = array[..., channel].ravel()
        (found,) = np.nonzero(flat)
        return found, flat[found]

    return array.shape[:-1], array.shape[-1], of_dense


def encode(keys: np.ndarray, values: np.ndarray, peak: float, volume: int) -> Encoded:
    """Keys and bytes of values in base64, the strongest ``VOXELS`` of them.

    Keys are little-endian uint16 where the volume allows, else uint32, in ascending order. Values are 1 to 255, of the
    peak; what is not finite is 255.
    """
    size = np.abs(values)
    if len(keys) > VOXELS:
        kept = np.sort(np.argsort(-size, kind="stable")[:VOXELS])
        keys, size = keys[kept], size[kept]
    share = np.nan_to_num(size / (peak or 1.0), nan=1.0, posinf=1.0)
    levels = np.clip(np.rint(255 * share), 1, 255).astype(np.uint8)
    wide = np.dtype("<u2" if volume <= 1 << 16 else "<u4")
    return {
        "stored": len(values),
        "shown": len(keys),
        "keys": base64.b64encode(keys.astype(wide).tobytes()).decode(),
        "values": base64.b64encode(levels.tobytes()).decode(),
    }


def _was_cut(samples: list[Encoded]) -> bool:
    return any(
        channel["shown"] < channel["stored"]
        for sample in samples
        for layer in sample["layers"]
        for row in layer["rows"]
        for channel in row["channels"]
    )
