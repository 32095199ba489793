# shellcheck shell=bash
# Shared by the scripts beside it: sourced, not run. Bash does not stop at errors inside $(...) and
# before ||, so what must not go on after one says so.

# Programs that are built once and kept, one folder for each version.
cache=${WARDLINK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wardlink}

# What is shipped. Always built together, and never together with wardlink-tests: each set of
# packages has dependencies with features of its own, and the tests' plants defects.
# shellcheck disable=SC2034
shipped=(-p wardlink-ms -p wardlink-bs -p wardlink -p wardlink-operator)

# say TEXT: to stderr, because stdout carries a script's result.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# minutes SECONDS: for people.
minutes() { printf '%d:%02d min' $(($1 / 60)) $(($1 % 60)); }

# counts FILE: the sum of the closing lines of Rust's test runner in it.
counts() {
    sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' "$1" \
        | awk '{ passed += $1; failed += $2; skipped += $3 }
            END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }'
}

have() { command -v "$1" >/dev/null 2>&1; }

# locked NAME COMMAND...: one run at a time on this machine, where flock exists.
locked() {
    local name=$1
    shift
    mkdir -p "$cache"
    if ! have flock; then
        "$@"
        return
    fi
    (
        flock 9 || exit
        # Children must not keep the lock open after this command.
        "$@" 9>&-
    ) 9>"$cache/$name.lock"
}

# debian_packages PACKAGE...: installs them, as root or by a sudo that asks nothing.
debian_packages() {
    local as_root=()
    if ! have apt-get; then
        say "please install (Debian's names): $*"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! { have sudo && sudo -n true 2>/dev/null; }; then
            say "please run as root: apt-get update && apt-get install $*"
            return 1
        fi
        as_root=(sudo -n)
    fi
    say "apt-get install $*"
    locked apt apt_install "$@"
}

# The body of debian_packages, under its lock; `as_root` is the caller's.
apt_install() {
    ${as_root[@]+"${as_root[@]}"} apt-get update -qq >&2 || return
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2
}

# debian_unpacked PACKAGE: unpacks a Debian package into the cache without installing it, for one
# that would start a service, and prints the folder. Neither root nor sudo is needed where apt has
# its lists.
debian_unpacked() {
    local package=$1 root="$cache/debian-$1"
    if [ ! -d "$root" ]; then
        if ! have apt-get; then
            say "please install what Debian's package $package holds"
            return 1
        fi
        say "unpacking Debian's package $package, once"
        locked apt apt_unpack "$package" "$root" || return
    fi
    printf '%s\n' "$root"
}

# The body of debian_unpacked, under the lock of apt.
apt_unpack() (
    package=$1 root=$2
    [ ! -d "$root" ] || exit 0
    work=$(mktemp -d "$cache/unpack.XXXXXX") || exit
    trap 'rm -rf "$work"' EXIT
    if ! apt_download "$package" "$work"; then
        if [ "$(id -u)" -eq 0 ]; then
            apt-get update -qq >&2
        elif have sudo && sudo -n true 2>/dev/null; then
            sudo -n apt-get update -qq >&2
        else
            say "please run as root: apt-get update"
            exit 1
        fi || exit
        apt_download "$package" "$work" || exit
    fi
    dpkg-deb --extract "$work"/*.deb "$work/unpacked" && mv "$work/unpacked" "$root"
)

apt_download() { (cd "$2" && apt-get download -qq -o APT::Sandbox::User=root "$1" >&2); }

# cargo_program CRATE VERSION PROGRAM [OPTION...]: builds PROGRAM once into the cache and
# prints its path. The caller has made sure of what the build needs.
cargo_program() {
    local crate=$1 version=$2 program=$3
    shift 3
    local root="$cache/$crate-$version"
    if [ ! -x "$root/bin/$program" ]; then
        say "building $crate $version, once (some minutes)"
        locked "$crate-$version" cargo_build "$root" "$crate" "$version" "$program" "$@" \
            || return
    fi
    printf '%s\n' "$root/bin/$program"
}

# The body of cargo_program, under its lock. Its own target folder is removed afterwards.
cargo_build() (
    root=$1 crate=$2 version=$3 program=$4
    shift 4
    # Another run may have built it while this one waited for the lock.
    [ ! -x "$root/bin/$program" ] || exit 0
    target=$(mktemp -d "$cache/build.XXXXXX") || exit
    trap 'rm -rf "$target"' EXIT
    CARGO_TARGET_DIR="$target" cargo install "$crate" --version "$version" --root "$root" "$@" >&2
)
