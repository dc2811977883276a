"""Unix sockets: for whom they are, what stands in their way, and their end."""

# ruff: noqa: PTH101, PTH107 - pathlib would cost the start of the program 3 ms
from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

from ..errors import ConfigError
from .listeners import SOCKET_MODE, UnixAddress

__all__ = ["UnixPath", "bind_unix"]


class UnixPath:
    """The file of a socket that we have bound."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = _identity(path)

    def remove(self) -> None:
        """Remove the file, if it is still the same: somebody else may listen there by now."""
        if self._identity is not None and _identity(self._path) == self._identity:
            with suppress(OSError):
                os.remove(self._path)


def bind_unix(address: UnixAddress) -> tuple[socket.socket, UnixPath | None]:
    """A socket at `address` that does not listen yet, so that nobody can connect before mode and owner are right.

    Raises ConfigError, with what stands in the way.
    """
    where = f"unix:{address.path}"
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(f"cannot listen at {where}: this system has no unix sockets")
    abstract = address.path.startswith("@")
    if abstract and address != UnixAddress(address.path):
        raise ConfigError(
            f"cannot listen at {where}: an abstract socket has neither mode nor owner, every program of this machine "
            "may connect. Give a path for one that has, or remove mode, owner and group from gateway.unixSocket"
        )
    uid, gid = _ids(address)
    if not abstract:
        _remove_stale(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if abstract:
            sock.bind(address.name)
            return sock, None
        with suppress(OSError):  # Linux makes the file with the mode of the socket; others with that of the umask
            os.fchmod(sock.fileno(), SOCKET_MODE & address.mode)
        sock.bind(address.path)
        file = UnixPath(address.path)
        try:
            _hand_over(address, uid, gid)
        except ConfigError:
            file.remove()
            raise
        return sock, file
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen at {where}: {error.strerror or error}") from error
    except ConfigError:
        sock.close()
        raise


def _hand_over(address: UnixAddress, uid: int, gid: int) -> None:
    """Owner first: the mode may open it to a group, which must be the right one by then."""
    path = address.path
    if (uid, gid) != (-1, -1):
        try:
            os.chown(path, uid, gid, follow_symlinks=False)
        except PermissionError:
            raise ConfigError(
                f"cannot give unix:{path} to {address.owner or '-'}:{address.group or '-'}: only root may choose an "
                "owner, others only a group they are in. Correct gateway.unixSocket, or start as another user"
            ) from None
    os.chmod(path, address.mode)


def _ids(address: UnixAddress) -> tuple[int, int]:
    """(uid, gid), -1 for those that stay as they are."""
    if address.owner is None and address.group is None:
        return -1, -1
    import grp  # noqa: PLC0415 - not on Windows, and few ask for an owner
    import pwd  # noqa: PLC0415 - as above

    uid = gid = -1
    try:
        if address.owner is not None:
            uid = int(address.owner) if _is_number(address.owner) else pwd.getpwnam(address.owner).pw_uid
    except KeyError:
        raise ConfigError(f"gateway.unixSocket.owner: this machine has no user {address.owner!r}") from None
    try:
        if address.group is not None:
            gid = int(address.group) if _is_number(address.group) else grp.getgrnam(address.group).gr_gid
    except KeyError:
        raise ConfigError(f"gateway.unixSocket.group: this machine has no group {address.group!r}") from None
    return uid, gid


def _is_number(text: str) -> bool:
    """Whether this is an id; the largest of 32 bits means none."""
    return text.isascii() and text.isdecimal() and len(text) < 11 and int(text) < 0xFFFF_FFFF


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens at any more, which a connect tells."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # there is nothing, or else binding will tell
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"cannot listen at unix:{path}: there is a file that is no socket. Remove it, or give another path"
        )
    found = UnixPath(path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a living one whose queue is full would keep us waiting
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            found.remove()
            return
        except BlockingIOError:
            pass
        except OSError as error:  # somebody else's, which cannot be told to be dead
            raise ConfigError(f"cannot listen at unix:{path}: {error.strerror}") from error
    raise ConfigError(
        f"cannot listen at unix:{path}: somebody listens there already. Is a gateway running? Give another path"
    )
