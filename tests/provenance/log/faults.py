"""Disks that fail: at one chosen operation the process dies, the system refuses, or the power goes."""

import errno
import os
import random
from pathlib import Path

from provenance.log.files import Files


class Died(BaseException):
    """The process is no more. Not an Exception: nothing may catch it and carry on."""


class Dying(Files):
    """The process dies at operation ``at`` (counted from 0); a write in which it dies leaves half of its bytes."""

    def __init__(self, folder: Path, at: int | None = None):
        super().__init__(folder)
        self.at, self.count = at, 0
        self.done: list[str] = []

    def step(self, what: str) -> None:
        """One operation on disk."""
        if self.at is not None and self.count >= self.at:
            self.count += 1
            raise Died
        self.count += 1
        self.done.append(what)

    def write(self, path: str, data: bytes) -> None:
        self.step(f"open {path}")
        super().write(path, data)

    def write_some(self, handle: int, data: memoryview) -> int:
        try:
            self.step("write")
        except Died:
            if self.count == self.at + 1:
                os.write(handle, data[: len(data) // 2])
            raise
        return super().write_some(handle, data)

    def sync(self, handle: int) -> None:
        self.step("sync")  # and no more: the real disk under the tests never loses power

    def move(self, path: str, target: str) -> None:
        self.step(f"move {target}")
        super().move(path, target)

    def make_folder(self, path: str) -> None:
        self.step(f"make {path}")
        super().make_folder(path)

    def remove(self, path: str) -> None:
        self.step(f"remove {path}")
        super().remove(path)

    def mark(self, lock: int, size: int | None) -> None:
        self.step(f"mark {size}")
        super().mark(lock, size)


class Refusing(Dying):
    """The system refuses operation ``at`` for want of space, and all later ones too if ``lasting``."""

    def __init__(self, folder: Path, at: int, *, lasting: bool = False):
        super().__init__(folder, at)
        self.lasting = lasting

    def step(self, what: str) -> None:
        fails = self.count >= self.at if self.lasting else self.count == self.at
        self.count += 1
        if fails and not what.startswith("mark"):  # which writes a few bytes into a file that has them already
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.done.append(what)

    def write_some(self, handle: int, data: memoryview) -> int:
        self.step("write")
        return Files.write_some(self, handle, data)


class PowerLoss(Dying):
    """The power goes at operation ``at``, and with it what was not forced to disk.

    A file's content lasts once the file was synced, a name once its folder was. What was there at first, lasts.
    ``remains`` writes into another folder what a disk may hold then.
    """

    def __init__(self, folder: Path, at: int | None = None):
        super().__init__(folder, at)
        self.now: dict[str, int] = {}  # file -> number of its content
        self.content: dict[int, bytes] = {}  # what of it lasts
        self.folders = {"."}
        for root, folders, names in os.walk(folder):
            below = Path(root).relative_to(folder)
            self.folders |= {str(below / name) for name in folders}
            for name in names:
                self.now[str(below / name)] = len(self.content)
                self.content[len(self.content)] = Path(root, name).read_bytes()
        self.lasting, self.lasting_folders = dict(self.now), set(self.folders)
        self.open: tuple[int, bytes] | None = None  # number and data of the file that is being written

    def write(self, path: str, data: bytes) -> None:
        number = len(self.content)
        self.content[number] = b""
        self.now[path] = number
        self.open = number, data
        super().write(path, data)
        self.open = None

    def sync(self, handle: int) -> None:
        super().sync(handle)
        if self.open is not None:
            number, data = self.open
            self.content[number] = data

    def move(self, path: str, target: str) -> None:
        super().move(path, target)
        self.now[target] = self.now.pop(path)

    def make_folder(self, path: str) -> None:
        super().make_folder(path)
        self.folders.add(path)

    def remove(self, path: str) -> None:
        super().remove(path)
        self.now.pop(path, None)

    def sync_folder(self, path: str) -> None:
        super().sync_folder(path)
        inside = {name for name in {*self.now, *self.lasting} if (os.path.dirname(name) or ".") == path}
        for name in inside:
            if name in self.now:
                self.lasting[name] = self.now[name]
            else:
                self.lasting.pop(name)
        self.lasting_folders |= {name for name in self.folders if (os.path.dirname(name) or ".") == path}

    def remains(self, folder: Path, chance: random.Random | None) -> None:
        """What is left: of names that were not forced to disk none, or those that ``chance`` keeps."""

        def kept() -> bool:
            return chance is not None and chance.random() < 0.5

        folders = {name for name in sorted(self.folders) if name in self.lasting_folders or kept()}
        folders = {name for name in folders if all(str(above) in folders for above in Path(name).parents)}
        for name in sorted(folders):
            (folder / name).mkdir(exist_ok=True)
        for name in sorted({*self.now, *self.lasting}):
            number = (self.now if kept() else self.lasting).get(name)
            if number is not None and (os.path.dirname(name) or ".") in folders:
                (folder / name).write_bytes(self.content[number])
