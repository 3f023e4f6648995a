"""A stage while it runs: its time, its log, its verdict."""

import dataclasses
import datetime
import sys
from pathlib import Path
from typing import Any

from experiments.gpu_check.child import Command, Deadline, Outcome, run
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import ROOT, Results, Row, source


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of a stage.

    Attributes:
      word: ``"passed"``; ``"incomplete"``: nothing failed, but not all was done; ``"failed"``.
      why: in a few words.
      details: JSON-like.
    """

    word: str
    why: str
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


class Stage:
    """What a stage's code is given."""

    def __init__(self, name: str, options: Options, results: Results, log: Path):
        self.name = name
        self.options = options
        self.results = results
        self.deadline = Deadline(options.seconds)
        self.log = log
        self.source = source()
        self.since = now() if options.again else ""

    def run(self, command: Command, seconds: float | None = None) -> Outcome:
        """Runs a command within the stage's time, or ``seconds`` of it; its rows go to the result file."""
        self.say(f"$ {str(command)[:300]}")
        left = self.deadline.left()
        return run(
            command,
            cwd=ROOT,
            log=self.log,
            seconds=left if seconds is None else min(seconds, left),
            on_row=self.keep,
        )

    def keep(self, row: Row) -> None:
        """Saves a row; `say` rows are only shown."""
        circumstances = {"platform": self.options.platform, "source": self.source, "date": now()}
        self.results.put({**row, **circumstances})
        self.results.save()
        self.say(f"  {row['row']}")

    def known(self) -> set[str]:
        """The rows that need not be measured."""
        return self.results.known(self.options.platform, self.source, self.since)

    def say(self, text: str) -> None:
        """Shows where the stage is."""
        print(f"[{self.name}] {text}", flush=True)

    def passed(self, why: str, **details: Any) -> Verdict:
        """Nothing failed, all was done."""
        return Verdict("passed", why, details)

    def incomplete(self, why: str, **details: Any) -> Verdict:
        """Nothing failed, but not all was done."""
        return Verdict("incomplete", why, details)

    def failed(self, why: str, output: str = "", **details: Any) -> Verdict:
        """Something did."""
        if output:
            print(output[-2000:], file=sys.stderr)
            details["output"] = output[-2000:]
        return Verdict("failed", why, details)


def now() -> str:
    """The date, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
