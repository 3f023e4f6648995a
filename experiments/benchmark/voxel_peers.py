"""Peers in another environment, as calls of this process."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("voxel_worker.py")


class PeerError(Exception):
    """A peer cannot do it, or is not installed; the message is its own."""


class Worker:
    """The process of voxel_worker.py.

    Args:
      python: the interpreter of the environment.
      threads: how many its libraries may use.
    """

    def __init__(self, python: Path, threads: int):
        self._process = subprocess.Popen(
            [str(python), str(WORKER), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """One question, one answer.

        Raises:
          PeerError: the worker's error.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as error:
            raise PeerError(f"the peers' process is gone: {error}") from None
        if not line:
            raise PeerError("the peers' process is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def call(self, peer: str, workload: str, arguments: Sequence[Any]) -> "PeerCall":
        """Makes what a peer has to run.

        Raises:
          PeerError: it cannot.
        """
        name = json.dumps([peer, workload, arguments])
        self.ask(do="make", peer=peer, workload=workload, arguments=list(arguments), name=name)
        return PeerCall(self, name)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class PeerCall:
    """A call whose seconds the worker takes."""

    def __init__(self, worker: Worker, name: str):
        self._worker, self._name = worker, name

    def __call__(self) -> None:
        self.seconds(1)

    def seconds(self, count: int) -> float:
        """Seconds a call, over ``count`` calls."""
        answer = self._worker.ask(do="time", name=self._name, count=count)
        return answer["seconds"] / count
