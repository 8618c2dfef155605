"""Reading the machine's archives, and the private apt folder made from them; no network."""

from pathlib import Path

import pytest

from boards import apt

KEY = "/usr/share/keyrings/a.gpg"

DEB822 = f"""\
# the mirror of this site
Types: deb deb-src
# another one
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm
 bookworm-updates
components: main contrib
Signed-By: {KEY}

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_deb822_fields_comments_and_continuations() -> None:
    first, second, security = apt.parse_deb822(DEB822)
    assert first.uri == "http://mirror.example/debian"
    assert second.uri == "http://second.example/debian"
    assert first.suites == ("bookworm", "bookworm-updates")
    assert first.components == ("main", "contrib")
    assert first.options == {"signed-by": KEY}
    assert security.suites == ("bookworm-security",)


def test_deb822_key_inside_the_file_is_kept_as_it_stands() -> None:
    block = (
        "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----"
    )
    text = f"Types: deb\nURIs: http://m.example/d\nSuites: sid\nComponents: main\nSigned-By:{block}"
    (archive,) = apt.parse_deb822(text)
    assert f"Signed-By: {block}" in apt.sources_text(archive, "sid")
    assert apt.parse_deb822(apt.sources_text(archive, "sid").replace("deb-src", "deb"))


@pytest.mark.parametrize(
    ("line", "uri"),
    [
        ("deb http://m.example/debian bookworm main", "http://m.example/debian"),
        (f"deb [arch=amd64 signed-by={KEY}] http://m.example/d sid main # x", "http://m.example/d"),
        ("deb-src [ trusted=yes ] file:/srv/debian bookworm main", "file:/srv/debian"),
        ("# deb http://m.example/debian bookworm main", None),
        ("deb http://m.example/debian", None),
        ("debx http://m.example/debian bookworm main", None),
        ("", None),
    ],
)
def test_one_line_style(line: str, uri: str | None) -> None:
    found = apt.parse_one_line(line)
    assert [archive.uri for archive in found] == ([uri] if uri else [])


def test_options_of_one_line() -> None:
    (archive,) = apt.parse_one_line(f"deb [trusted=yes signed-by={KEY},/b.gpg] http://m/d sid main")
    assert archive.options == {"trusted": "yes", "signed-by": f"{KEY} /b.gpg"}
    assert archive.trusted


def test_only_whole_releases_of_the_distribution_count() -> None:
    archives = [
        *apt.parse_deb822(DEB822),
        *apt.parse_one_line("deb http://vendor.example/apt nodistro main"),
        *apt.parse_one_line("deb cdrom:[Debian]/ bookworm main"),
        *apt.parse_one_line("deb http://mirror.example/debian trixie main"),
        *apt.parse_one_line("deb http://extra.example/debian bookworm contrib"),
    ]
    found = [archive.uri for archive in apt.main_archives(archives, "bookworm")]
    assert found == ["http://mirror.example/debian", "http://second.example/debian"]


def test_files_apt_ignores_are_ignored(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://old.example/d bookworm main\n", "utf-8")
    (parts / "a.sources").write_text(DEB822, "utf-8")
    (parts / "b.list").write_text("deb http://b.example/d bookworm main\n", "utf-8")
    (parts / "c.list.disabled").write_text("deb http://c.example/d bookworm main\n", "utf-8")
    (parts / "d e.list").write_text("deb http://d.example/d bookworm main\n", "utf-8")
    hosts = [archive.uri.split("/")[2] for archive in apt.read_archives(tmp_path)]
    assert hosts == [
        "old.example",
        "mirror.example",
        "second.example",
        "security.example",
        "b.example",
    ]


def test_nothing_configured_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(apt.AptError) as caught:
        apt.find_version(tmp_path, "x", lambda _: True, lambda _: None, tmp_path, "bookworm")
    assert "bookworm" in str(caught.value)
    assert "MICROPYTHON_SRC" in str(caught.value)


def test_private_configuration_stays_in_its_folder(tmp_path: Path) -> None:
    text = apt.private_config(tmp_path)
    assert "#clear APT::Update::Post-Invoke;" in text
    for key in ("Dir::State", "Dir::State::Lists", "Dir::Cache", "Dir::Etc::SourceList"):
        assert f'{key} "{tmp_path}' in text
    assert 'APT::Sandbox::User ""' in text


@pytest.mark.parametrize(
    ("installed", "suites"),
    [
        ("bookworm", ("bookworm", "trixie", "forky", "sid")),
        ("sid", ("sid", "trixie", "forky")),
        ("noble", ("noble", "devel")),
        ("", ("trixie", "forky", "sid")),
    ],
)
def test_suites_are_tried_from_the_installed_one_up(
    installed: str, suites: tuple[str, ...]
) -> None:
    assert apt.suites_to_try(installed) == suites


def test_codename(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('NAME="x"\nVERSION_CODENAME="trixie"\n', "utf-8")
    assert apt.codename(path) == "trixie"
    assert apt.codename(tmp_path / "none") == ""
