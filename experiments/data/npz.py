"""NumPy's archives, checked as they are read."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.errors import DataError

Layout = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""What an archive holds: by name the kinds of NumPy's dtypes that are taken (as in ``"iu"``) and the shape, ``None`` for any size."""


def folder_of(root: Path | None, what: str) -> Path:
    """``data.root`` where it is a folder.

    Raises:
      DataError: it is not given, or no folder.
    """
    if root is None:
        raise DataError(f"data.root is not given: name the folder with {what} (data.root=DIR)")
    if not root.is_dir():
        raise DataError(f"data.root is no folder: {root}")
    return root


def read_npz(path: Path, layout: Layout) -> dict[str, np.ndarray]:
    """The arrays of an archive that ``layout`` names.

    Raises:
      DataError: the file is absent, truncated, corrupt, or holds something else.
    """
    try:
        # Opened here: NumPy leaves a damaged one open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is no npz archive, but a single array")
            missing = [name for name in layout if name not in archive.files]
            if missing:
                held = ", ".join(archive.files) or "nothing"
                raise DataError(f"{path} has no {', '.join(missing)} (it holds {held})")
            arrays = {name: archive[name] for name in layout}
    except FileNotFoundError:
        raise DataError(f"{path.parent} has no {path.name}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no npz archive, or damaged: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    for name, (kinds, shape) in layout.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            wanted = ", ".join("N" if size is None else str(size) for size in shape)
            raise DataError(
                f"{path} is something else: {name} is {array.dtype} {list(array.shape)}, expected [{wanted}]"
            )
    return arrays
