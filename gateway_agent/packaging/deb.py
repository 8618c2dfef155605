"""Build the Debian packages: our code and the locked wheels in one folder below /opt for each.

``python -m gateway_agent.packaging.deb --out dist`` (``make deb``) needs Debian's python3 with venv
and dpkg-deb. Only ``pip download`` uses the network, and takes nothing whose hash is not in the
lock; with ``--wheels DIR`` nothing does. The same sources give the same bytes: times are those of
SOURCE_DATE_EPOCH, or of the last commit.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from .lock import HERE, LOCKS, PYTHON, ROOT, packages, required
from .sbom import bill

FILES: Final = HERE / "files"
DEBIAN_PYTHON: Final = Path(f"/usr/bin/python{PYTHON}")
#: What pip notes beside a package about its installation; it would differ from build to build.
_NOTES: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_LAUNCHER: Final = """\
#!{opt}/bin/python3 -I
import sys

from {module} import {name}

sys.argv[0] = "{command}"
{name}()
"""


@dataclass(frozen=True, slots=True)
class PackageBuild:
    """One run: where it works, what it builds, and when that is said to be made."""

    work: Path
    out: Path
    version: str
    epoch: int
    wheels: Path | None  # filled before; None: by this build

    @property
    def python(self) -> Path:
        """Return the interpreter that builds, in an environment of its own."""
        return self.work / "python" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """One package: its name without ``tianfu-edge-``, its table of packages.toml, its tree."""

    name: str
    table: dict[str, object]
    root: Path

    @property
    def package(self) -> str:
        """Return the name of the Debian package."""
        return f"tianfu-edge-{self.name}"

    @property
    def opt(self) -> str:
        """Return the folder of its programs on the target."""
        return f"/opt/{self.package}"

    @property
    def site(self) -> str:
        """Return the folder of its packages of Python on the target."""
        return f"{self.opt}/lib/python{PYTHON}/site-packages"

    @property
    def doc(self) -> Path:
        """Return the folder of its documents in the tree."""
        return self.root / "usr/share/doc" / self.package

    def texts(self, key: str) -> list[str]:
        """Return an array of texts from its table."""
        found = self.table.get(key, [])
        assert isinstance(found, list)
        return [str(text) for text in found]

    def entries(self, key: str) -> dict[str, str]:
        """Return a table of texts from its table."""
        found = self.table[key]
        assert isinstance(found, dict)
        return {str(name): str(entry) for name, entry in found.items()}

    def place(self, path: str, data: str | bytes, mode: int = 0o644) -> Path:
        """Write a file of the tree."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        target.chmod(mode)
        return target


def run(*command: str | Path, cwd: Path | None = None, **variables: str) -> None:
    """Run a program; what it prints is shown if it fails only."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def pip(build: PackageBuild, *words: str | Path) -> None:
    """Run the build's own pip."""
    run(build.python, "-m", "pip", "--disable-pip-version-check", *words)


def fetch(build: PackageBuild, name: str) -> Path:
    """Return a folder with the locked wheels of a package; pip refuses every other file."""
    folder = build.wheels or build.work / "wheels"
    if build.wheels is None:
        lock = LOCKS / f"{name}.txt"
        words = ("--require-hashes", "--only-binary=:all:", "--no-deps", "-r", lock, "-d", folder)
        pip(build, "download", *words)
    return folder


def prepare(build: PackageBuild) -> None:
    """Make the environment that builds wheels of our own code."""
    if not DEBIAN_PYTHON.exists():
        sys.exit(f"expected {DEBIAN_PYTHON}, which the packages run on: apt-get install python3")
    shutil.rmtree(build.work, ignore_errors=True)
    run(DEBIAN_PYTHON, "-m", "venv", build.work / "python")
    offline = ("--no-index", "--no-deps", "--require-hashes", "--find-links", fetch(build, "build"))
    pip(build, "install", "--ignore-installed", *offline, "-r", LOCKS / "build.txt")


def own_wheel(build: PackageBuild, part: DebianPackage) -> Path:
    """Return a wheel with the part of our code that belongs into ``part``, and its commands."""
    source = build.work / f"source-{part.name}"
    source.mkdir()
    for folder in ("boards", "firmware", "gateway_agent", "protocols"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.mpy", "*.egg-info")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ("LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    with (ROOT / "pyproject.toml").open("rb") as file:
        tables = tomllib.load(file)
    project, tool = tables["project"], tables["tool"]["setuptools"]
    kept = ("name", "version", "description", "license", "license-files", "requires-python")
    described = {key: project[key] for key in kept}
    described["dependencies"] = required(part.table)
    found = {**tool["packages"]["find"], "include": part.texts("packages")}
    lines = ['[build-system]\nrequires = ["setuptools"]', 'build-backend = "setuptools.build_meta"']
    lines += _toml("project", described)
    lines += _toml("tool.setuptools", {"include-package-data": False})
    lines += _toml("tool.setuptools.packages.find", found)
    lines += _toml("tool.setuptools.package-data", tool["package-data"])
    (source / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    run(build.python, "-W", "ignore", "-c", code, build.work / "own" / part.name, cwd=source)
    (wheel,) = (build.work / "own" / part.name).glob("*.whl")
    return wheel


def _toml(name: str, table: dict[str, object]) -> list[str]:
    """Return a table as TOML; texts, switches and arrays of texts look as they do in JSON."""
    return [f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(table[key])}" for key in table)]


def programs(build: PackageBuild, part: DebianPackage) -> list[Path]:
    """Install wheels and code below /opt; return the wheels of others that went in."""
    folder, site = fetch(build, part.name), part.root / part.site[1:]
    site.mkdir(parents=True)
    offline = ("--no-index", "--no-deps", "--no-compile", "--require-hashes")
    lock = LOCKS / f"{part.name}.txt"
    pip(build, "install", *offline, "--find-links", folder, "--target", site, "-r", lock)
    with zipfile.ZipFile(own_wheel(build, part)) as archive:
        archive.extractall(site)
    for name in ("bin", *part.texts("drop")):
        shutil.rmtree(site / name)
    for path in sorted(site.rglob("*")):
        if path.parent.suffix == ".dist-info" and path.name in _NOTES:
            path.unlink()
        elif path.is_file():
            # pip keeps what the wheel has: a program inside a package stays one.
            is_program = path.stat().st_mode & 0o100 and path.suffix == ""
            path.chmod(0o755 if is_program else 0o644)
            if ".so" in path.suffixes:
                run("strip", "--strip-unneeded", path)
            elif path.suffix == ".py" and (data := path.read_bytes()).startswith(b"#!"):
                path.write_bytes(b"#" + data[2:])  # a module is imported, not started
    link(part.root / part.opt[1:] / "bin" / "python3", str(DEBIAN_PYTHON))
    home = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    part.place(f"{part.opt[1:]}/pyvenv.cfg", home)
    for command, entry in part.entries("commands").items():
        module, _, name = entry.partition(":")
        text = _LAUNCHER.format(opt=part.opt, module=module, name=name, command=command)
        part.place(f"{part.opt[1:]}/bin/{command}", text, 0o755)
        link(part.root / "usr/bin" / command, f"{part.opt}/bin/{command}")
    return sorted(folder.glob("*.whl"))


def link(path: Path, target: str) -> None:
    """Make a symbolic link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def pages(part: DebianPackage) -> None:
    """Write man pages and shell completion, from the commands of the tree themselves."""
    python = part.root / part.opt[1:] / "bin" / "python3"
    for command, entry in part.entries("pages").items():
        words = (command, entry, part.root / "usr/share")
        run(python, "-I", "-B", HERE / "pages.py", *words, COLUMNS="100", TERM="dumb")
    for page in (part.root / "usr/share/man/man1").iterdir():
        page.with_name(page.name + ".gz").write_bytes(_gzip(page.read_bytes()))
        page.unlink()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def service(part: DebianPackage) -> None:
    """Install the unit with its user, folders and examples, if the package has a service."""
    source = FILES / part.name
    for unit in source.glob("*.service"):
        part.place(f"usr/lib/systemd/system/{unit.name}", unit.read_bytes())
        part.place(f"usr/lib/sysusers.d/{unit.stem}.conf", (source / "sysusers.conf").read_bytes())
        part.place(f"usr/lib/tmpfiles.d/{unit.stem}.conf", (source / "tmpfiles.conf").read_bytes())
    for example in source.glob("*.toml"):
        part.place(
            f"{part.doc.relative_to(part.root)}/examples/{example.name}", example.read_bytes()
        )
    if part.name == "gateway":
        every_key = (ROOT / "gateway_agent/example.toml").read_bytes()
        part.place(f"{part.doc.relative_to(part.root)}/examples/every-key.toml", every_key)


def documents(
    build: PackageBuild, part: DebianPackage, maintainer: str, wheels: list[Path]
) -> None:
    """Write copyright, changelogs, README.Debian, the bill of materials, lintian's overrides."""
    doc = str(part.doc.relative_to(part.root))
    date = datetime.fromtimestamp(build.epoch, UTC)
    entry = (
        f"{part.package} ({build.version}) stable; urgency=medium\n\n"
        f"  * The changes are in changelog.gz.\n\n -- {maintainer}  {format_datetime(date)}\n"
    )
    part.place(f"{doc}/changelog.Debian.gz", _gzip(entry.encode()))
    part.place(f"{doc}/changelog.gz", _gzip((ROOT / "CHANGELOG.md").read_bytes()))
    part.place(f"{doc}/copyright", (FILES / "common/copyright").read_bytes())
    part.place(f"{doc}/README.Debian", (FILES / part.name / "README.Debian").read_bytes())
    lock = (LOCKS / f"{part.name}.txt").read_text(encoding="utf-8")
    site = part.root / part.site[1:]
    text = bill(part.package, build.version, date, lock, wheels, site)
    part.place(f"{doc}/sbom.cdx.json", text)
    overrides = "".join(
        path.read_text(encoding="utf-8").replace("@PACKAGE@", part.package)
        for folder in ("common", part.name)
        if (path := FILES / folder / "lintian-overrides").exists()
    )
    part.place(f"usr/share/lintian/overrides/{part.package}", overrides)


def control(
    build: PackageBuild, part: DebianPackage, common: dict[str, str], architecture: str
) -> None:
    """Write what dpkg reads: control, md5sums and the scripts of the maintainer."""
    files = sorted(
        path for path in part.root.rglob("*") if path.is_file() and not path.is_symlink()
    )
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"
        f"  {path.relative_to(part.root)}\n"
        for path in files
    ]
    next_minor = f"3.{int(PYTHON.partition('.')[2]) + 1}"
    depends = [f"python3 (>= {PYTHON}~)", f"python3 (<< {next_minor}~)", "libc6 (>= 2.34)"]
    depends += part.texts("depends")
    fields = {
        "Package": part.package,
        "Version": build.version,
        "Architecture": architecture,
        "Maintainer": common["maintainer"],
        "Installed-Size": str(size),
        "Depends": ", ".join(depends),
        "Suggests": ", ".join(part.texts("suggests")),
        "Section": "net",
        "Priority": "optional",
        "Homepage": common["homepage"],
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    lines.append(f"Description: {part.table['summary']}")
    lines += [f" {line}" for line in str(part.table["description"]).strip().splitlines()]
    part.place("DEBIAN/control", "\n".join(lines) + "\n")
    part.place("DEBIAN/md5sums", "".join(sums))
    for script in ("preinst", "postinst", "prerm", "postrm"):
        text = _script(part, (FILES / "common" / script).read_text(encoding="utf-8"))
        if "user" in part.table or script in ("postinst", "prerm"):
            part.place(f"DEBIAN/{script}", text, 0o755)


def _script(part: DebianPackage, text: str) -> str:
    """Fill in a script of the maintainer; lines about a service are kept where there is one."""
    head, _, rest = text.partition("#SERVICE\n")
    about, _, tail = rest.partition("#END\n")
    text = (head + about + tail) if "user" in part.table else (head + tail)
    names = {
        "OPT": part.opt,
        "LIB": part.opt + "/lib",
        "PART": part.name,
        "SERVICE": f"tianfu-{part.name}",
        "COMMAND": next(iter(part.entries("commands"))),
    }
    for name, value in names.items():
        text = text.replace(f"@{name}@", value)
    return text


def build_package(
    build: PackageBuild, name: str, common: dict[str, str], architecture: str
) -> Path:
    """Build one package; return its file."""
    part = DebianPackage(name, packages()[name], build.work / f"tianfu-edge-{name}")
    wheels = programs(build, part)
    pages(part)
    service(part)
    documents(build, part, common["maintainer"], wheels)
    control(build, part, common, architecture)
    for path in [part.root, *part.root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    build.out.mkdir(parents=True, exist_ok=True)
    target = build.out / f"{part.package}_{build.version}_{architecture}.deb"
    words = ("dpkg-deb", "--root-owner-group", "-Zxz", "--build", part.root, target)
    run(*words, SOURCE_DATE_EPOCH=str(build.epoch))
    return target


def _epoch() -> int:
    named = os.environ.get("SOURCE_DATE_EPOCH")
    if named:
        return int(named)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (
        int(done.stdout) if done.returncode == 0 else int((ROOT / "CHANGELOG.md").stat().st_mtime)
    )


def main() -> None:
    """Build what the command line asks for."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        release = tomllib.load(file)["project"]["version"]
    with (HERE / "packages.toml").open("rb") as file:
        common = {k: v for k, v in tomllib.load(file).items() if isinstance(v, str)}
    names = [name for name in packages() if name != "build"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--work", type=Path, default=ROOT / "build/deb")
    parser.add_argument("--version", default=f"{release}-1")
    parser.add_argument("--wheels", type=Path, help="a folder that has every locked wheel")
    options = parser.parse_args()
    os.umask(0o022)
    build = PackageBuild(
        options.work.resolve(), options.out.resolve(), options.version, _epoch(), options.wheels
    )
    prepare(build)
    asked = ["dpkg", "--print-architecture"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    for name in options.names:
        print(build_package(build, name, common, done.stdout.strip()))  # noqa: T201


if __name__ == "__main__":
    main()
