"""The gallery: queries, and beside each the objects that were ranked first, framed by whether they are of its class."""

import base64
import html
from pathlib import Path
from typing import Any

from experiments.data import Split
from experiments.data.site_lists import object_sites
from experiments.retrieval.cubes import draw_cubes, picture

RIGHT, WRONG, QUERY = "#1a7f37", "#cf222e", "#1c2128"
MARKS = {True: "✓", False: "✗"}

STYLE = """
:root { --page: #ffffff; --card: #f6f8fa; --ink: #1c2128; --soft: #57606a; --right: #1a7f37; --wrong: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171c; --card: #1d2229; --ink: #e6e9ed; --soft: #a3adb8; --right: #4ac26b; --wrong: #ff7b72; }
}
body { margin: 0; padding: 24px; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 4px; }
p { color: var(--soft); margin: 4px 0 16px; max-width: 100ch; }
.row { display: grid; grid-template-columns: repeat(11, minmax(84px, 1fr)); gap: 8px; margin: 0 0 14px;
  overflow-x: auto; }
figure { margin: 0; padding: 4px; background: var(--card); border: 3px solid var(--ink); border-radius: 6px; }
figure.right { border-color: var(--right); }
figure.wrong { border-color: var(--wrong); border-style: dashed; }
figure img { display: block; width: 100%; }
figcaption { font-size: .74rem; line-height: 1.25; overflow-wrap: anywhere; }
figcaption span { color: var(--soft); }
"""


def page(result: dict[str, Any], split: Split) -> str:
    """One HTML file that needs no other: pictures are in it, nothing is asked of a network.

    Args:
      result: of ``retrieve``.
      split: where its objects are.
    """
    names = result["classes"]
    drawn: dict[int, str] = {}

    def image(number: int) -> str:
        if number not in drawn:
            coords, _ = object_sites(split, number)
            drawn[number] = base64.b64encode(picture(coords)).decode()
        return f'<img alt="voxels of object {number}" src="data:image/png;base64,{drawn[number]}">'

    rows = []
    for row in result["gallery"]:
        query = row["query"]
        cells = [
            f'<figure class="query">{image(query["number"])}<figcaption><b>query</b>: '
            f"{html.escape(names[query['label']])}<br><span>object {query['number']}</span></figcaption></figure>"
        ]
        for place, found in enumerate(row["found"], start=1):
            kind = "right" if found["right"] else "wrong"
            cells.append(
                f'<figure class="{kind}">{image(found["number"])}<figcaption>{place}. {MARKS[found["right"]]} '
                f"{html.escape(names[found['label']])}<br><span>object {found['number']}, {found['distance']:.3f}</span>"
                "</figcaption></figure>"
            )
        rows.append(f'<section class="row">{"".join(cells)}</section>')
    micro = result["micro"]
    title = html.escape(f"{result['name']}: what was found")
    text = (
        f"{result['dataset']}, {result['objects']} objects of the {result['split']} split, ranked by {result['distance']} "
        f"distance of {result['features']} features. mAP {micro['map']:.4f}, nearest neighbour right "
        f"{micro['nn']:.4f}, over {result['queries']} queries."
    )
    legend = (
        "In each row a query and the ten objects that are nearest to it. Whole frame and ✓: of the query's class; dashed "
        "frame and ✗: of another. Below each its number in the split and its distance."
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f"<p>{html.escape(text)}</p><p>{html.escape(legend)}</p>\n"
        + "\n".join(rows)
        + "\n</body></html>\n"
    )


def draw(result: dict[str, Any], split: Split, path: Path) -> None:
    """The same as one picture.

    Args:
      result: of ``retrieve``.
      split: where its objects are.
      path: the picture; its ending says in what format.
    """
    from matplotlib.figure import Figure

    rows, names = result["gallery"], result["classes"]
    columns = 1 + max((len(row["found"]) for row in rows), default=0)
    figure = Figure(figsize=(1.15 * columns, 1.32 * max(len(rows), 1) + 0.3), dpi=110)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    grid = figure.subplots(max(len(rows), 1), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=False):
        cells = [(row["query"], QUERY, f"query: {names[row['query']['label']]}", "-")]
        for found in row["found"]:
            colour = RIGHT if found["right"] else WRONG
            mark = MARKS[found["right"]]
            style = "-" if found["right"] else "--"
            cells.append((found, colour, f"{mark} {names[found['label']]}", style))
        for axes, (found, colour, title, style) in zip(line, cells, strict=False):
            draw_cubes(axes, object_sites(split, found["number"])[0])
            axes.set_title(title, fontsize=7, color=colour, pad=2)
            for spine in axes.spines.values():
                spine.set(visible=True, color=colour, linewidth=1.6, linestyle=style)
        for axes in line[len(cells) :]:
            axes.set_axis_off()
    if not rows:
        grid[0, 0].set_axis_off()
    figure.savefig(path)
