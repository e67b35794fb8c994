//! Nonces that can be checked without having been kept (RFC 7616 §5.4): when, by whom and for what they were issued is
//! in them, under a keyed hash.

use super::Hash;
use crate::time::Wall;
use data_encoding::BASE64URL_NOPAD;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

const VERSION: u8 = 1;
const RAW_LEN: usize = 24;
/// What the keyed hash covers: version, time, node, serial.
const CHECKED_LEN: usize = 15;
/// The most that the 48 bits of a time or a serial hold.
const MAX_48: u64 = (1 << 48) - 1;

/// The keys behind nonces; the previous one is still accepted while keys rotate.
#[derive(Clone)]
pub struct NonceKeys {
    /// Makes new nonces.
    pub current: [u8; 16],
    /// Was `current` until the last rotation.
    pub previous: Option<[u8; 16]>,
}

/// What a nonce says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// When it was issued.
    pub issued: Wall,
    /// The short name of the node that issued it, and that knows how often it was used.
    pub node: u16,
    /// Counts up on that node: no two nonces of a node are the same.
    pub serial: u64,
}

impl Nonce {
    /// The nonce's text, for a realm and a hash function: under another one it is no nonce of ours.
    pub fn print(self, keys: &NonceKeys, realm: &str, hash: Hash) -> String {
        let mut raw = [0; RAW_LEN];
        raw[0] = VERSION;
        raw[1..7].copy_from_slice(&self.issued.0.min(MAX_48).to_be_bytes()[2..]);
        raw[7..9].copy_from_slice(&self.node.to_be_bytes());
        raw[9..CHECKED_LEN].copy_from_slice(&(self.serial & MAX_48).to_be_bytes()[2..]);
        let check = check(&raw[..CHECKED_LEN], &keys.current, realm, hash);
        raw[CHECKED_LEN..].copy_from_slice(&check);
        BASE64URL_NOPAD.encode(&raw)
    }

    /// Reads a nonce that one of our keys has made for this realm and hash function.
    pub fn parse(text: &[u8], keys: &NonceKeys, realm: &str, hash: Hash) -> Option<Self> {
        let mut raw = [0; RAW_LEN];
        let is_whole = BASE64URL_NOPAD.decode_len(text.len()) == Ok(RAW_LEN)
            && BASE64URL_NOPAD.decode_mut(text, &mut raw) == Ok(RAW_LEN);
        if !is_whole || raw[0] != VERSION {
            return None;
        }
        let (checked, given) = raw.split_at(CHECKED_LEN);
        let mut keys = std::iter::once(&keys.current).chain(keys.previous.as_ref());
        let is_ours = |key| same(&check(checked, key, realm, hash), given);
        keys.any(is_ours).then(|| Self {
            issued: Wall(number(&checked[1..7])),
            node: u16::from_be_bytes([checked[7], checked[8]]),
            serial: number(&checked[9..]),
        })
    }
}

/// Compares in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn check(checked: &[u8], key: &[u8; 16], realm: &str, hash: Hash) -> [u8; RAW_LEN - CHECKED_LEN] {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(checked);
    hasher.write_u8(hash as u8);
    hasher.write(realm.as_bytes());
    let mut check = [0; RAW_LEN - CHECKED_LEN];
    check.copy_from_slice(&hasher.finish128().as_bytes()[..RAW_LEN - CHECKED_LEN]);
    check
}
