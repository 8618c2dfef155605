"""Debian source packages through the apt of this machine, without changing anything about it.

The archives come from /etc/apt as the administrator set them up, mirror and keyring included. A
suite newer than the installed one is used in a private apt folder with its own lists and cache,
so that no system-wide list, cache or preference changes and no root is needed.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .cache import Progress
from .errors import BoardError, ToolMissing

ETC: Final = Path("/etc/apt")
SCHEMES: Final = ("http", "https", "file", "copy", "mirror", "mirror+http", "mirror+https")
# Names under which an archive of the distribution offers its releases; others' archives do not.
SUITES: Final = ("stable", "testing", "unstable", "sid", "bookworm", "trixie", "forky")
_APT_TIMEOUT_S: Final = 300
_PART: Final = re.compile(r"[A-Za-z0-9_.-]+")  # apt ignores files with other names
_ONE_LINE: Final = re.compile(
    r"(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>.+)"
)
# Of a configured archive, what the private copy must keep to be trusted alike.
_KEPT: Final = ("signed-by", "trusted", "check-valid-until", "allow-insecure")


class AptError(BoardError):
    """apt is not there, not configured, or refused."""


@dataclass(frozen=True)
class Archive:
    """One archive of the machine's configuration."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)  # deb822 names in lower case

    @property
    def trusted(self) -> bool:
        """Return whether the administrator switched signatures off for it."""
        return self.options.get("trusted", "no").lower() in ("yes", "true", "1", "force")


def parse_deb822(text: str) -> list[Archive]:
    """Read the archives of a ``.sources`` file (sources.list(5), "DEB822-STYLE FORMAT")."""
    found: list[Archive] = []
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text.replace("\r\n", "\n") + "\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.split("\n"):
            if line.startswith("#") or not line.strip():
                continue  # a comment may stand between a field and its continuation
            if line[0] in " \t":
                if name:
                    fields[name] += "\n" + line
                continue
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without"):
            continue
        if not {"deb", "deb-src"} & set(fields.get("types", "").split()):
            continue
        found += [
            Archive(
                uri,
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                {name: fields[name] for name in _KEPT if name in fields},
            )
            for uri in fields.get("uris", "").split()
        ]
    return found


def parse_one_line(text: str) -> list[Archive]:
    """Read the archives of a ``sources.list`` (sources.list(5), "ONE-LINE-STYLE FORMAT")."""
    found: list[Archive] = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if not match:
            continue
        words = match["rest"].split()
        if len(words) < 2:
            continue
        options: dict[str, str] = {}
        for word in (match["options"] or "").split():
            name, _, value = word.partition("=")
            if name.lower() in _KEPT:
                options[name.lower()] = value.replace(",", " ")
        found.append(Archive(words[0], (words[1],), tuple(words[2:]), options))
    return found


def read_archives(etc: Path = ETC) -> list[Archive]:
    """Return every configured archive in apt's order; files that apt ignores are left out."""
    found: list[Archive] = []
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else [])]:
        if not path.is_file() or not _PART.fullmatch(path.name):
            continue
        if path.suffix not in (".list", ".sources"):
            continue
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise AptError(f"{path}: cannot be read ({error.strerror})") from error
        found += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return found


def main_archives(archives: list[Archive], codename: str) -> list[Archive]:
    """Return those that offer whole releases of the distribution, each URI once.

    An archive of security updates or of another vendor has no suite of such a name, or no
    component ``main``.
    """
    known = {codename, *SUITES}
    found: dict[str, Archive] = {}
    for archive in archives:
        scheme = archive.uri.partition(":")[0]
        if scheme in SCHEMES and known & set(archive.suites) and "main" in archive.components:
            found.setdefault(archive.uri, archive)
    return list(found.values())


def codename(os_release: Path = Path("/etc/os-release")) -> str:
    """Return the installed release's code name, empty if the system has none."""
    try:
        text = os_release.read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^VERSION_CODENAME=[\"']?([\w-]+)", text, re.MULTILINE)
    return match[1] if match else ""


def sources_text(archive: Archive, suite: str) -> str:
    """Return a ``.sources`` file with the source packages of one suite of an archive."""
    lines = ["Types: deb-src", f"URIs: {archive.uri}", f"Suites: {suite}", "Components: main"]
    lines += [f"{name.title()}: {value}" for name, value in archive.options.items()]
    return "\n".join(lines) + "\n"


def private_config(folder: Path) -> str:
    """Return apt.conf(5) text that keeps what apt reads about archives, or writes, in a folder.

    The machine's own settings stay (proxy, certificates, credentials), except hooks: they act on
    the system. As root apt would drop to the user ``_apt``, who may not write into the folder.
    """
    hooks = (
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
    )
    settings = {
        "Dir::Etc::SourceList": folder / "private.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Log": folder / "log",
        "APT::Sandbox::User": "",
        "APT::Default-Release": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f"#clear {hook};" for hook in hooks]
    return "\n".join([*lines, *(f'{key} "{value}";' for key, value in settings.items())]) + "\n"


class PrivateApt:
    """An apt of our own over one suite of one archive."""

    def __init__(self, folder: Path, archive: Archive, suite: str) -> None:
        self.folder = folder
        self.archive = archive
        self.suite = suite
        for name in ("state", "lists/partial", "cache/archives/partial", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").write_bytes(b"")  # nothing is installed here
        (folder / "private.sources").write_text(sources_text(archive, suite), encoding="utf-8")
        (folder / "apt.conf").write_text(private_config(folder), encoding="utf-8")

    def _run(self, command: str, *arguments: str, where: Path | None = None) -> str:
        program = shutil.which(command)
        if program is None:
            raise ToolMissing(command, "fetching MicroPython's source", "apt")
        try:
            done = subprocess.run(
                [program, "-c", str(self.folder / "apt.conf"), "-q", *arguments],
                cwd=where or self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_APT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AptError(
                f"{command} {' '.join(arguments)}: no end after {_APT_TIMEOUT_S} s; "
                "is the mirror in /etc/apt reachable?"
            ) from error
        if done.returncode:
            last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise AptError(f"{command} {' '.join(arguments)}, suite {self.suite}: {last}")
        return done.stdout

    def update(self) -> None:
        """Fetch the suite's list of source packages; AptError if it has none or is not signed."""
        # A release that cannot be verified or found is only a warning to apt without this.
        self._run("apt-get", "update", "-o", "APT::Update::Error-Mode=any")

    def versions(self, package: str) -> list[str]:
        """Return the versions of a source package in this suite."""
        try:
            text = self._run("apt-cache", "showsrc", "--only-source", package)
        except AptError:
            return []  # apt-cache ends with 100 for a name it does not know
        return re.findall(r"^Version: (\S+)$", text, re.MULTILINE)

    def download(self, package: str, version: str, target: Path) -> list[Path]:
        """Fetch a source package's files; apt checks them against the signed list."""
        target.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "source", "--download-only", f"{package}={version}", where=target)
        return sorted(path for path in target.iterdir() if path.is_file())


def suites_to_try(installed: str) -> tuple[str, ...]:
    """Return the installed release, then newer ones; Ubuntu's newest is ``devel``."""
    newer = ("trixie", "forky", "sid") if installed in ("", *SUITES) else ("devel",)
    return tuple(dict.fromkeys([installed, *newer])) if installed else newer


def find_version(
    folder: Path,
    package: str,
    good: Callable[[str], bool],
    progress: Progress,
    etc: Path = ETC,
    installed: str | None = None,
) -> tuple[PrivateApt, str]:
    """Return the first suite with a version that is ``good``, and that version.

    AptError lists what was tried and what each suite had.
    """
    name = codename() if installed is None else installed
    archives = main_archives(read_archives(etc), name)
    if not archives:
        raise AptError(
            f"{etc}: no archive of the distribution is configured (expected one with the suite "
            f"{name or 'of the installed release'} and the component main); set MICROPYTHON_SRC "
            "to a MicroPython source tree instead"
        )
    tried: list[str] = []
    for suite in suites_to_try(name):
        for archive in archives:
            progress(f"looking for {package} in {suite}")
            apt = PrivateApt(folder, archive, suite)
            try:
                apt.update()
            except AptError as error:
                tried.append(str(error))
                continue
            versions = apt.versions(package)
            for version in reversed(versions):
                if good(version):
                    return apt, version
            tried.append(f"{suite} has {', '.join(versions) or 'none'}")
    raise AptError(
        f"no usable source package {package} in the archives of {etc}: {'; '.join(tried)}. "
        "Set MICROPYTHON_SRC to a MicroPython source tree instead"
    )
