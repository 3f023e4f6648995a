"""A table of the kernels in a build log of nvcc with `-Xptxas=-v`: registers, stack and spills.

    python ptxas_report.py build.log

Ends with the number of kernels and of those that spill. A log without kernels is an error: nothing was compiled anew.
"""

import re
import subprocess
import sys
from pathlib import Path

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def readable(names: list[str]) -> list[str]:
    """Demangled, without namespaces and argument lists."""
    plain = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    plain = plain.stdout.splitlines()
    plain = [
        re.sub(r"jaxsparse::(cuda::)?|\(anonymous namespace\)::|_GLOBAL__N__\w+::", "", name)
        for name in plain
    ]
    return [re.sub(r"^void |\(.*", "", name) for name in plain]


def main() -> None:
    """Print the table."""
    found = [m.groupdict() for m in ENTRY.finditer(Path(sys.argv[1]).read_text())]
    if not found:
        sys.exit(f"{sys.argv[1]} tells of no kernel")
    rows = []
    for entry, name in zip(found, readable([entry["name"] for entry in found]), strict=True):
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        spills = int(entry["stores"]) + int(entry["loads"])
        rows.append(
            (
                name,
                entry["arch"],
                entry["registers"],
                shared[1] if shared else "0",
                entry["stack"],
                spills,
            )
        )
    rows.sort()
    print(
        f"{'kernel':60} {'arch':6} {'registers':>9} {'shared B':>9} {'stack B':>8} {'spilled B':>9}"
    )
    for name, arch, registers, shared, stack, spills in rows:
        print(f"{name:60} {arch:6} {registers:>9} {shared:>9} {stack:>8} {spills:>9}")
    print(f"{len(rows)} kernels, {sum(row[-1] > 0 for row in rows)} of them spill registers")


if __name__ == "__main__":
    main()
