"""What the page says of jaxsparse.block."""

from collections.abc import Iterator

from experiments.gpu_check.markdown import cell, number, table
from experiments.gpu_check.results import Results, Row

_TITLES = {
    "unit": "Residual units, block-sparse, six with one list",
    "conv": "3 x 3 convolution, block-sparse",
}


def sections(results: Results) -> Iterator[str]:
    """Tables, as far as there are rows."""
    for kind, title in _TITLES.items():
        rows = [row for row in results.of("block") if row["kind"] == kind]
        yield _layers(title + ": mask reduction, gather, scatter in place included", rows)
    yield _kernels(results)
    yield _launches(results.of("block launches"))


def _layers(title: str, rows: list[Row]) -> str:
    lines = [
        f"| {r['shape'][0]}x{r['shape'][1]}x{r['channels']} | {r['sparsity']:g} | {r['precision']} | {r['ratio']:.2f} "
        f"| {number(r['ratio_on_device'], 2)} | {number(r['paper'], 2)} | {r['ideal']:.3g} "
        f"| {r['jaxsparse']['median'] * 1e6:.1f} | {r['dense']['median'] * 1e6:.1f} | {r['tile']} "
        f"| {r['blocks']} of {r['of_blocks']} | {r['computed_share']:.3f} | {r['copies']} |"
        for r in sorted(rows, key=lambda r: (-r["shape"][0], r["sparsity"], r["precision"]))
    ]
    head = [
        "map", "sparsity", "precision", "times dense", "times dense by the profile", "paper", "1/(1 - sparsity)", "us",
        "dense us", "tile", "blocks", "pixels computed, of all", "copies of the map",
    ]  # fmt: skip
    return table(title, head, lines)


def _kernels(results: Results) -> str:
    launches = {r["kernel"]: r["calls"] for r in results.of("block launches")}
    lines = [
        f"| {r['kernel']} | {r['timing']['median'] * 1e6:.1f} | {r['floor_s'] * 1e6:.1f} | {r['times_the_floor']:.2f}"
        f"{' (cache)' if r['cached'] else ''} | {number(launches.get(r['kernel']))} |"
        for r in sorted(results.of("block kernels"), key=lambda r: r["kernel"])
    ]
    head = ["kernel", "us", "floor us", "times the floor", "launches"]
    return table("Each block kernel, and the bytes that must move", head, lines)


def _launches(rows: list[Row]) -> str:
    lines = [
        f"| {r['kernel']} | {cell(name)} | {part['calls']:g} | {part['seconds'] * 1e6:.1f} |"
        for r in sorted(rows, key=lambda r: r["kernel"])
        for name, part in sorted(r["parts"].items(), key=lambda item: -item[1]["seconds"])
    ]
    head = ["call", "what it starts", "times", "us"]
    return table("What each block kernel's call starts, by a profile", head, lines)
