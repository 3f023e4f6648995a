"""Means over batches, on the host."""

from typing import Any

import jax
import numpy as np

from experiments.multiply_adds import multiply_adds
from experiments.train.step import Metrics


class Aggregate:
    """Collects the metrics of batches without waiting for the device, and averages them on demand."""

    def __init__(self) -> None:
        self._pending: list[Metrics] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, metrics: Metrics) -> None:
        """Takes one batch's metrics, still on the device."""
        self._pending.append(metrics)

    def take(self) -> dict[str, Any]:
        """Waits for what was added, returns its weighted mean and forgets it.

        Of ``peak`` it is the maximum, of ``live`` the last, of ``confusion`` the sum, of ``work`` the sum of multiply-adds,
        as ``live_macs``.
        """
        batches = jax.device_get(self._pending)
        self._pending = []
        weight = np.array([batch["weight"] for batch in batches], np.float64)

        def mean(values: list[Any]) -> Any:
            return np.average(np.stack(values).astype(np.float64), axis=0, weights=weight)

        layers = {
            key: mean([batch["layers"][key] for batch in batches]).tolist()
            for key in ("stored", "found", "dropped")
        }
        layers["peak"] = np.max([batch["layers"]["peak"] for batch in batches], axis=0).tolist()
        live: dict[str, dict[str, int]] = {}
        last = batches[-1].get("live")
        if last is not None:
            live["live"] = {key: int(last[key]) for key in sorted(last, key=_number)}
        if "work" in batches[-1]:
            work = [batch["work"] for batch in batches]
            live["live_macs"] = {
                key: sum(multiply_adds(part[key]["met"], part[key]["live"]) for part in work)
                for key in sorted(work[0], key=_number)
            }
        confusion = (
            {"confusion": np.sum([batch["confusion"] for batch in batches], axis=0).tolist()}
            if "confusion" in batches[-1]
            else {}
        )
        return {
            "loss": float(mean([batch["loss"] for batch in batches])),
            "accuracy": float(mean([batch["accuracy"] for batch in batches])),
            "weight": float(weight.sum()),
            "layers": layers,
            **live,
            **confusion,
        }


def _number(name: str) -> int:
    return int(name.removeprefix("conv"))


def merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Loss and accuracy over several aggregates; NaN over none."""
    if not parts:
        return {"loss": float("nan"), "accuracy": float("nan")}
    weight = [part["weight"] for part in parts]
    return {
        key: float(np.average([part[key] for part in parts], weights=weight))
        for key in ("loss", "accuracy")
    }
