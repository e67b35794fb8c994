//! The scripts: each is one step in one bucket, whatever happens in between.

use redis::{Arg, Cmd, Script, ToRedisArgs, cmd};
use std::sync::LazyLock;

/// A script, and the name that servers know it by once they have it.
pub(super) struct Lua {
    code: &'static str,
    script: Script,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self { code, script: Script::new(code) }
    }

    /// A run of the script in a bucket, to be given its arguments.
    pub(super) fn on(&'static self, bucket_key: &str) -> Invocation {
        let mut command = cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(1).arg(bucket_key);
        Invocation { script: self, command }
    }
}

/// A script with its arguments.
pub(super) struct Invocation {
    script: &'static Lua,
    pub(super) command: Cmd,
}

impl Invocation {
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// The same for a server that does not know the script, and knows it afterwards.
    pub(super) fn with_code(&self) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(self.script.code);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)+) => {
        $(pub(super) static $name: LazyLock<Lua> =
            LazyLock::new(|| Lua::new(concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+)));)+
    };
}

/// The commands that a user of Redis has to be allowed, by the names of its access lists: those of the client, and then those
/// of the scripts.
pub const NEEDED_COMMANDS: [&str; 36] = [
    "eval",
    "evalsha",
    "hello",
    "ping",
    "subscribe",
    "unsubscribe",
    "del",
    "exists",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hlen",
    "hmget",
    "hset",
    "incr",
    "info",
    "persist",
    "pexpire",
    "publish",
    "sadd",
    "scard",
    "set",
    "sismember",
    "smembers",
    "srem",
    "time",
    "zadd",
    "zcard",
    "zcount",
    "zrange",
    "zrem",
    "zremrangebyscore",
    "zscore",
    "zunionstore",
];

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
    BEAT = "beat";
    FORGET = "forget";
    SLOT_TAKE = "slots" "slot_take";
    SLOT_RENEW = "slots" "slot_renew";
    SLOT_RELEASE = "slots" "slot_release";
}
