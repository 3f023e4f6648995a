"""Runs that end by kill -9 at a chosen moment: a program of its own, started by test_kill.py.

``python -m tests.experiments.killing CONFIG FOLDER POINTS``: one uninterrupted run in ``FOLDER/whole``, then one in
``FOLDER/parts`` that is killed at every point in turn, continued each time, and in the end left alone. Points are JSON:
``["step", n]`` in the n-th step of the process, ``["write", save, share]`` in its n-th checkpoint, when that share of the
operations on the temporary folder is done, ``["delete", n]`` while an old checkpoint is being removed. Prints what
became of every process as JSON.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import jax

from experiments.config.load import validate
from experiments.data import load_dataset
from experiments.train import train, trainer
from experiments.train.run_folder import has_begun
from tests.experiments.common import make_steps_with

TEMPORARY = ".orbax-checkpoint-tmp"


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Operations:
    """Sees what Python does to files, by an audit hook, and counts what concerns checkpoints."""

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.saves: list[
            list[str]
        ] = []  # for each checkpoint, the operations on its temporary folder
        self.removals = 0
        self.on_write = self.on_removal = lambda: None
        self._current = ""
        sys.addaudithook(self._see)

    def _see(self, event, arguments):
        if not event.startswith(("open", "os.", "shutil.")) or not arguments:
            return
        path = str(arguments[0])
        if not path.startswith(self.folder):
            return
        name = path[len(self.folder) :].lstrip("/").split("/")[0]
        if TEMPORARY in name:
            if name != self._current:
                self._current = name
                self.saves.append([])
            self.saves[-1].append(event)
            self.on_write()
        elif name.isdigit() and event in ("os.remove", "os.rmdir", "shutil.rmtree"):
            self.removals += 1
            self.on_removal()


def run(config, folder, point, length):
    """One process's part of a run."""
    operations = Operations(folder / "checkpoints")
    match point:
        case ["step", number]:
            trainer.make_steps = make_steps_with(die, number)
        case ["write", save, share]:

            def on_write():
                if len(operations.saves) == save and len(operations.saves[-1]) >= share * length:
                    die()

            operations.on_write = on_write
        case ["delete", number]:
            operations.on_removal = lambda: operations.removals == number and die()
    train(config, folder, resume=has_begun(folder))
    return operations


def forked(function):
    """Runs a function in a child process; returns its answer, or None if a signal ended it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os.dup2(2, 1)
        answer = function()
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, os.WTERMSIG(status)
        return None
    assert status == 0, f"exit status {os.WEXITSTATUS(status)}"
    return json.loads(text)


def main(config, folder, points):
    config = validate(json.loads(config), "test")
    folder = Path(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    load_dataset(config.data)  # imports, so that the children need not
    # Children are forks of a process that has done nothing but import: JAX has started no threads in it.
    assert threading.active_count() == 1

    lengths = forked(lambda: [len(save) for save in run(config, folder / "whole", [], 0).saves])
    # The first checkpoint makes a folder or two more, later ones find them.
    length = min(lengths)
    report = []
    parts = folder / "parts"
    for point in [*json.loads(points), []]:
        finished = forked(lambda point=point: run(config, parts, point, length) and True)
        names = [path.name for path in (parts / "checkpoints").glob("*")]
        report.append(
            {
                "point": point,
                "killed": finished is None,
                "partial": [name for name in names if TEMPORARY in name],
                "whole": sorted(int(name) for name in names if name.isdigit()),
            }
        )
    print(json.dumps({"lengths": lengths, "report": report}))


if __name__ == "__main__":
    main(*sys.argv[1:])
