"""One owner at a time: a file that is locked and touched while its owner lives, and says who he is.

The kernel's lock (`flock`) ends with its owner, however that ends, but other machines see it only where the file system
carries it there. So the owner also touches the file every few seconds, from a thread, and his machine stands in it: on
another machine he counts as alive until the file has not been touched for `ALIVE_S`. If he comes back after that,
having been frozen or cut off, his next `check` tells him that the file is no longer his.
"""

import contextlib
import fcntl
import json
import os
import platform
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from bench.errors import UserError
from bench.files import writing

BEAT_S = 10.0  # seconds between two signs of life
ALIVE_S = 120.0  # another machine's owner who gave none for so many seconds is gone
PATIENCE_S = 0.5  # for how long a lock may be somebody's who only looks whether it is held
SETTLE_S = 1.0  # after which of two machines that take over at once, both see who was last


class InUse(UserError):
    """Another process owns the file."""


@cache
def machine() -> str:
    """Return what tells this machine from others: names repeat among containers, ids of a boot among snapshots."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip() if boot.exists() else ''}"


def job() -> str | None:
    """Return the id of the SLURM job that this process is part of; it outlives a requeue."""
    return os.environ.get("SLURM_JOB_ID")


def read_owner(path: Path) -> dict[str, Any]:
    """Return what the file says of its owner (host, machine, pid, job, token), {} if it does not."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def whereabouts(path: Path) -> str:
    """Return host and job of the file's owner in words, "" if it does not say."""
    owner = read_owner(path)
    return ", ".join(f"{key} {owner[key]}" for key in ("host", "job") if owner.get(key))


def alive(path: Path) -> bool:
    """Return whether the file's owner lives; looking takes his lock for a moment, if it is free."""
    try:
        with path.open("rb") as stream:
            locked, owner = _flock(stream.fileno(), fcntl.LOCK_SH), read_owner(path)
            if owner.get("machine") == machine() and locked is not None:
                return not locked
            return _age(stream.fileno()) < ALIVE_S or (locked is False and not owner)
    except OSError:  # there is none, or it is not ours to read
        return False


def _flock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool | None:
    """Lock a file if it is free, and return whether; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _age(descriptor: int) -> float:
    return time.time() - os.fstat(descriptor).st_mtime


class Lock:
    """The file `path`, owned by this process from construction to `release`, which removes it.

    Args:
        path: the file; its folder is made if missing.
        what: what the file stands for, for the message.
        patience: for how many seconds to wait while somebody has it.

    Raises:
        InUse: another process owns it.
        CannotWrite: the file system refuses.
    """

    def __init__(self, path: Path, what: str, patience: float = PATIENCE_S):
        self.path, self.what = path, what
        owner = {"host": platform.node(), "machine": machine(), "pid": os.getpid(), "job": job(), "token": uuid4().hex}
        self._content = (json.dumps(owner) + "\n").encode()
        self._descriptor = -1
        deadline = time.monotonic() + patience
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            while not self._take(time.monotonic() > deadline):
                time.sleep(0.02)
        self._released = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name=f"beat {path}").start()

    def _take(self, last: bool) -> bool:
        """Try once; False asks for another try."""
        try:
            descriptor, new = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                descriptor, new = os.open(self.path, os.O_RDWR), False
            except FileNotFoundError:  # just released
                return False
        try:
            locked, owner = _flock(descriptor), read_owner(self.path)
            # The last owner may have removed the file between our opening and our locking it.
            if not self.path.exists() or self.path.stat().st_ino != os.fstat(descriptor).st_ino:
                return False
            ours = owner.get("machine") == machine()
            held = locked is False and (ours or not owner)
            known_dead = new or (locked and ours)
            silent = os.fstat(descriptor).st_size == 0 or _age(descriptor) >= ALIVE_S
            if held or not (known_dead or silent):
                # If it is our own job, before it was requeued, then its node is gone: we wait until that is certain.
                if last and (held or job() is None or owner.get("job") != job()):
                    raise self._in_use()
                return False
            if known_dead:
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, self._content, 0)
                os.fsync(descriptor)
                self._descriptor, descriptor = descriptor, -1
            else:
                self._take_over()
            return True
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _take_over(self) -> None:
        """Put a file of our own in place of a silent owner's: a server may keep his lock though his machine is gone."""
        aside = self.path.with_name(f"{self.path.name}.{uuid4().hex}.partial")
        self._descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            os.pwrite(self._descriptor, self._content, 0)
            os.fsync(self._descriptor)
            _flock(self._descriptor)
            aside.replace(self.path)
            time.sleep(SETTLE_S)
            self.check()
        except BaseException:
            os.close(self._descriptor)
            self._descriptor = -1
            aside.unlink(missing_ok=True)
            raise

    def _in_use(self) -> InUse:
        where = whereabouts(self.path)
        return InUse(f"{self.what} is in use by another process" + (f" ({where})" if where else ""))

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError, InUse):
                self.check()
                os.utime(self.path)

    def check(self) -> None:
        """Raise `InUse` if the file is no longer ours; to be called before anything is written on its strength."""
        with writing(self.path):
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                content = b""
        if content != self._content:
            raise InUse(f"{self.what} was taken over by another process while this one was silent")

    def release(self) -> None:
        """Give the file up; may be called again."""
        if self._descriptor < 0:
            return
        self._released.set()
        with contextlib.suppress(OSError, UserError):
            self.check()
            self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
