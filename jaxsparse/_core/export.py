"""What ``jax.export`` has to be told about the kernels."""

import jax.export

import xla_kernels


def export_checks() -> list[jax.export.DisabledSafetyCheck]:
    """The checks to disable when a program with jaxsparse in it is exported.

    ``jax.export`` lets only custom calls pass whose stability it knows. Ours keep their names, operands and attributes
    within a minor version of jaxsparse; the machine that loads the program must have jaxsparse imported.

    Returns:
      A list for the argument ``disabled_checks`` of ``jax.export.export``.

    Example::

      >>> import jax
      >>> import jaxsparse
      >>> from jaxsparse import direct

      >>> def network(x):
      ...     return direct.relu(direct.SparseTensor.from_dense(x, density=0.5)).to_dense()
      >>> image = jax.ShapeDtypeStruct((1, 8, 8, 1), "float32")
      >>> exported = jax.export.export(
      ...     jax.jit(network), platforms=("cpu", "cuda"), disabled_checks=jaxsparse.export_checks()
      ... )(image)
      >>> exported.platforms
      ('cpu', 'cuda')
    """
    return [jax.export.DisabledSafetyCheck.custom_call(name) for name in xla_kernels.targets()]
