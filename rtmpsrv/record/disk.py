"""The folder of recordings: files are made, written and finished in it. Everything here may block.

Runs in threads: no locks, no log. Paths are walked part by part from an open folder, and no symbolic link
in it is followed, so nothing outside is ever touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from .names import INDEX, PART, is_below

FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
MAX_SAME: Final = 1000  # files of one name, told apart by a counter
MAX_TRIES: Final = 10  # to make a file while somebody removes the folder, which is empty, again and again
MAX_INDEX_BYTES: Final = 64 << 20  # read at one go; older lines are passed over
FIRST_LINE: Final = 1 << 10  # by which an index is known: numbers of files are given again
MIN_FREE: Final = 1 << 30  # bytes; or a share, of a small file system
MIN_FREE_SHARE: Final = 20  # a twentieth

_WALK: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


Mark = tuple[int, int]  # which index, and how many bytes of it were read
NOTHING_READ: Final[Mark] = (0, 0)


class TooFull(OSError):
    """There is less room left than recordings may take."""


class OpenFile:
    """A file that is written. Used by one thread at a time."""

    __slots__ = ("fd", "name", "size")

    def __init__(self, name: str, fd: int, size: int = 0) -> None:
        self.name = name  # that it will have
        self.fd = fd
        self.size = size  # that was written whole

    def close(self) -> None:
        """Let go of it. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Folder:
    """One directory, which the operator names."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def open(self) -> None:
        """Look whether it can be opened, and make it if need be. Raises OSError."""
        os.close(self._opened(make=True))

    def is_there(self) -> bool:
        """Tell whether there is such a folder."""
        return os.path.isdir(self.path)

    def create(self, name: str, suffix: str) -> OpenFile:
        """Make a file that nobody has, under a name that says that it is not whole. Raises OSError."""
        for _ in range(1, MAX_TRIES):
            with suppress(FileNotFoundError):
                return self._create(name, suffix)
        return self._create(name, suffix)

    def take(self, name: str) -> OpenFile | None:
        """Open a file that was left unfinished; None where somebody writes it.

        Raises FileNotFoundError where there is none, OSError.
        """
        with self._parent(name) as (folder, last):
            fd = os.open(last + PART, os.O_RDWR | _PLAIN, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return OpenFile(name, fd, os.fstat(fd).st_size)

    def write(self, file: OpenFile, blocks: Sequence[bytes]) -> None:
        """Append. Raises OSError; `size` then is what was whole before."""
        if not os.fstat(file.fd).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file was deleted", file.name)
        self._check_room(file.fd)
        data = memoryview(b"".join(blocks))
        size, at = len(data), file.size
        while data:
            written = os.pwrite(file.fd, data, at)
            at, data = at + written, data[written:]
        file.size += size

    def beginning(self, file: OpenFile, most: int) -> bytes:
        """Return what a file begins with. Raises OSError."""
        return os.pread(file.fd, min(most, file.size), 0)

    def finish(self, file: OpenFile, patches: Iterable[tuple[int, bytes]]) -> None:
        """Cut off what is not whole, write what is known now, and give it its name. Raises OSError."""
        try:
            os.ftruncate(file.fd, file.size)
            for place, data in patches:
                os.pwrite(file.fd, data, place)
            os.fdatasync(file.fd)
            with self._parent(file.name) as (folder, last):
                _check_same(file, last + PART, folder)
                os.rename(last + PART, last, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            file.close()

    def drop(self, file: OpenFile) -> None:
        """Remove a file that holds nothing. Raises OSError."""
        try:
            with self._parent(file.name) as (folder, last):
                _check_same(file, last + PART, folder)
                os.unlink(last + PART, dir_fd=folder)
        finally:
            file.close()

    def remove(self, name: str) -> bool:
        """Delete a finished file; tell whether it was there. Raises OSError."""
        try:
            with self._parent(name) as (folder, last):
                os.unlink(last, dir_fd=folder)
        except FileNotFoundError:
            return False
        self._remove_empty(name)
        return True

    def size_of(self, name: str) -> int | None:
        """Return the size of a finished file; None where there is none."""
        try:
            with self._parent(name) as (folder, last):
                return os.stat(last, dir_fd=folder, follow_symlinks=False).st_size
        except OSError:
            return None

    def part_size_of(self, name: str) -> int:
        """Return the size of a file that is not whole; 0 where there is none."""
        return self.size_of(name + PART) or 0

    def note(self, lines: Sequence[bytes]) -> None:
        """Append lines to the index, at one go. Raises OSError."""
        with self._index(os.O_RDWR | os.O_APPEND) as (fd, _):
            data = b"".join(lines)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":  # somebody could not write all of a line
                data = b"\n" + data
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, "the index could not be written", INDEX)

    def noted(self) -> bytes:
        """Return the index, its end if it is too long. Raises OSError."""
        return self.noted_since(NOTHING_READ)[0]

    def noted_since(self, mark: Mark) -> tuple[bytes, Mark]:
        """Return the whole lines of the index behind a mark, and the mark for the next time.

        All of them, if another index has taken the place of that one: then the mark's number changes.
        Raises OSError.
        """
        number, at = mark
        with self._index(os.O_RDONLY) as (fd, _):
            found = os.fstat(fd)
            this = hash((found.st_dev, found.st_ino, os.pread(fd, FIRST_LINE, 0).partition(b"\n")[0]))
            if this != number or found.st_size < at:
                at = 0
            at = max(at, found.st_size - MAX_INDEX_BYTES)
            data = os.pread(fd, MAX_INDEX_BYTES, at)
            whole = data[: data.rfind(b"\n") + 1]
            return whole, (this, at + len(whole))

    def rewrite(self, shorten: Callable[[bytes], bytes | None]) -> None:
        """Put another index in the place of this one, while nobody else does anything with it."""
        with self._index(os.O_RDONLY) as (fd, root):
            size = os.fstat(fd).st_size
            shorter = shorten(os.pread(fd, MAX_INDEX_BYTES, max(0, size - MAX_INDEX_BYTES)))
            if shorter is None:
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN
            new = os.open(INDEX + PART, flags, FILE_MODE, dir_fd=root)
            try:
                with os.fdopen(new, "wb") as stream:
                    stream.write(shorter)
                    stream.flush()
                    os.fdatasync(new)
                os.rename(INDEX + PART, INDEX, src_dir_fd=root, dst_dir_fd=root)
            except OSError:
                os.unlink(INDEX + PART, dir_fd=root)
                raise

    def _create(self, name: str, suffix: str) -> OpenFile:
        with self._parent(name, make=True) as (folder, last):
            self._check_room(folder)
            for number in range(1, MAX_SAME + 1):
                counted = last if number == 1 else f"{last}_{number}"
                try:
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN
                    fd = os.open(counted + suffix + PART, flags, FILE_MODE, dir_fd=folder)
                except FileExistsError:
                    continue
                if _exists(counted + suffix, folder):  # looked at only now that nobody else can make it
                    os.close(fd)
                    os.unlink(counted + suffix + PART, dir_fd=folder)
                    continue
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is in use while we live
                parent, slash, _ = name.rpartition("/")
                return OpenFile(parent + slash + counted + suffix, fd)
        raise OSError(errno.EEXIST, "too many files of one name", name)

    def _opened(self, *, make: bool) -> int:
        """Open it as it is now: it may have been removed, or be on another disk than a moment ago."""
        if make:
            os.makedirs(self.path, FOLDER_MODE, exist_ok=True)
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _check_room(self, fd: int) -> None:
        """Raise TooFull where no more may be written."""
        found = os.fstatvfs(fd)
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        if free < min(MIN_FREE, total // MIN_FREE_SHARE):
            raise TooFull(errno.ENOSPC, "the disk is almost full", self.path)

    @contextmanager
    def _index(self, flags: int) -> Iterator[tuple[int, int]]:
        """Open the index and this folder, and keep others out; it may have been replaced while we waited."""
        root = self._opened(make=True)
        try:
            while True:
                fd = os.open(INDEX, flags | os.O_CREAT | _PLAIN, FILE_MODE, dir_fd=root)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    if _is_same(fd, INDEX, root):
                        yield fd, root
                        return
                finally:
                    os.close(fd)
        finally:
            os.close(root)

    @contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of a file, and return the last part of its name."""
        if not is_below(name):
            raise OSError(errno.EINVAL, "not a file of this folder", name)
        *folders, last = name.split("/")
        fd = self._opened(make=make)
        try:
            for part in folders:
                if make:
                    with suppress(FileExistsError):  # if it is no folder, the next line says so
                        os.mkdir(part, FOLDER_MODE, dir_fd=fd)
                inner = os.open(part, _WALK, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, last
        finally:
            os.close(fd)

    def _remove_empty(self, name: str) -> None:
        """Remove the folders of a file that was the last in them."""
        while "/" in name:
            name = name.rpartition("/")[0]
            try:
                with self._parent(name) as (folder, last):
                    os.rmdir(last, dir_fd=folder)
            except OSError:
                return  # there is more in it


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_same(fd: int, name: str, folder: int) -> bool:
    mine, there = os.fstat(fd), os.stat(name, dir_fd=folder, follow_symlinks=False)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _check_same(file: OpenFile, name: str, folder: int) -> None:
    """Raise FileNotFoundError where another file has that name now."""
    if not _is_same(file.fd, name, folder):
        raise FileNotFoundError(errno.ENOENT, "the file was deleted", file.name)
