#!/bin/sh
# Provide the programs of Debian and Ubuntu that the checks use: compilers, emulator, peers.
#
# As root, or where sudo asks for no password, what is missing is installed. Elsewhere the one
# command to type is printed, and the tests that need it are skipped and counted (they fail under
# CI=true; a test names its programs with a mark). No service is started: Debian's mosquitto would
# open port 1883, so of it only the libraries are installed and the program is unpacked into
# .cache, where hil/tools.py looks for it. So are promtool and influxd, which need libc alone.
set -eu
cd "$(dirname "$0")/../.."
cache=.cache/mosquitto
log=.cache/setup.log
PATH="$PATH:/usr/sbin:/usr/local/sbin"

has() { command -v "$1" >/dev/null; }

compiles() { # gcc without libc6-dev is there but makes no program
    has gcc && echo 'int main(void) { return 0; }' | gcc -x c -o /dev/null - 2>/dev/null
}

newlib() { # gcc returns the bare name when it does not find the file
    has arm-none-eabi-gcc && [ "$(arm-none-eabi-gcc -print-file-name=libc.a)" != libc.a ]
}

broker_starts() { # -h ends with a status other than 0, but prints the version if all libraries are there
    "$cache/usr/sbin/mosquitto" -h 2>/dev/null | grep -q "^mosquitto version"
}

# The packages that are missing, by what they are for. A test compares them
# with the table in hil/tools.py.
missing() {
    has chromedriver || echo chromium-driver
    has chromium || echo chromium
    has debootstrap || echo debootstrap
    has dfu-suffix || echo dfu-util
    has arm-none-eabi-gcc || echo gcc-arm-none-eabi
    newlib || echo libnewlib-arm-none-eabi
    compiles || echo gcc libc6-dev
    has lintian || echo lintian
    has make || echo make
    has mcopy || echo mtools
    has openocd || echo openocd
    has qemu-system-arm || echo qemu-system-arm
    has mbpoll || echo mbpoll
    has mcs || echo mono-mcs
    has mono || echo mono-runtime
    has pdftoppm || echo poppler-utils
    has stm32flash || echo stm32flash
    has strace || echo strace
    has stunnel || echo stunnel4
    has systemd-analyze || echo systemd
    has systemd-nspawn || echo systemd-container
    has tshark || echo tshark
}

needs_broker() { ! has mosquitto && ! broker_starts; }

lacks() { ! has "$2" && ! [ -x ".cache/$1/usr/bin/$2" ]; } # a package, its program

to_unpack() {
    if lacks prometheus promtool; then echo prometheus; fi
    if lacks influxdb influxd; then echo influxdb; fi
}

wanted() { # on one line, for people
    echo $(missing; if needs_broker; then echo mosquitto; fi; to_unpack)
}

[ -n "$(wanted)" ] || exit 0

explain() {
    echo "set-up: $1. Tests that need $(wanted) will be skipped (and fail under CI=true)." >&2
    echo "set-up: to run them, type: sudo apt-get install --yes --no-install-recommends $(wanted)" >&2
    exit 0
}

has apt-get || explain "programs are missing, and this system has no apt-get"
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif has sudo && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    explain "programs are missing, and installing them needs root"
fi

# A package's questions (tshark asks who may capture) get their defaults; another apt that is at
# work is waited for.
apt_get() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 --yes --no-install-recommends "$@" </dev/null
}

mkdir -p "$cache"
: >"$log"
echo "set-up: installing $(wanted) (output of apt-get: $log)"

updated=""
update() { # once: the lists of a fresh image are empty, those of an old one name lost versions
    [ -z "$updated" ] || return 1
    updated=yes
    apt_get update >>"$log" 2>&1
}

# shellcheck disable=SC2046 # the list is to be split
install_missing() { apt_get install $(missing) >>"$log" 2>&1; }

if [ -n "$(missing)" ]; then
    if ! install_missing && ! { update && install_missing; }; then
        for package in $(missing); do # one that this release does not have must not cost the rest
            apt_get install "$package" >>"$log" 2>&1 || true
        done
    fi
fi

fetch_broker() {
    rm -f "$cache"/*.deb &&
        (cd "$cache" && apt-get download mosquitto) &&
        needs=$(dpkg-deb --field "$cache"/mosquitto_*.deb Depends) &&
        apt_get satisfy "$needs" &&
        dpkg-deb --extract "$cache"/mosquitto_*.deb "$cache"
}

if needs_broker; then
    fetch_broker >>"$log" 2>&1 || { update && fetch_broker >>"$log" 2>&1; } || true
    broker_starts || rm -rf "$cache/usr"
fi

fetch() { # a package of which one program of /usr/bin is wanted
    mkdir -p ".cache/$1" && rm -f ".cache/$1"/*.deb &&
        (cd ".cache/$1" && apt-get download "$1") &&
        dpkg-deb --fsys-tarfile ".cache/$1/$1"_*.deb | tar -x -C ".cache/$1" "./usr/bin/$2" &&
        rm -f ".cache/$1"/*.deb
}

for package in $(to_unpack); do
    case $package in prometheus) program=promtool ;; influxdb) program=influxd ;; esac
    fetch "$package" $program >>"$log" 2>&1 ||
        { update && fetch "$package" $program >>"$log" 2>&1; } || true
done

if [ -n "$(wanted)" ]; then
    tail -n 5 "$log" >&2
    explain "apt-get could not provide everything (its output: $log)"
fi
