"""Where a run computes: one device, several, or several processes with devices each. JAX does the communication."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.config import ExperimentConfig
from experiments.data import Batch
from experiments.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run: a batch is spread over them, everything else is on each of them.

    Attributes:
      mesh: their only axis is the batch; ``None``: JAX's default device, nothing is placed anywhere.
      process: this process's number.
      processes: how many there are.
    """

    mesh: Mesh | None = None
    process: int = 0
    processes: int = 1

    @property
    def is_primary(self) -> bool:
        """Whether this process is the one that writes and shows things."""
        return self.process == 0

    def put_batch(self, batch: Batch) -> Any:
        """The batch over all devices, from this process's rows of it."""
        if self.mesh is None:
            return batch
        sharding = NamedSharding(self.mesh, PartitionSpec("batch"))
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(sharding, rows), dict(batch)
        )

    def put_state(self, state: Any) -> Any:
        """A copy of the state on every device."""
        sharding = self.replicated
        if sharding is None:
            return state

        def put(leaf: jax.Array) -> jax.Array:
            held = np.asarray(leaf)
            return jax.make_array_from_callback(held.shape, sharding, lambda index: held[index])

        return jax.tree.map(put, state)

    @property
    def replicated(self) -> NamedSharding | None:
        """How arrays lie that every device has all of."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def jit(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """``jax.jit``, the results on every device."""
        if self.mesh is not None:
            options["out_shardings"] = self.replicated
        return jax.jit(function, **options)

    def agreed(self, condition: bool) -> bool:
        """What process 0 says."""
        if self.processes == 1:
            return condition
        return bool(multihost_utils.broadcast_one_to_all(np.array(condition)))

    def anywhere(self, condition: bool) -> bool:
        """Whether it holds in one process at least."""
        if self.processes == 1:
            return condition
        return bool(np.any(multihost_utils.process_allgather(np.array(condition))))


def find_devices(config: ExperimentConfig) -> Devices:
    """The devices that a configuration names; joins the other processes if there are any.

    Raises:
      ConfigError: there are not so many, or a batch cannot be spread evenly over them.
    """
    distributed = config.distributed
    if distributed is not None and not jax.distributed.is_initialized():
        try:
            jax.distributed.initialize(
                distributed.coordinator_address,
                num_processes=distributed.num_processes,
                process_id=distributed.process_id,
            )
        except RuntimeError as error:
            raise ConfigError(f"distributed: cannot join the other processes: {error}") from error
    wanted = config.train.devices
    if distributed is None and wanted == 1:
        return Devices()
    held = jax.local_device_count()
    count = held if wanted == "all" else wanted
    if count > held:
        raise ConfigError(
            f"train.devices is {count}, but there are {held} on {jax.local_devices()[0].platform}"
        )
    processes = sorted({device.process_index for device in jax.devices()})
    devices = [
        device
        for process in processes
        for device in [d for d in jax.devices() if d.process_index == process][:count]
    ]
    for key in ("batch_size", "test_batch_size"):
        size = getattr(config.train, key)
        if size % len(devices):
            raise ConfigError(
                f"train.{key} is {size}, which {len(devices)} devices cannot share evenly"
            )
    return Devices(Mesh(np.array(devices), ("batch",)), jax.process_index(), jax.process_count())
