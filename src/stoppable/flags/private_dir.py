"""A folder of the user's own for the portable backing. Nothing on Linux ever uses it.

It refuses a folder that somebody else could have made or can write to.
"""

import os
import stat


def folder() -> str:
    """Return the folder's path, made if need be.

    Raises:
        PermissionError: somebody else owns it or may write to it.
    """
    import tempfile  # five milliseconds, which nobody on Linux needs

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    where = os.path.join(tempfile.gettempdir(), f"stoppable-{user}")
    try:
        os.mkdir(where, 0o700)
    except FileExistsError:
        pass
    if hasattr(os, "getuid"):
        facts = os.lstat(where)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise PermissionError(
                f"{where} is not a folder that only you may use; remove it, or set TMPDIR to a folder of your own"
            )
    return where


def path(name: str) -> str:
    """Return the path of the file *name* in the folder."""
    return os.path.join(folder(), name)
