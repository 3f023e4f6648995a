"""spconv and Open3D in a process of their own: ``PYTHON voxel_worker.py THREADS``, in an environment that has them.

It needs no JAX. Lines of JSON come in, one answer a line goes out; the seconds are taken here. spconv's CPU code is right on
one thread only.
"""

import json
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = sys.argv[1] if len(sys.argv) > 1 else "1"

import numpy as np


def shell(resolution: int) -> np.ndarray:
    """int32 ``[n, 3]``: the voxels of a sphere's shell, 1.25 thick, in row-major order; contiguous, as spconv wants it."""
    grid = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), -1)
    distance = np.sqrt(((grid - resolution / 2 + 0.5) ** 2).sum(-1))
    inside = (distance <= resolution / 2) & (distance >= resolution / 2 - 1.25)
    return np.ascontiguousarray(np.argwhere(inside).astype(np.int32))


def versions() -> dict:
    """What is installed here."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("torch", "spconv", "cumm", "open3d-cpu"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


class Spconv:
    """Submanifold convolutions of a shell, and the basic network of spconv's own benchmark."""

    def __init__(self):
        import spconv.pytorch as spconv  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.manual_seed(0)
        # Its backward pass asks for a CUDA stream.
        spconv.ops.get_current_stream = lambda: 0
        self.torch, self.spconv = torch, spconv

    def tensor(self, coords, features, shape):
        batched = np.ascontiguousarray(np.pad(coords, ((0, 0), (1, 0))))
        torch = self.torch
        return self.spconv.SparseConvTensor(
            torch.from_numpy(features), torch.from_numpy(batched), list(shape), 1
        )

    def shell(self, resolution, channels, passes):
        coords = shell(resolution)
        features = np.random.default_rng(0).standard_normal((len(coords), channels))
        x = self.tensor(coords, features.astype(np.float32), (resolution,) * 3)
        layer = self.spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="map")
        torch = self.torch
        with torch.no_grad():
            known = layer(x)  # holds the map
        if passes == "map and forward":

            def run():
                with torch.no_grad():
                    layer(self.tensor(coords, features32, (resolution,) * 3))

            features32 = features.astype(np.float32)
            return run
        if passes == "forward":

            def run():
                with torch.no_grad():
                    layer(known.replace_feature(x.features))

            return run
        cotangent = torch.randn(len(coords), channels)

        def run():
            leaf = x.features.detach().requires_grad_()
            y = layer(known.replace_feature(leaf)).features
            torch.autograd.grad(y, (leaf, layer.weight), cotangent)

        return run

    def basic(self, path):
        torch, spconv = self.torch, self.spconv
        with np.load(path) as data:
            coords, features = np.ascontiguousarray(data["coords"]), data["features"]
            shape = data["spatial_shape"].tolist()
        layers, before = [], 3
        for level, channels in enumerate((64, 96, 128, 160, 192, 224, 256)):
            if level:
                layers.append(spconv.SparseMaxPool3d(2, 2))
            for _ in range(2):
                key = f"level{level}"
                layers.append(spconv.SubMConv3d(before, channels, 3, bias=False, indice_key=key))
                before = channels
        net = spconv.SparseSequential(*layers)

        def run():
            with torch.no_grad():
                return net(
                    spconv.SparseConvTensor(
                        torch.from_numpy(features), torch.from_numpy(coords), shape, 1
                    )
                )

        return run


class Open3d:
    """Its sparse convolution finds neighbours anew at each call."""

    def __init__(self):
        import open3d.ml.torch as ml3d  # pyright: ignore[reportMissingImports]
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.manual_seed(0)
        self.torch, self.ml3d = torch, ml3d

    def shell(self, resolution, channels, passes):
        torch = self.torch
        points = torch.from_numpy(shell(resolution).astype(np.float32))
        features = torch.randn(len(points), channels)
        layer = self.ml3d.layers.SparseConv(
            channels, channels, [3, 3, 3], use_bias=False, normalize=False
        )
        if passes == "map and forward":

            def run():
                with torch.no_grad():
                    layer(features, points, points, voxel_size=1.0)

            return run
        if passes != "map, forward and backward":
            raise ValueError("it keeps no map")
        cotangent = torch.randn(len(points), channels)

        def run():
            leaf = features.detach().requires_grad_()
            y = layer(leaf, points, points, voxel_size=1.0)
            torch.autograd.grad(y, (leaf, layer.kernel), cotangent)

        return run


PEERS = {"spconv": Spconv, "Open3D": Open3d}


def main() -> None:
    """Answers until its input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    peers, calls = {}, {}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "versions":
                answer = versions()
            elif asked["do"] == "make":
                peer = asked["peer"]
                if peer not in peers:
                    peers[peer] = PEERS[peer]()
                make = getattr(peers[peer], asked["workload"])
                calls[asked["name"]] = make(*asked["arguments"])
                answer = {}
            else:
                call, begin = calls[asked["name"]], time.perf_counter()
                for _ in range(asked["count"]):
                    call()
                answer = {"seconds": time.perf_counter() - begin}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
