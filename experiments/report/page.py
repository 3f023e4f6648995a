"""The page itself: sections, style, scripts and data in one file of HTML."""

import datetime
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.report.blocks import Block, Details, Pictures, Plot, Section, Text

FILES = Path(__file__).parent / "page_files"
SCRIPTS = ("figures.js", "voxels.js", "pictures.js")

Make = Callable[[], Sequence[Block]]


def section(id: str, title: str, *parts: Make) -> Section:
    """A section of parts that are each shown, or said to be damaged.

    What a file holds may be anything: a part that cannot make sense of it must not take the others with it.
    """
    blocks: list[Block] = []
    for part in parts:
        try:
            blocks += part()
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            OverflowError,
        ) as error:
            what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            blocks.append(
                Text(f"A part cannot be shown, its data are damaged: {what}", missing=True)
            )
    return Section(id, title, blocks)


def render(title: str, subtitle: str, notes: Sequence[str], sections: Sequence[Section]) -> str:
    """The page's text.

    Args:
      title: of the page.
      subtitle: below it.
      notes: what is missing or damaged.
      sections: in order; empty ones are left out.

    Raises:
      UserError: jinja2 or plotly is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UserError(
            f"a report needs {error.name}: pip install '.[experiments,report]'"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [part for part in sections if part.blocks]
    blocks = list(_flat([block for part in sections for block in part.blocks]))
    data = {
        "plots": {block.id: block.data for block in blocks if isinstance(block, Plot)},
        "pictures": next((block.data for block in blocks if isinstance(block, Pictures)), None),
    }
    text = environment.get_template("page.html.jinja").render(
        title=title,
        subtitle=subtitle,
        notes=notes,
        sections=sections,
        made=_made(),
        style=(FILES / "style.css").read_text(encoding="utf-8"),
        scripts=[get_plotlyjs(), *((FILES / name).read_text(encoding="utf-8") for name in SCRIPTS)],
        data=as_script(data),
    )
    # A lone surrogate, which JSON may hold, has no UTF-8.
    return text.encode("utf-8", errors="replace").decode("utf-8")


def as_script(data: Any) -> str:
    """JSON that may stand inside a script element, whatever texts are in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _flat(blocks: Sequence[Block]) -> Sequence[Block]:
    found: list[Block] = []
    for block in blocks:
        found += _flat(block.blocks) if isinstance(block, Details) else [block]
    return found


def _made() -> str:
    now = datetime.datetime.now(datetime.UTC)
    try:
        version = importlib.metadata.version("jaxsparse")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return f"{now:%Y-%m-%d %H:%M} UTC, jaxsparse {version}"
