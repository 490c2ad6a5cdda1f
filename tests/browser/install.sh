#!/bin/sh
# Find or install a Chromium for the browser tests, and print its path.
#
# Tried in this order: $CHROMIUM; one that is installed; Debian's package; the one inside an npm package, for machines
# without root. Everything else that is said goes to standard error.
set -eu

FOLDER=.browser
NPM_PACKAGE="@sparticuz/chromium@147.0.0"
APT_PACKAGES="chromium fonts-noto-cjk"

say() { echo "$*" >&2; }

# Whether the program at $1 is a Chromium that starts here. Ubuntu's /usr/bin/chromium, for one, may only be a hint.
works() {
    [ -n "$1" ] && [ -x "$1" ] && "$1" --version >/dev/null 2>&1
}

found() {
    fc-list :lang=zh 2>/dev/null | grep -q . || say "No Chinese font is installed: screenshots will show boxes."
    echo "$1"
    exit 0
}

installed() {
    for name in chromium chromium-browser google-chrome-stable; do
        program=$(command -v "$name" || true)
        if works "$program"; then found "$program"; fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    else
        return 1
    fi
}

from_apt() {
    command -v apt-get >/dev/null || return 0
    say "Installing $APT_PACKAGES with apt-get ..."
    as_root apt-get update -qq >&2 || return 0
    # shellcheck disable=SC2086 # the names are meant to be split
    as_root apt-get install -y -qq --no-install-recommends $APT_PACKAGES >&2 || return 0
}

from_npm() {
    program=$PWD/$FOLDER/unpacked/chromium
    if works "$program"; then found "$program"; fi
    command -v npm >/dev/null || return 0
    say "Installing $NPM_PACKAGE with npm in $FOLDER ..."
    mkdir -p "$FOLDER/unpacked"
    npm install --silent --no-audit --no-fund --prefix "$FOLDER" "$NPM_PACKAGE" >&2 || return 0
    (
        cd "$FOLDER"
        TMPDIR=$PWD/unpacked node --input-type=module -e \
            'import chromium from "@sparticuz/chromium"; await chromium.executablePath();'
    ) >&2 || return 0
    if works "$program"; then found "$program"; fi
}

if [ -n "${CHROMIUM:-}" ]; then
    works "$CHROMIUM" || { say "CHROMIUM is $CHROMIUM, which does not start."; exit 1; }
    found "$CHROMIUM"
fi
installed
from_apt
installed
from_npm
say "There is no Chromium, and none could be installed. Install one and set CHROMIUM to its path."
exit 1
