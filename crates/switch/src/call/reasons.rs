//! Reasons that cross the switch (RFC 3326): kept as they are, and where only one of SIP and Q.850 is given, the other
//! added as RFC 3398 maps it.

use bytes::{Bytes, BytesMut};
use std::fmt::Write;
use tandem_sip::header::Reason;

/// Header lines of Reason with what is missing of the pair. Lines without a cause that maps are left as they are.
pub(super) fn paired(lines: Bytes) -> Bytes {
    let (mut sip, mut q850) = (None, None);
    for line in super::requests::header_lines(&lines) {
        let value = line.iter().position(|byte| *byte == b':').map_or(&b""[..], |colon| &line[colon + 1..]);
        let reasons = split(value).filter_map(|value| Reason::parse(value).ok());
        for reason in reasons {
            if reason.is_sip() {
                sip = sip.or(reason.cause);
            } else if reason.is_q850() {
                q850 = q850.or(reason.cause);
            }
        }
    }
    let added = match (sip, q850) {
        (Some(status), None) => cause_of(status).map(|cause| ("Q.850", cause)),
        (None, Some(cause)) => status_of(cause).map(|status| ("SIP", status)),
        (Some(_), Some(_)) | (None, None) => None,
    };
    let Some((protocol, cause)) = added else { return lines };
    let mut both = BytesMut::from(&lines[..]);
    // Writing to memory cannot fail.
    let _ = write!(both, "Reason: {protocol};cause={cause}\r\n");
    both.freeze()
}

/// The values of one line: commas outside quotes part them.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    line.split(move |byte| {
        let parts = *byte == b',' && !is_quoted;
        if *byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
        parts
    })
}

/// The cause of Q.850 for a status (RFC 3398 §8.2.6.1).
fn cause_of(status: u16) -> Option<u16> {
    Some(match status {
        400 | 481 | 500 | 503 => 41,
        401 | 402 | 403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        405 => 63,
        406 | 415 | 501 => 79,
        408 | 504 => 102,
        410 => 22,
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
        480 => 18,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        502 => 38,
        _ => return None,
    })
}

/// The status for a cause of Q.850 (RFC 3398 §7.2.4.1). Normal clearing is none: that is a BYE.
fn status_of(cause: u16) -> Option<u16> {
    Some(match cause {
        1..=3 | 26 => 404,
        17 => 486,
        18 => 408,
        19 | 20 | 31 => 480,
        21 | 55 | 57 | 87 => 403,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => 503,
        65 | 70 => 488,
        102 => 504,
        111 | 127 => 500,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(lines: &str) -> String {
        let both = paired(Bytes::copy_from_slice(lines.as_bytes()));
        let both = String::from_utf8(both.to_vec()).expect("text");
        both.strip_prefix(lines).expect("what was there stays").to_owned()
    }

    #[test]
    fn a_sip_reason_gets_its_q850_cause() {
        for (status, cause) in [(404, 1), (486, 17), (480, 18), (503, 41), (408, 102), (603, 21), (484, 28)] {
            let lines = format!("Reason: SIP;cause={status};text=\"why\"\r\n");
            assert_eq!(added(&lines), format!("Reason: Q.850;cause={cause}\r\n"));
        }
    }

    #[test]
    fn a_q850_reason_gets_its_sip_status() {
        for (cause, status) in [(1, 404), (17, 486), (31, 480), (34, 503), (102, 504), (127, 500), (21, 403)]
        {
            let lines = format!("Reason: Q.850 ; cause={cause};text=\"a, b\"\r\n");
            assert_eq!(added(&lines), format!("Reason: SIP;cause={status}\r\n"));
        }
    }

    #[test]
    fn where_both_are_there_nothing_is_added() {
        assert_eq!(added("Reason: SIP;cause=486\r\nReason: Q.850;cause=16\r\n"), "");
        assert_eq!(added("Reason: SIP;cause=480;text=\"x, y\", Q.850;cause=31\r\n"), "");
    }

    #[test]
    fn what_maps_to_nothing_stays_alone() {
        for lines in
            ["", "Reason: Q.850;cause=16\r\n", "Reason: SIP;cause=487\r\n", "Reason: Preemption;cause=1\r\n"]
        {
            assert_eq!(added(lines), "", "{lines}");
        }
    }
}
