"""Child processes: each with its share of the time, its output in a log, and rows that come while it runs."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "@row "
"""How a line of output begins that is a row in JSON."""


def emit(row: Mapping[str, Any]) -> None:
    """Hands a row to the parent process."""
    print(MARK + json.dumps(row), flush=True)


class Deadline:
    """The end of a stage's time."""

    def __init__(self, seconds: float):
        self.at = time.time() + seconds

    def left(self) -> float:
        """Seconds until then, 0 if it has passed."""
        return max(0.0, self.at - time.time())


@dataclasses.dataclass(frozen=True)
class Command:
    """What a child process runs.

    Attributes:
      arguments: the program and its arguments.
      environment: what differs from this process's environment.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        words = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        return " ".join([*words, *map(shlex.quote, self.arguments)])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
      status: the exit status, negative for a signal.
      timed_out: whether it was stopped for taking too long.
      seconds: how long it ran.
      output: the end of what it wrote.
    """

    status: int
    timed_out: bool
    seconds: float
    output: str

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, and well."""
        return self.status == 0 and not self.timed_out

    def describe(self) -> str:
        """In words."""
        if self.timed_out:
            return f"stopped after {self.seconds:.0f} s, the time being up"
        if self.status < 0:
            return f"died by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"


def run(
    command: Command,
    *,
    cwd: Path,
    log: Path,
    seconds: float,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    keep: int = 4000,
) -> Outcome:
    """Runs a command with no input; all it writes is added to ``log``, its rows go to ``on_row`` as they come.

    When ``seconds`` have passed it is stopped, with all that it started.
    """
    begin = time.time()
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    with log.open("a") as file:
        file.write(f"$ {command}\n")
        file.flush()
        process = subprocess.Popen(
            list(command.arguments),
            cwd=cwd,
            env={**os.environ, **command.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A process group, to be stopped whole; of the same terminal, so that what ends that ends it, too.
            process_group=0,
        )
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(seconds, 0.1), stop)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    on_row(json.loads(line.removeprefix(MARK)))
                    continue
                file.write(line)
                file.flush()
                tail = [*tail[-200:], line]
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
    return Outcome(status, stopped.is_set(), time.time() - begin, "".join(tail)[-keep:])
