//! STUN on the SIP port (RFC 5626 §8): binding requests, by which a user agent behind a NAT keeps its flow alive and sees
//! whether its address has changed (RFC 8489 §3).
//!
//! Only what this takes: no authentication, no indication, and nothing of RFC 3489, which cannot be told from SIP surely.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use std::net::{IpAddr, SocketAddr};

/// Type, length, magic cookie and transaction id.
const HEADER_LEN: usize = 20;

/// Tells STUN from anything else that comes to the port (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;

/// Attributes from here on may be ignored by who does not know them.
const FIRST_OPTIONAL: u16 = 0x8000;

/// Attributes that have to be understood, and that say nothing where nobody authenticates himself: USERNAME,
/// MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PASSWORD-ALGORITHM and USERHASH.
const UNDERSTOOD: [u16; 7] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E];

/// What a FINGERPRINT's sum is combined with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// The longest FINGERPRINT, with its header.
const FINGERPRINT_LEN: usize = 8;

/// The longest answer, in bytes.
pub const ANSWER_MAX_LEN: usize = HEADER_LEN + 8 + 4 + 2 * MAX_UNKNOWN + FINGERPRINT_LEN;

/// The most attributes that are read.
const MAX_ATTRIBUTES: usize = 32;

/// Attributes that an error names.
const MAX_UNKNOWN: usize = 8;

/// Whether a datagram is STUN: it begins with two zero bits, which SIP never does, and has the magic cookie.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] & 0xC0 == 0 && datagram[4..8] == MAGIC_COOKIE
}

/// The answer to a binding request from `source`, which it tells that address; `None` if it is none, or is damaged.
///
/// It has a FINGERPRINT where the request has one. It is never longer than [`ANSWER_MAX_LEN`].
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    if !is_stun(datagram) || be_u16(datagram, 0)? != BINDING_REQUEST {
        return None;
    }
    let request = Request::read(datagram)?;
    let mut response = match request.unknown.is_empty() {
        true => Response::new(BINDING_RESPONSE, datagram),
        false => Response::new(BINDING_ERROR, datagram),
    };
    match request.unknown.is_empty() {
        true => response.put_mapped_address(source, datagram),
        false => response.put_unknown(&request.unknown),
    }
    Some(response.finish(request.has_fingerprint))
}

/// What a request's attributes say.
#[derive(Debug, Default)]
struct Request {
    /// Attributes that would have to be understood.
    unknown: Vec<u16>,
    has_fingerprint: bool,
}

impl Request {
    fn read(datagram: &[u8]) -> Option<Self> {
        let mut request = Request::default();
        if usize::from(be_u16(datagram, 2)?) != datagram.len() - HEADER_LEN
            || !datagram.len().is_multiple_of(4)
        {
            return None;
        }
        let mut at = HEADER_LEN;
        let mut count = 0;
        while at < datagram.len() {
            let (kind, length) = (be_u16(datagram, at)?, usize::from(be_u16(datagram, at + 2)?));
            let value = datagram.get(at + 4..at + 4 + length)?;
            count += 1;
            if count > MAX_ATTRIBUTES {
                return None;
            }
            if kind == FINGERPRINT {
                // It is the last one, and is over all that comes before it.
                let is_last = at + FINGERPRINT_LEN == datagram.len();
                request.has_fingerprint = true;
                return (is_last && value == fingerprint(&datagram[..at]).to_be_bytes()).then_some(request);
            }
            let is_known = kind >= FIRST_OPTIONAL || UNDERSTOOD.contains(&kind);
            if !is_known && request.unknown.len() < MAX_UNKNOWN {
                request.unknown.push(kind);
            }
            at += 4 + length.next_multiple_of(4);
        }
        Some(request)
    }
}

struct Response(BytesMut);

impl Response {
    fn new(kind: u16, request: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(ANSWER_MAX_LEN);
        bytes.put_u16(kind);
        bytes.put_u16(0);
        bytes.put_slice(&request[4..HEADER_LEN]);
        Self(bytes)
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2): disguised from NATs that rewrite whatever looks like their address.
    fn put_mapped_address(&mut self, source: SocketAddr, request: &[u8]) {
        let mask = &request[4..HEADER_LEN];
        let (family, address) = match source.ip().to_canonical() {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        self.0.put_u16(XOR_MAPPED_ADDRESS);
        self.0.put_u16(4 + address.len() as u16);
        self.0.put_u16(family);
        self.0.put_u16(source.port() ^ u16::from_be_bytes([mask[0], mask[1]]));
        self.0.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    }

    /// 420 Unknown Attribute (RFC 8489 §6.3.1).
    fn put_unknown(&mut self, unknown: &[u16]) {
        self.0.put_slice(&[0, ERROR_CODE as u8, 0, 4, 0, 0, 4, 20]);
        self.0.put_u16(UNKNOWN_ATTRIBUTES);
        self.0.put_u16(2 * unknown.len() as u16);
        unknown.iter().for_each(|kind| self.0.put_u16(*kind));
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, with_fingerprint: bool) -> Bytes {
        let length = self.0.len() - HEADER_LEN + if with_fingerprint { FINGERPRINT_LEN } else { 0 };
        self.0[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        if with_fingerprint {
            let sum = fingerprint(&self.0);
            self.0.put_u16(FINGERPRINT);
            self.0.put_u16(4);
            self.0.put_u32(sum);
        }
        self.0.freeze()
    }
}

/// The sum over a message whose length already counts its FINGERPRINT.
fn fingerprint(before: &[u8]) -> u32 {
    crc32fast::hash(before) ^ FINGERPRINT_XOR
}

fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
