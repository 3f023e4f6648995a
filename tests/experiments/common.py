"""A configuration small enough to train in a second or two, and what a run of it left behind."""

import dataclasses
import itertools

from flax import nnx

from experiments.config import ExperimentConfig
from experiments.config.load import validate
from experiments.data import load_dataset
from experiments.models import build_model
from experiments.optimizers import build_optimizer
from experiments.train.checkpoint import Checkpoints
from experiments.train.step import make_steps

SMALL = {
    "name": "small",
    "data": {"kind": "digits"},
    "model": {"rho1": 0.1, "hidden": 16, "input_density": 0.5},
    "optimizer": {},
    "train": {"epochs": 1, "batch_size": 479, "test_batch_size": 200, "log_every": 2},
}


def small_config(**sections) -> ExperimentConfig:
    """``SMALL`` with some sections' keys replaced."""
    values = {
        key: {**value, **sections.get(key, {})} if isinstance(value, dict) else value
        for key, value in SMALL.items()
    }
    return validate({**sections, **values}, "test")


def steps_for(config):
    """The compiled halves of a configuration's runner."""
    model = build_model(config.model, load_dataset(config.data), seed=config.seed)
    optimizer = build_optimizer(config, model, total_steps=1, steps_per_epoch=1)
    return make_steps(model, optimizer, config.seed)


def make_steps_with(act, number):
    """In place of `trainer.make_steps`: calls `act` when step `number` has been asked for and not yet been handed over."""

    def make(*arguments):
        steps = make_steps(*arguments)
        calls = itertools.count(1)

        def step(state, batch):
            result = steps.train(state, batch)
            if next(calls) == number:
                act()
            return result

        return dataclasses.replace(steps, train=step)

    return make


def final_state(run_dir, config):
    """The newest checkpoint of a run: step and state."""
    checkpoints = Checkpoints(run_dir / "checkpoints", keep=2)
    step, state, _ = checkpoints.restore(steps_for(config).state, config.model_dump(mode="json"))
    checkpoints.close()
    return step, nnx.to_pure_dict(state)
