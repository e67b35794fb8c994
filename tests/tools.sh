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
    need prometheus prometheus
    # Debian has the server's programs beside no path.
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || RUNLEVEL=1 need postgres-server-of-debian postgresql
    cargo_tool nextest
}

# What tests/deploy/run runs on: tools of the Python registry in a place of their own, and promtool.
deploy_tools() {
    need cc build-essential
    need python3 python3
    need promtool prometheus
    local place=target/deploy
    if [[ ! -x $place/bin/helm || tests/deploy/requirements.txt -nt $place/installed ]]; then
        # Debian has the module apart from the interpreter.
        python3 -c 'import venv, ensurepip' 2>/dev/null || need a-python-with-venv python3-venv
        python3 -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check --requirement tests/deploy/requirements.txt
        touch "$place/installed"
    fi
    PATH="$PWD/$place/bin:$PATH"
}
