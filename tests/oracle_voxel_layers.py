"""Poolings, merging and normalisation of voxels as plain NumPy in float64; see `oracle_voxel.py`.

With a background the meaning is that of the dense volume; without one, that of the rows alone.
"""

import numpy as np

from tests.oracle_voxel import Window, silently, taps, to_dense


@silently
def pool(rows, features, out_rows, w: Window, kind, background=None):
    """(values [len(out_rows), C], source): the source of a maximum is a row, -1 the background; of the first maximum.

    `kind` is "max", "avg" or "sum". A site of a window that is inactive, or outside of the box, has the background's value;
    without a background it takes no part.
    """
    features = np.asarray(features, np.float64)
    number = {tuple(row): n for n, row in enumerate(np.asarray(rows).tolist())}
    channels = features.shape[1]
    values = np.zeros((len(out_rows), channels))
    source = np.zeros((len(out_rows), channels), int)
    for m, (b, *at) in enumerate(np.asarray(out_rows).tolist()):
        here = []
        for tap in taps(w):
            place = w.input(at, tap)
            n = None if place is None else number.get((b, *place))
            if n is not None:
                here.append((n, features[n]))
            elif background is not None:
                here.append((-1, np.asarray(background, np.float64)))
        stack = np.array([value for _, value in here])
        if kind == "max":
            for c in range(channels):
                nan = np.isnan(stack[:, c])
                first = int(nan.argmax() if nan.any() else stack[:, c].argmax())
                values[m, c], source[m, c] = stack[first, c], here[first][0]
        else:
            values[m] = stack.sum(0) if kind == "sum" else stack.mean(0)
    return values, source


@silently
def global_pool(rows, features, batch, spatial, kind, background=None):
    """[batch, C]: of all voxels with a background, else of the rows; 0 where there is none."""
    features = np.asarray(features, np.float64)
    out = np.zeros((batch, features.shape[1]))
    if background is not None:
        dense = to_dense(rows, features, batch, spatial, background)
        flat = dense.reshape(batch, -1, features.shape[1])
        return flat.max(1) if kind == "max" else flat.mean(1)
    for b in range(batch):
        mine = features[np.asarray(rows)[:, 0] == b]
        if len(mine):
            out[b] = mine.max(0) if kind == "max" else mine.mean(0)
    return out


def merged(lists, batch, spatial):
    """(rows of all lists, the features of each at them): inactive sites have its background, or 0.

    A list is (rows, features, background).
    """
    rows = np.array(sorted({tuple(r) for one, _, _ in lists for r in np.asarray(one).tolist()}))
    rows = rows.reshape(-1, 1 + len(spatial)).astype(np.int32)
    dense = [to_dense(*one[:2], batch, spatial, one[2]) for one in lists]
    return rows, [x[tuple(rows.T)] for x in dense]


def unpool(rows, features, onto_rows, w: Window):
    """Features at finer rows; `w` is the window of the pooling."""
    number = {tuple(row): n for n, row in enumerate(np.asarray(rows).tolist())}
    out = np.zeros((len(onto_rows), np.shape(features)[1]))
    for m, (b, *at) in enumerate(np.asarray(onto_rows).tolist()):
        for tap in taps(w):
            place = w.output(at, tap)
            if place is not None and (b, *place) in number:
                out[m] = features[number[(b, *place)]]
    return out


def batch_norm(features, epsilon=1e-5):
    """(features, mean, biased variance) over all rows."""
    x = np.asarray(features, np.float64)
    if not len(x):
        return x, np.zeros(x.shape[1]), np.zeros(x.shape[1])
    mean, var = x.mean(0), x.var(0)
    return (x - mean) / np.sqrt(var + epsilon), mean, var


def instance_norm(rows, features, batch, epsilon=1e-5):
    """Each batch element by itself."""
    out = np.asarray(features, np.float64).copy()
    for b in range(batch):
        mine = np.asarray(rows)[:, 0] == b
        out[mine] = batch_norm(out[mine], epsilon)[0]
    return out


def layer_norm(features, epsilon=1e-6):
    """Each row by itself."""
    x = np.asarray(features, np.float64)
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + epsilon)
