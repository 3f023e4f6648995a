"""compact: smaller kernels, the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, models, nn


def sparse(rng, channels=3, spatial=(7, 6)):
    x = rng.normal(size=(2, *spatial, channels)).astype(np.float32)
    return direct.SparseTensor.from_dense(np.where(rng.random(x.shape) < 0.4, x, 0), density=0.6)


def conv(i, o, key, **options):
    options = {"density": 0.5, "bias_init": nnx.initializers.normal()} | options
    return nn.DirectConv(i, o, (3, 3), **options, rngs=nnx.Rngs(key))


def kill(layer, *, outputs=(), inputs=()):
    mask = np.array(layer.mask[...])
    mask[..., list(outputs)] = False
    mask[..., list(inputs), :] = False
    layer.mask[...] = jnp.asarray(mask)


def same(model, small, *inputs):
    """The results of both, called in evaluation mode, are equal to the bit."""

    def run(model, *inputs):
        copy = nnx.clone(model)
        copy.eval()
        return nnx.jit(lambda model, *x: model(*x))(copy, *inputs)

    a, b = (run(m, *inputs) for m in (model, small))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    return a


def shapes(model):
    return [node.kernel.shape[-2:] for _, node in nnx.iter_graph(model) if hasattr(node, "kernel")]


def test_a_layer_keeps_what_its_mask_leaves(rng):
    layer = conv(3, 5, 0)
    kill(layer, outputs=[1, 4], inputs=[0])
    small = nn.compact(layer)
    assert small.kernel.shape == small.mask.shape == (3, 3, 2, 3)
    assert small.bias.shape == small.density.shape == (3,)
    assert (small.channels_read, small.channels_made) == ((1, 2), (0, 2, 3))
    y = same(layer, small, sparse(rng))
    assert y.channels == 5 and not y.nnz[:, [1, 4]].any() and y.nnz[:, [0, 2, 3]].all()
    assert layer.kernel.shape == (3, 3, 3, 5)  # left as it is


def test_gradients_and_statistics_are_those_of_the_large_one(rng):
    layer = conv(3, 5, 0, select="relu")
    kill(layer, outputs=[1, 4], inputs=[0])
    small, x = nn.compact(layer), sparse(rng)

    def gradients(layer, values):
        def loss(layer, values):
            return (layer(x.replace(values=values)).values ** 2).sum()

        return nnx.grad(loss, argnums=(0, 1))(layer, values)

    (of_layer, of_x), (of_small, of_x_small) = (
        nnx.jit(gradients)(m, x.values) for m in (layer, small)
    )
    part = np.ix_([1, 2], [0, 2, 3])
    np.testing.assert_array_equal(of_layer["kernel"][...][..., *part], of_small["kernel"][...])
    np.testing.assert_array_equal(of_layer["bias"][...][part[1][0]], of_small["bias"][...])
    np.testing.assert_array_equal(of_x, of_x_small)
    np.testing.assert_array_equal(layer.density[...][part[1][0]], small.density[...])


class Chain(nnx.Module):
    """Everything between layers that is not a layer."""

    def __init__(self):
        self.a = conv(2, 4, 1, select="relu")
        self.norm = nn.BatchNorm(4, rngs=nnx.Rngs(0))
        self.b = conv(4, 4, 2)
        self.c = conv(8, 3, 3)
        self.dropout = nn.Dropout(0.5, rngs=nnx.Rngs(5))
        self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(4))

    def __call__(self, x):
        a = self.dropout(nn.max_pool(self.norm(self.a(x)), 2))
        b = nn.add(nn.relu(self.b(a)), a)
        c = self.c(nn.concat([b, a]))
        return self.head(nn.global_avg_pool(c))


def test_dead_channels_are_followed_through_the_network(rng):
    """a.1 is dead: b reads 0, 2, 3; b.1 is dead, too, so that the sum b + a has nothing in channel 1, and c's inputs 1
    and 5 are empty. b.2 is dead, but a.2 comes by the skip connection."""
    model, x = Chain(), sparse(rng, channels=2)
    kill(model.a, outputs=[1])
    kill(model.b, outputs=[1, 2])
    small = nn.compact(model, x)
    assert small.a.kernel.shape[-2:] == (2, 3)
    assert (small.b.channels_read, small.b.channels_made) == ((0, 2, 3), (0, 3))
    assert small.c.channels_read == (0, 2, 3, 4, 6, 7)
    assert small.head.kernel.shape == (3, 2)
    assert np.isfinite(same(model, small, x)).all()
    # The masks alone say less.
    assert nn.compact(model).c.channels_read is None


def test_channels_that_nothing_depends_on_are_removed_backwards(rng):
    """c reads a.3 neither by itself nor by the sum, b not at all: b.3 goes, then a.3."""
    model, x = Chain(), sparse(rng, channels=2)
    kill(model.c, inputs=[3, 7])
    kill(model.b, inputs=[3])
    small = nn.compact(model, x)
    assert small.a.channels_made == small.b.channels_made == (0, 1, 2)
    assert small.c.channels_read == (0, 1, 2, 4, 5, 6)
    same(model, small, x)
    kept = nn.compact(model)
    assert kept.a.channels_made is None and kept.b.channels_read == (0, 1, 2)


def test_what_is_dead_makes_others_dead(rng):
    """b and c live on channel 0 of a alone; when it dies, all that is left is one channel each."""
    a, b, c = conv(2, 3, 1), conv(3, 3, 2), conv(3, 2, 3)
    model = nnx.Sequential(a, b, c)
    kill(a, outputs=[0])
    kill(b, inputs=[1, 2])
    small, x = nn.compact(model, sparse(rng, 2)), sparse(rng, 2)
    assert shapes(small) == [(1, 1)] * 3
    assert not same(model, small, x).nnz.any()


def test_keys_are_followed_where_values_are_not(rng):
    """Only the places of `onto` go into the result: they count."""

    class Spread(nnx.Module):
        def __init__(self):
            self.a, self.b, self.c = conv(2, 3, 1), conv(3, 3, 2), conv(3, 2, 3)

        def __call__(self, x):
            fine = self.a(x)
            return self.c(nn.unpool(self.b(nn.max_pool(fine, 2)), fine))

    model, x = Spread(), sparse(rng, 2)
    kill(model.b, inputs=[0])  # a.0 is read as places only
    small = nn.compact(model, x)
    assert small.a.channels_made is None and small.b.channels_read == (1, 2)
    same(model, small, x)


def test_a_layer_called_twice_keeps_what_either_call_needs(rng):
    class Twice(nnx.Module):
        def __init__(self):
            self.a, self.b = conv(2, 4, 1), conv(4, 4, 2)

        def __call__(self, x):
            return self.b(self.b(self.a(x)))

    model, x = Twice(), sparse(rng, 2)
    kill(model.a, outputs=[0, 1])
    kill(model.b, outputs=[1, 2])
    small = nn.compact(model, x)
    assert small.b.channels_read == (0, 2, 3) and small.b.channels_made == (0, 3)
    same(model, small, x)


def test_octnet3_trains_on_and_is_compacted_again(rng):
    options = {"stages": ((4, 4), (6,)), "hidden": 5, "dropout": 0.0, "rngs": nnx.Rngs(0)}
    model = models.OctNet3((8, 8), 3, densities=(0.3, 0.5), input_density=0.5, **options)
    kill(model.convs[0], outputs=[2])
    kill(model.convs[1], outputs=[0, 1, 3])
    x = jnp.asarray(np.where(rng.random((2, 8, 8, 1)) < 0.3, 1.0, 0.0), jnp.float32)
    small = nn.compact(model, x)
    assert [conv.kernel.shape[-2:] for conv in small.convs] == [(1, 3), (3, 1), (1, 6)]
    same(model, small, x)

    gradients = nnx.jit(nnx.grad(lambda model: (model(x) ** 2).sum()))(small)
    assert gradients["convs"][1]["kernel"][...].shape == (3, 3, 3, 1)
    masks = {"convs": {0: {"kernel": jnp.ones((3, 3, 1, 3), bool).at[..., 1].set(False)}}}
    nn.set_masks(small, masks)
    again = nn.compact(small, x)
    assert again.convs[0].channels_made == (0, 3)  # of the first model's channels
    assert again.convs[1].channels_read == (0, 3)
    same(small, again, x)
    assert set(nn.densities(again)["convs"]) == {0, 1, 2}
    assert [row.weights for row in nn.report(again, x).rows] == [18, 18, 54]


def test_nothing_to_remove_is_a_copy(rng):
    model, x = Chain(), sparse(rng, 2)
    small = nn.compact(model, x)
    assert shapes(small) == shapes(model)
    same(model, small, x)
    small.a.kernel[...] = jnp.zeros_like(small.a.kernel[...])
    assert model.a.kernel[...].any()


def test_a_shared_kernel_stays(rng):
    a, b = conv(2, 2, 1), conv(2, 2, 2)
    b.kernel = a.kernel
    kill(a, outputs=[0])
    model = nnx.Sequential(a, b)
    assert shapes(nn.compact(model, sparse(rng, 2))) == [(2, 2), (2, 2)]


def test_refusals():
    with pytest.raises(
        ValueError, match=r"model must be outside jit, got a traced mask in DirectC"
    ):
        nnx.jit(lambda model: nn.compact(model).kernel[...])(conv(2, 2, 1))
    stacked = nnx.vmap(lambda rngs: nn.DirectConv(1, 2, (3, 3), rngs=rngs))(nnx.Rngs(0).split(4))
    with pytest.raises(ValueError, match=r"DirectConv of a kernel of rank 4, got shape \(4, 3, 3"):
        nn.compact(stacked)
    layer = conv(3, 4, 0)
    kill(layer, inputs=[0])
    with pytest.raises(ValueError, match="x must be of 3 channels, got 2"):
        nn.compact(layer)(sparse(np.random.default_rng(0), 2))
