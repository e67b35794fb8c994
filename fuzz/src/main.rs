//! Writes the messages of the tests as seeds into `<folder>/<target>/`.

#[path = "../../crates/sip/tests/support/corpus.rs"]
mod corpus;

use std::io::Result;
use std::path::{Path, PathBuf};
use std::{env, fs};

const CHALLENGES: [(&str, &str); 5] = [
    ("md5", "Digest realm=\"gw\", nonce=\"n1\", qop=\"auth,auth-int\", algorithm=MD5, opaque=\"o\", stale=true"),
    ("sha-256", "Digest realm=\"a \\\"b\\\"\", nonce=\"n2\", qop=\"auth-int\", algorithm=SHA-256-sess"),
    ("sha-512-256", "Digest algorithm=SHA-512-256, realm=\"gw\", nonce=\"n3\", domain=\"sip:h\", charset=UTF-8"),
    ("of-rfc-2069", "Digest realm=\"gw\",nonce=\"\""),
    (
        "answer",
        "Digest username=\"u\", realm=\"gw\", nonce=\"n1\", uri=\"sip:h\", response=\"0a4f113b\", cnonce=\"c\", qop=auth, nc=00000001",
    ),
];

fn main() -> Result<()> {
    let folder = env::args_os().nth(1).map_or_else(|| PathBuf::from("corpus"), PathBuf::from);
    write(&folder, "sdp", "offer", corpus::SDP.as_bytes())?;
    for (name, challenge) in CHALLENGES {
        write(&folder, "digest", name, challenge.as_bytes())?;
    }
    for sample in corpus::all() {
        let _verdict_is_for_the_tests = sample.verdict;
        write(&folder, "scanner", sample.name, &sample.text)?;
        write(&folder, "framing", sample.name, &[b"\x20", &sample.text[..]].concat())?;
        let head = sample.text.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1);
        for (number, line) in head.skip(1).enumerate() {
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                write(&folder, "headers", &format!("{}-{number}", sample.name), line[colon + 1..].trim_ascii())?;
            }
        }
    }
    Ok(())
}

fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(folder.join(target))?;
    fs::write(folder.join(target).join(name), bytes)
}
