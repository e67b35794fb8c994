//! The scripts: each is one step in one bucket, whatever happens in between.

use redis::Script;
use std::sync::LazyLock;

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)+) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+)));)+
    };
}

scripts! {
    COMMIT = "call" "commit";
    LOAD = "call" "load";
    CLAIM = "call" "claim";
    END = "call" "end";
    OWNED = "owned";
    CDR_READ = "cdr" "cdr_read";
    CDR_ACK = "cdr" "cdr_ack";
    CDR_BACKLOG = "cdr" "cdr_backlog";
    PUT = "put";
    GET = "get";
    SCAN = "scan";
    PULSE = "pulse";
}
