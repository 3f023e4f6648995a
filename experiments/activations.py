"""What the layers of a trained network store for one image: densely above, sparsely below."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.config import ExperimentConfig
from experiments.data import Dataset
from experiments.errors import UserError
from experiments.models import build_model
from experiments.train.evaluate import load_trained
from jaxsparse import nn
from jaxsparse.models import OctNet3


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and its data.

    Attributes:
      step: of the checkpoint.
      config: of the run.
      dataset: of the run.
      network: a ``Network`` in evaluation mode.
    """

    step: int
    config: ExperimentConfig
    dataset: Dataset
    network: Any

    @functools.cached_property
    def twin(self) -> OctNet3 | None:
        """The dense twin with the same weights; ``None`` if the network is dense itself."""
        if self.config.model.kind == "s3dcnn" or not self.config.model.sparse:
            return None
        dense = self.config.model.model_copy(update={"sparse": False})
        # Its own weights would be drawn to be thrown away.
        twin = nnx.eval_shape(lambda: build_model(dense, self.dataset, seed=self.config.seed))
        nnx.update(twin, nnx.state(self.network, nnx.Param))
        twin.eval()
        return twin

    def sample(self, index: int) -> tuple[jax.Array, int]:
        """An image ``[1, *spatial, channels]`` of the test set and its label.

        Raises:
          UserError: there is no such image.
        """
        if not 0 <= index < len(self.dataset.test):
            raise UserError(f"--index {index}: the test set has {len(self.dataset.test)} images")
        image, label = self.dataset.test.gather(np.array([index]))
        return jnp.asarray(image), int(label[0])


def load_networks(run: Path, overrides: tuple[str, ...] = ()) -> Trained:
    """The network of a run's newest checkpoint.

    Args:
      run: folder of a run, or one of its checkpoints.
      overrides: ``key=value`` strings for the run's configuration.

    Raises:
      UserError: there is no checkpoint, it does not fit the configuration, or the data cannot be read.
    """
    step, config, dataset, steps, state = load_trained(run, overrides=overrides)
    return Trained(step, config, dataset, steps.trained(state))


def draw_activations(
    run: Path,
    output: Path,
    *,
    index: int = 0,
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3"),
    overrides: tuple[str, ...] = (),
) -> Path:
    """Draws one channel of some layers, as ILA-SCNN's Fig. 2 does.

    The upper row is the dense twin with the *same* weights, so that a column shows the same filter twice. The channel of
    each layer is the one with the largest sum in the sparse network. Voxels at 0 are left white. Solids are shown as
    their maximum along the first axis.

    Args:
      run: folder of a run of a sparse network, or one of its checkpoints.
      output: the picture; its ending says in what format.
      index: which image of the test set.
      layers: which layers, named as in ``metrics.jsonl``.
      overrides: ``key=value`` strings for the run's configuration.

    Returns:
      ``output``.

    Raises:
      UserError: there is no such run, image or layer, or the run is of a dense network.
    """
    trained = load_networks(run, overrides)
    if not isinstance(trained.network, OctNet3):
        raise UserError(
            f"{run} is a run of model.kind {trained.config.model.kind}; give one of octnet3"
        )
    if trained.twin is None:
        raise UserError(f"{run} is a run of a dense network; give one of a sparse network")
    image, label = trained.sample(index)
    dataset = trained.dataset
    below = {
        name: np.asarray(nn.to_dense(x))[0]
        for name, x in trained.network.activations(image).items()
    }
    above = {
        name: np.asarray(nn.to_dense(x))[0] for name, x in trained.twin.activations(image).items()
    }
    unknown = [name for name in layers if name not in below]
    if unknown:
        raise UserError(f"no layer {unknown[0]!r}; there are {', '.join(below)}")
    figure = _figure(np.asarray(image[0]), above, below, layers)
    figure.suptitle(
        f"{dataset.name}, test image {index} ({dataset.class_names[label]}): "
        "the dense network above, the sparse one below, same weights",
        fontsize=9,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    return output


def _figure(
    image: np.ndarray,
    above: dict[str, np.ndarray],
    below: dict[str, np.ndarray],
    layers: tuple[str, ...],
) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * (1 + len(layers)), 4.9), layout="constrained")
    axes = figure.subplots(2, 1 + len(layers), squeeze=False)
    for row, outputs in enumerate((above, below)):
        _show(axes[row, 0], image[..., 0], None, "input")
        for column, name in enumerate(layers, start=1):
            channel = int(below[name].sum(axis=tuple(range(below[name].ndim - 1))).argmax())
            values = outputs[name][..., channel]
            # One scale for both rows: a column shows the same filter twice.
            peak = max(above[name][..., channel].max(), below[name][..., channel].max())
            share = np.count_nonzero(values) / values.size
            _show(
                axes[row, column], values, peak, f"{name}, channel {channel}: {100 * share:.1f} %"
            )
    axes[0, 0].set_ylabel("dense", fontsize=9)
    axes[1, 0].set_ylabel("sparse", fontsize=9)
    return figure


def _show(axis: Any, values: np.ndarray, peak: float | None, title: str) -> None:
    flat = values.max(axis=0) if values.ndim == 3 else values
    # What is not stored is not a small value: it gets no colour.
    shown = np.ma.masked_equal(flat, 0)
    axis.imshow(shown, cmap="viridis_r", vmin=0, vmax=peak, interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
