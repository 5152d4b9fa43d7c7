"""Keyed hashes in the place of user ids: who holds the key can join them, who holds only the log can not."""

import hmac
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from mlsd.core.errors import UserError
from mlsd.core.home import Home

VARIABLE = "MLSD_USER_HASH_KEY"
SHORTEST = 32
DIGITS = 32  # 128 bits: no two of a billion users share one


def _make(path: Path) -> None:
    """Put a new key there, whole and only for the owner, unless another process has just done so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SHORTEST))
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink(missing_ok=True)


def _key(home: Home) -> bytes:
    given = os.environ.get(VARIABLE)
    path = home.user_hash_key
    if given is None and not path.exists():
        _make(path)
    if given is None and path.stat().st_mode & 0o077:
        raise UserError(f"{path}: found mode {path.stat().st_mode & 0o777:04o}, expected 0600: others may read the key")
    text = path.read_text(encoding="ascii") if given is None else given
    if len(text) < SHORTEST:
        where = path if given is None else VARIABLE
        raise UserError(f"{where}: found a key of {len(text)} characters, expected at least {SHORTEST}")
    return text.encode()


def pseudonyms(home: Home) -> Callable[[int], str]:
    """What stands for a user id in the log: HMAC-SHA256 of its decimal digits, the first 32 hexadecimal digits.

    The key is `$MLSD_USER_HASH_KEY`, else the file `user_hash.key` of the state folder, made at first use.

    Raises:
        UserError: the key is too short, or others may read its file.
    """
    key = _key(home)
    return lambda user: hmac.digest(key, str(user).encode(), "sha256").hex()[:DIGITS]


def known_as(home: Home, users: Iterable[int]) -> dict[str, int]:
    """The ids behind the pseudonyms of known users.

    Raises:
        UserError: as `pseudonyms`.
    """
    name = pseudonyms(home)
    return {name(int(user)): int(user) for user in users}
