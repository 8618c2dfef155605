# A file system in RAM, for a board that has none: the smallest that imports, copies and hashes.
# What it holds stands in the record store too, from which it is filled again after a restart.
import io
import json
import os
import sys

import flashstore

PART = 1000  # bytes of a record
DIR = 0x4000
FILE = 0x8000


class Open(io.IOBase):
    def __init__(self, disk, path, data, write):
        self.disk = disk
        self.path = path
        self.data = data
        self.writes = write
        self.at = 0
        if write:
            data[:] = b""

    def readinto(self, buf):
        part = self.data[self.at : self.at + len(buf)]
        buf[: len(part)] = part
        self.at += len(part)
        return len(part)

    def read(self, count=-1):
        end = len(self.data) if count is None or count < 0 else self.at + count
        part = bytes(self.data[self.at : end])
        self.at += len(part)
        return part

    def write(self, buf):
        self.data.extend(buf)
        return len(buf)

    def flush(self):
        pass

    def close(self):
        if self.writes:
            self.writes = False
            self.disk.keep(self.path)

    def ioctl(self, request, arg):
        return 0

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


class RamDisk:
    def __init__(self):
        self.tree = {}
        self.cwd = ""
        self.kept = json.loads(flashstore.read("dir") or b"[]")
        for number, (path, parts) in enumerate(self.kept):
            data = bytearray()
            for part in range(parts):
                data.extend(flashstore.read(f"{number}.{part}"))
            for at, char in enumerate(path):
                if char == "/":
                    self.tree[path[:at]] = None
            self.tree[path] = data

    def keep(self, path):
        if path.split("/")[0] not in ("main.py", "boards", "store") or path.endswith(".tmp"):
            return
        data = self.tree[path]
        parts = (len(data) + PART - 1) // PART
        names = [name for name, _ in self.kept]
        number = names.index(path) if path in names else len(names)
        for part in range(parts):
            piece = bytes(data[part * PART : part * PART + PART])
            flashstore.write(f"{number}.{part}", piece)
        self.kept[number : number + 1] = [(path, parts)]
        self.keep_names()

    def keep_names(self):
        flashstore.write("dir", json.dumps(self.kept).encode())

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def chdir(self, path):
        self.cwd = self.full(path)

    def getcwd(self):
        return "/" + self.cwd

    def full(self, path):
        if not path.startswith("/"):
            path = self.cwd + "/" + path
        return path.strip("/")

    def find(self, path):
        path = self.full(path)
        if path and path not in self.tree:
            raise OSError(2)
        return path

    def open(self, path, mode):
        path = self.full(path)
        write = "w" in mode
        if write and self.tree.get(path, b"") is None:
            raise OSError(21)
        if write:
            self.tree[path] = bytearray()
        elif self.tree.get(path) is None:
            raise OSError(2)
        return Open(self, path, self.tree[path], write)

    def mkdir(self, path):
        path = self.full(path)
        if path in self.tree:
            raise OSError(17)
        self.tree[path] = None

    def remove(self, path):
        path = self.find(path)
        del self.tree[path]
        for number, (name, _) in enumerate(self.kept):
            if name == path:
                self.kept[number] = ("removed", 0)
                self.keep_names()

    def rename(self, old, new):
        self.tree[self.full(new)] = self.tree.pop(self.find(old))
        self.keep(self.full(new))

    def stat(self, path):
        path = self.find(path)
        data = self.tree[path] if path else None
        size = 0 if data is None else len(data)
        return (DIR if data is None else FILE, 0, 0, 0, 0, 0, size, 0, 0, 0)

    def ilistdir(self, path):
        path = self.find(path)
        head = path + "/" if path else ""
        for name, data in list(self.tree.items()):
            if name.startswith(head) and "/" not in name[len(head) :] and name != path:
                yield name[len(head) :], DIR if data is None else FILE, 0


os.mount(RamDisk(), "/ram")
os.chdir("/ram")
# The image's own start has imported its frozen packages; a stock board has none of them.
for name in [name for name in sys.modules if name.split(".")[0] == "boards"]:
    del sys.modules[name]
