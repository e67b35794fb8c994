//! Kamailio as a stateful proxy that knows its dialogs: tm, rr and dialog, no database, no log of calls.
//!
//! It does less than a back-to-back user agent: both ends keep one Call-ID, and no record is written. What costs it
//! more than it must is left out: no name look-ups, no TCP.

use super::{Lab, Registrar, first_line};
use crate::load::{CALLEE, DOMAIN, PASSWORD, SERVER};
use anyhow::Result;
use std::fs;
use std::path::Path;

/// Which of Kamailio's allocators it runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocator {
    /// The one that Debian's package runs with: it checks what it is given.
    Default,
    /// `fm`, which checks nothing.
    Quickest,
}

pub(super) fn command(lab: &Lab, allocator: Allocator, folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("kamailio.cfg");
    let registrar = registrar(lab);
    fs::write(&config, configuration(lab.kamailio_children, &registrar))?;
    let (config, folder) = (config.display().to_string(), folder.display().to_string());
    let allocators: &[&str] = match allocator {
        Allocator::Default => &["-m", "2048", "-M", "32"],
        Allocator::Quickest => &["-x", "fm", "-X", "fm", "-m", "2048", "-M", "32"],
    };
    let command = ["kamailio", "-DD", "-E", "-f", &config, "-Y", &folder, "-w", &folder];
    // As large a receive buffer as the system gives.
    let buffer = ["-b", "33554432"];
    Ok(command.iter().chain(allocators).chain(&buffer).map(|part| (*part).to_owned()).collect())
}

pub(super) fn version() -> String {
    first_line(Path::new("kamailio"), &["-v"]).trim_start_matches("version: ").to_owned()
}

/// What makes it a registrar besides.
#[derive(Default)]
struct Parts {
    modules: String,
    /// What is done with a REGISTER, before all else.
    route: String,
}

/// usrloc in memory; the hashes of the phones in a table in memory, filled at the start. Counts of nonces are checked, as
/// the other servers do.
fn registrar(lab: &Lab) -> Parts {
    let save =
        "        if (!save(\"location\")) {\n            sl_reply_error();\n        }\n        exit;\n";
    let (load, ask) = match lab.registrar {
        Registrar::Off => return Parts::default(),
        Registrar::Open => (String::new(), String::new()),
        Registrar::Digest => (digest_modules(lab.phones), digest_route()),
    };
    let modules = format!(
        "loadmodule \"usrloc.so\"\nloadmodule \"registrar.so\"\nmodparam(\"usrloc\", \"db_mode\", 0)\n\
         modparam(\"registrar\", \"max_expires\", 3600)\n{load}"
    );
    Parts { modules, route: format!("    if (is_method(\"REGISTER\")) {{\n{ask}{save}    }}\n") }
}

fn digest_modules(phones: u32) -> String {
    format!(
        r#"loadmodule "auth.so"
loadmodule "htable.so"
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
modparam("htable", "htable", "ha1=>size=16;")
max_while_loops={loops}
event_route[htable:mod-init] {{
    $var(i) = 0;
    while ($var(i) < {phones}) {{
        $var(user) = "u" + $var(i);
        $var(a1) = $var(user) + ":{DOMAIN}:{PASSWORD}";
        $sht(ha1=>$var(user)) = $(var(a1){{s.md5}});
        $var(i) = $var(i) + 1;
    }}
}}
"#,
        loops = phones + 1,
    )
}

fn digest_route() -> String {
    format!(
        r#"        if (!pv_www_authenticate("{DOMAIN}", "$sht(ha1=>$fU)", "1")) {{
            www_challenge("{DOMAIN}", "1");
            exit;
        }}
"#
    )
}

fn configuration(children: u32, Parts { modules, route }: &Parts) -> String {
    format!(
        r#"#!KAMAILIO
debug=0
log_stderror=yes
children={children}
listen=udp:{SERVER}
auto_aliases=no
disable_tcp=yes
dns=no
rev_dns=no

loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "dialog.so"
{modules}
request_route {{
{route}    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (!is_method("ACK")) {{
            sl_send_reply("481", "Call/Transaction Does Not Exist");
        }} else if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    if (!is_method("INVITE")) {{
        sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    if (t_precheck_trans()) {{
        t_check_trans();
        exit;
    }}
    t_check_trans();
    record_route();
    dlg_manage();
    $du = "sip:{CALLEE}";
    if (!t_relay()) {{
        sl_reply_error();
    }}
}}
"#
    )
}
