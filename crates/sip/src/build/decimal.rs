//! Numbers and addresses in decimal. The formatting machinery takes several times as long, and every message has a
//! dozen of them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// A socket address as a URI or a Via has it: `192.0.2.1:5060`, `[2001:db8::1]:5060`.
pub fn address_text(address: SocketAddr) -> String {
    let mut text = Vec::with_capacity(24);
    match address.ip() {
        IpAddr::V4(_) => put_ip(&mut text, address.ip()),
        IpAddr::V6(_) => {
            text.push(b'[');
            put_ip(&mut text, address.ip());
            text.push(b']');
        }
    }
    text.push(b':');
    put_decimal(&mut text, address.port().into());
    String::from_utf8(text).expect("an address is printed in ASCII")
}

/// Appends an address without brackets.
pub(super) fn put_ip(text: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                put_decimal(text, octet.into());
            }
        }
        IpAddr::V6(ip) => {
            let mut printed = String::with_capacity(40);
            write!(printed, "{ip}").expect("a String grows as needed");
            text.extend_from_slice(printed.as_bytes());
        }
    }
}

/// Appends a number.
pub(super) fn put_decimal(text: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_the_formatter_prints_them() {
        for number in [0, 7, 10, 99, 100, 5_060, 65_535, u64::from(u32::MAX), u64::MAX] {
            let mut text = b"=".to_vec();
            put_decimal(&mut text, number);
            assert_eq!(text, format!("={number}").into_bytes());
        }
    }

    #[test]
    fn addresses_are_printed_as_the_formatter_prints_them() {
        for address in
            ["0.0.0.0:0", "192.0.2.10:5060", "255.255.255.255:65535", "[::1]:5060", "[2001:db8::a]:1"]
        {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(address_text(address), address.to_string());
        }
    }
}
