"""Programs that leave the process: jax.export and the persistent compilation cache."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxsparse
import xla_kernels
from jaxsparse.direct import _kernels
from tests.direct.jax_rules import (
    IN,
    SPATIAL,
    assert_trees_close,
    assert_trees_equal,
    image,
    loss,
    network,
    parameters,
)

pytestmark = pytest.mark.core


def exported(f, *args, **kwargs):
    made = export.export(jax.jit(f), disabled_checks=jaxsparse.export_checks(), **kwargs)(*args)
    vjp_order = kwargs.get("vjp_order", 0)
    return export.deserialize(made.serialize(vjp_order=vjp_order))


def test_checks_cover_every_target():
    assert len(jaxsparse.export_checks()) == len(xla_kernels.targets()) == 43


def test_without_the_checks_jax_refuses():
    with pytest.raises(ValueError, match="jaxsparse_direct_"):
        export.export(jax.jit(network))(parameters(), image())


def test_round_trip_for_two_platforms():
    params, x = parameters(), image()
    again = exported(network, params, x, platforms=("cpu", "cuda"))
    assert again.platforms == ("cpu", "cuda")
    assert_trees_equal(again.call(params, x), network(params, x))
    # One program for both: nothing is chosen by platform.
    assert "stablehlo.case" not in again.mlir_module()


def test_the_workspace_is_that_of_the_platform():
    """Of both platforms the larger one."""
    keys = jax.ShapeDtypeStruct((2, 3, 10000), jnp.int32)
    values = jax.ShapeDtypeStruct(keys.shape, jnp.float32)

    def program(keys, values):
        return _kernels.relu.native(20000, keys, values)

    def text(*platforms):
        made = export.export(
            jax.jit(program), platforms=platforms, disabled_checks=jaxsparse.export_checks()
        )(keys, values)
        return made.mlir_module()

    size = _kernels.relu.workspace_bytes(20000, keys, values, platform="cuda")
    assert size > _kernels.relu.workspace_bytes(20000, keys, values, platform="cpu") == 0
    assert "tensor<0xui8>" in text("cpu")
    assert f"tensor<{size}xui8>" in text("cuda")
    assert f"tensor<{size}xui8>" in text("cpu", "cuda")


def test_gradient_round_trip():
    params, x = parameters(), image()
    again = exported(jax.grad(loss), params, x, platforms=("cpu", "cuda"))
    assert_trees_close(again.call(params, x), jax.grad(loss)(params, x))


def test_gradient_of_an_exported_function():
    params, x = parameters(), image()
    made = export.export(jax.jit(loss), disabled_checks=jaxsparse.export_checks())(params, x)
    again = export.deserialize(made.serialize(vjp_order=2))
    assert_trees_close(jax.grad(again.call)(params, x), jax.grad(loss)(params, x))


def test_symbolic_batch():
    params = parameters()
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *SPATIAL, IN), jnp.float32)
    again = exported(network, params, shape, platforms=("cpu", "cuda"))
    gradient = exported(jax.grad(loss), params, shape)
    for size in (1, 3):
        x = image(size)
        assert_trees_equal(again.call(params, x), network(params, x))
        assert_trees_close(gradient.call(params, x), jax.grad(loss)(params, x))


def test_symbolic_batch_under_vmap():
    params = parameters()
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((3, batch, *SPATIAL, IN), jnp.float32)
    mapped = jax.vmap(network, (None, 0))
    again = exported(mapped, params, shape)
    x = jnp.stack([image(seed=s) for s in range(3)])
    assert_trees_equal(again.call(params, x), mapped(params, x))


def test_several_devices_through_shard_map():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    batch, whole = PartitionSpec("data"), PartitionSpec()
    sharded = jax.shard_map(network, mesh=mesh, in_specs=(whole, batch), out_specs=batch)
    params = jax.device_put(parameters(), NamedSharding(mesh, whole))
    x = jax.device_put(image(16), NamedSharding(mesh, batch))
    again = exported(sharded, params, x)
    assert again.nr_devices == 8
    assert_trees_equal(again.call(params, x), network(parameters(), image(16)))


def test_persistent_cache_hits_in_another_process(tmp_path):
    code = textwrap.dedent(
        """
        import jax, jax.monitoring
        events = []
        jax.monitoring.register_event_listener(lambda event, **kwargs: events.append(event))
        from tests.direct.jax_rules import image, loss, parameters
        jax.block_until_ready(jax.jit(jax.grad(loss))(parameters(), image()))
        print([sum(e.endswith(kind) for e in events) for kind in ("cache_hits", "cache_misses")])
        """
    )
    environment = {
        **os.environ,
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }

    def hits_and_misses():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return tuple(np.fromstring(done.stdout.strip()[1:-1], int, sep=","))

    hits, misses = hits_and_misses()
    assert misses > 0 and hits == 0
    hits, misses = hits_and_misses()
    assert hits > 0 and misses == 0
