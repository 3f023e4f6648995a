"""Writes spconv_layers.npz, what spconv's own layers make of a few sites: ``python tests/voxel/spconv_layers.py``.

In an environment of its own: ``pip install spconv==2.3.8 cumm==0.7.11 torch``. Only test_interop.py reads the file. On a CPU
spconv is right on one thread only, and only with coordinates that lie contiguously.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

FILE = Path(__file__).with_suffix(".npz")

# name -> (class, spatial shape, arguments); "undoes" is the layer whose result an inverse convolution takes back
LAYERS = {
    "subm3d": ("SubMConv3d", (6, 7, 5), {"kernel_size": 3}),
    "subm3d_dilated": ("SubMConv3d", (6, 7, 5), {"kernel_size": 3, "dilation": 2}),
    "subm2d": ("SubMConv2d", (9, 8), {"kernel_size": (3, 5)}),
    "conv3d": ("SparseConv3d", (6, 7, 5), {"kernel_size": 3, "padding": 1}),
    "conv3d_strided": ("SparseConv3d", (6, 7, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "conv3d_even": ("SparseConv3d", (6, 7, 5), {"kernel_size": 2, "stride": 2}),
    "conv2d": ("SparseConv2d", (9, 8), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)}),
    "conv1d": ("SparseConv1d", (17,), {"kernel_size": 4, "stride": 3, "padding": 2}),
    "inverse3d": ("SparseInverseConv3d", (6, 7, 5), {"kernel_size": 3}),
    "transpose3d": (
        "SparseConvTranspose3d", (4, 3, 5), {"kernel_size": 3, "stride": 2, "padding": 1},
    ),
    "transpose2d": ("SparseConvTranspose2d", (5, 4), {"kernel_size": (2, 4), "stride": (2, 3)}),
}  # fmt: skip
UNDOES = {"inverse3d": ("conv3d_strided", {"kernel_size": 3, "stride": 2, "padding": 1})}
BATCH, IN, OUT = 2, 3, 4


def main() -> None:
    """Runs every layer once."""
    import spconv.pytorch as spconv
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    arrays = {}
    for name, (kind, shape, arguments) in LAYERS.items():
        every = np.array(list(np.ndindex(BATCH, *shape)), np.int32)
        coords = np.ascontiguousarray(every[rng.random(len(every)) < 0.15])
        features = rng.standard_normal((len(coords), IN)).astype(np.float32)
        x = spconv.SparseConvTensor(
            torch.from_numpy(features), torch.from_numpy(coords), list(shape), BATCH
        )
        with torch.no_grad():
            key = None
            if name in UNDOES:
                key = "key"
                _, before = UNDOES[name]
                x = spconv.SparseConv3d(IN, IN, **before, bias=False, indice_key=key)(x)
                arrays[f"{name}.x_coords"] = x.indices.numpy().copy()
                arrays[f"{name}.x_features"] = x.features.numpy().copy()
            layer = getattr(spconv, kind)(IN, OUT, **arguments, indice_key=key)
            layer.bias.copy_(torch.randn(OUT))
            y = layer(x)
        arrays[f"{name}.coords"], arrays[f"{name}.features"] = coords, features
        arrays[f"{name}.weight"] = layer.weight.detach().numpy()
        arrays[f"{name}.bias"] = layer.bias.detach().numpy()
        arrays[f"{name}.out_coords"] = y.indices.numpy()
        arrays[f"{name}.out_features"] = y.features.numpy()
        arrays[f"{name}.out_shape"] = np.array(y.spatial_shape)
    versions = {package: version(package) for package in ("spconv", "cumm", "torch", "numpy")}
    provenance = {"script": "tests/voxel/spconv_layers.py", "python": platform.python_version(), **versions}  # fmt: skip
    np.savez_compressed(FILE, provenance=json.dumps(provenance), **arrays)


if __name__ == "__main__":
    main()
