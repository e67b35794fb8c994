# Sourced by tests/run and .ci/run: installs what is missing, on Debian and Ubuntu.

as_root() {
    if ((EUID)); then sudo "$@"; else "$@"; fi
}

# need <command> <package>: installs the package of Debian and Ubuntu, unless the command is there.
need() {
    command -v "$1" >/dev/null && return
    echo "installing $2"
    if [[ -z ${apt_updated:-} ]]; then
        as_root apt-get update -qq
        apt_updated=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"
}

# Unoptimised: built in half the time, and what they do takes seconds.
cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1 || cargo install --locked --debug "cargo-$1"
}

# What the tests run on.
test_tools() {
    need cc build-essential
    need sipp sip-tester
    need baresip baresip-core
    need nft nftables
    need ip iproute2
    need redis-server redis-server
    need redis-cli redis-tools
    # Debian has the server's programs beside no path.
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || RUNLEVEL=1 need postgres-server-of-debian postgresql
    cargo_tool nextest
}
