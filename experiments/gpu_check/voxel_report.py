"""What the page says of jaxsparse.voxel."""

from collections.abc import Iterator

from experiments.gpu_check import voxel_works
from experiments.gpu_check.markdown import number, table
from experiments.gpu_check.results import Results, Row


def sections(results: Results) -> Iterator[str]:
    """Tables, as far as there are rows."""
    rows = {row["row"]: row for row in results.of("voxel encoders")}
    lines = [
        _line(encoder, rows[encoder.row()])
        for encoder in voxel_works.ENCODERS
        if encoder.row() in rows
    ]
    published = [f"{peer}, published" for peer in voxel_works.PEERS]
    head = ["encoder", "batch", "voxels", "forward ms", "forward + backward ms", *published, "peak MB", "published MB"]  # fmt: skip
    yield table(
        "Sparse ResNet encoders in bfloat16, kernel maps built in every step; as many voxels as the published figures have "
        f"(forward + backward ms; {voxel_works.SOURCE}), in another geometry",
        head, lines,
    )  # fmt: skip
    lines = [
        f"| {r['kernel']} | {r['timing']['median'] * 1e6:.1f} | {r['floor_s'] * 1e6:.1f} | {r['times_the_floor']:.2f} |"
        for r in sorted(results.of("voxel kernels"), key=lambda r: r["row"])
    ]
    yield table(
        "Each voxel kernel, and the bytes that must move",
        ["kernel", "us", "floor us", "times the floor"],
        lines,
    )


def _line(encoder: voxel_works.Encoder, row: Row) -> str:
    published = " | ".join(number(x, 2) for x in encoder.both)
    peak = None if row["peak"] is None else row["peak"] / 1e6
    return (
        f"| {encoder.model} | {encoder.batch} | {encoder.voxels} | {row['forward']['seconds'] * 1e3:.2f} "
        f"| {row['both']['seconds'] * 1e3:.2f} | {published} | {number(peak)} "
        f"| {', '.join(f'{x:g}' for x in encoder.peak)} |"
    )
