#!/bin/sh
# Provide the mosquitto broker for the tests without starting a service.
#
# Debian's package starts a system broker on port 1883 when it is installed. The tests start their
# own on a free port, so only the libraries are installed system-wide; the program itself is
# unpacked into .cache, where tests/conftest.py looks for it.
set -eu
cd "$(dirname "$0")/../.."
cache=.cache/mosquitto

starts() { # -h ends with a status other than 0, but says the version only if all libraries are there
    "$cache/usr/sbin/mosquitto" -h 2>/dev/null | grep -q "^mosquitto version"
}

if PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v mosquitto >/dev/null; then
    exit 0
fi
if starts; then
    exit 0
fi

say_how() {
    echo "mosquitto: $1. Tests against it will be skipped (and fail under CI=true)." >&2
    echo "mosquitto: to run them, type: sudo apt-get install --yes mosquitto" >&2
    exit 0
}

command -v apt-get >/dev/null || say_how "not installed, and this system has no apt-get"
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    say_how "not installed, and installing it needs root"
fi

echo "mosquitto: installing its libraries, unpacking the program into $cache"
mkdir -p "$cache"
log="$PWD/$cache/setup.log"

fetch() {
    rm -f "$cache"/*.deb &&
        (cd "$cache" && apt-get download mosquitto) &&
        needs=$(dpkg-deb --field "$cache"/mosquitto_*.deb Depends) &&
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get satisfy --yes --no-install-recommends "$needs" &&
        dpkg-deb --extract "$cache"/mosquitto_*.deb "$cache"
}

# The package lists of a fresh image are empty; those of an old one name versions that are gone.
if ! { fetch || { $as_root apt-get update && fetch; }; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    say_how "apt-get failed (all it said: $cache/setup.log)"
fi
if ! starts; then
    rm -rf "$cache/usr"
    say_how "unpacked, but it does not start"
fi
