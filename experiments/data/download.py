"""Files that are downloaded once: checked on arrival, kept in a cache."""

import os
from pathlib import Path
from typing import Any

from experiments.errors import DataError

CACHE_VARIABLE = "JAXSPARSE_CACHE"


def cache_folder(dataset: str) -> Path:
    """Where a dataset's downloads are kept: under ``$JAXSPARSE_CACHE``, else the user's cache folder."""
    import pooch

    base = os.environ.get(CACHE_VARIABLE) or pooch.os_cache("jaxsparse")
    return Path(base) / dataset


def fetch(name: str, *, folder: Path, url: str, md5: str, otherwise: str) -> Path:
    """Downloads one file into a folder.

    The file appears there only when it is whole: a download that breaks off or has another checksum leaves nothing.

    Args:
      name: of the file.
      folder: where to put it; made if it does not exist.
      url: of the folder that holds it, ending in a slash.
      md5: hexadecimal digest that the file must have.
      otherwise: what a user without a network can do instead.

    Returns:
      The file's path.

    Raises:
      DataError: the file cannot be downloaded or written, or is not the one ``md5`` names.
    """
    import pooch

    keeper = pooch.create(folder, base_url=url, registry={name: f"md5:{md5}"}, retry_if_failed=0)
    try:
        downloader: Any = pooch.HTTPDownloader(timeout=30)  # pooch's own types disagree
        return Path(keeper.fetch(name, downloader=downloader))
    except OSError as error:  # the network's errors are some, too
        problem = f"{type(error).__name__}: {error}"
    except ValueError as error:  # the checksum
        problem = str(error)
    raise DataError(
        f"{folder} has no {name}, and downloading it from {url} failed ({problem}). "
        f"Offline? Then {otherwise}"
    )
