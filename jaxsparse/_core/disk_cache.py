"""What is remembered from run to run: small JSON files in the user's cache folder."""

import hashlib
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any


def folder() -> Path:
    """``$JAXSPARSE_CACHE``, else a folder of the operating system's for caches."""
    named = os.environ.get("JAXSPARSE_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/jaxsparse").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxsparse"


def key_of(*parts: str) -> str:
    """A file name for what depends on these texts."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()


def load(kind: str, key: str) -> Any:
    """What was stored; None where there is nothing, or nothing that can be read."""
    try:
        return json.loads((folder() / kind / f"{key}.json").read_text())
    except (OSError, ValueError):
        return None


def store(kind: str, key: str, value: Any) -> None:
    """Keeps a value. A folder that cannot be written is a warning: the next run has to do the work again."""
    try:
        path = folder() / kind
        path.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            json.dump(value, file)
        os.replace(name, path / f"{key}.json")  # all of it or nothing, whoever else writes
    except OSError as error:
        what = f"jaxsparse cannot remember results in {folder()} ({error}); set JAXSPARSE_CACHE"
        warnings.warn(what, stacklevel=3)
