"""The code in README.md and in the user guides runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    f"docs/{name}.md"
    for name in ("direct", "block", "voxel_models", "conventions", "linen", "optim")
] + ["README.md"]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


@pytest.mark.core
@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page, capsys):
    """The blocks of a page are one program: a later one may use what an earlier one defined."""
    code = blocks(page)
    assert code
    exec(compile("\n".join(code), page, "exec"), {"__name__": page})
    assert "nan" not in capsys.readouterr().out


def test_first_example_is_short():
    """The README promises fifteen lines."""
    lines = [line for line in blocks("README.md")[0].splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.slow
def test_first_example_in_a_fresh_interpreter():
    """Without the test suite's settings, as a user would run it."""
    result = subprocess.run(
        [sys.executable, "-c", blocks("README.md")[0]], capture_output=True, text=True, cwd="/"
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(
        r"loss \d+\.\d{4}, \d+ bytes, densities found \[.*\]\n", result.stdout, re.S
    )


def test_links_lead_somewhere():
    """Relative links of the pages exist."""
    for page in ["README.md", "CONTRIBUTING.md", *map(str, (ROOT / "docs").rglob("*.md"))]:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
