//! Who a call is: its id, and the names it gives to what it sends.
//!
//! The id is a keyed hash of what every message of the caller's INVITE transaction repeats, so a copy of the INVITE,
//! a CANCEL or the ACK of a failure finds its call without carrying anything of ours. Everything we send carries a
//! token in its tags, Via branches and Contacts, by which later messages find their call.

use data_encoding::BASE32_NOPAD_NOCASE;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};
use std::fmt;
use std::hash::Hasher;
use tandem_sip::Message;

const VERSION: u8 = 1;
const RAW_LEN: usize = 20;
const CHECKED_LEN: usize = 16;

/// Characters of a token.
pub const TOKEN_LEN: usize = 32;

/// The start of every branch since RFC 3261 (§8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// A call's id: 96 bits of a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub [u8; 12]);

/// The keys behind ids and tokens; the previous one is still accepted while keys rotate.
#[derive(Clone)]
pub struct TokenKeys {
    /// Makes new ids and tokens.
    pub current: [u8; 16],
    /// Was `current` until the last rotation.
    pub previous: Option<[u8; 16]>,
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The call.
    pub id: CallId,
    /// Which node the call was placed on, as that node's short hash.
    pub hint: u16,
}

/// The number of a thing that a call has named: unique in the call, also across takeovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial {
    /// How often the call had changed its owner.
    pub epoch: u32,
    /// Counts up in each epoch.
    pub number: u32,
}

/// Makes a call's names: a function of (call, epoch, counter), so nothing repeats and nothing is random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    token: String,
    next: Serial,
}

impl CallId {
    /// The id of the call that `request` begins, cancels or acknowledges: a hash of Call-ID, From tag and of the top Via
    /// sent-by and branch (RFC 3261 §17.2.3); the CSeq number stands for a branch of RFC 2543, which may repeat.
    pub fn of(request: &Message, key: &[u8; 16]) -> Option<Self> {
        let via = request.top_via().ok()?;
        let mut hasher = SipHasher128::new_with_key(key);
        write_part(&mut hasher, request.call_id()?);
        write_part(&mut hasher, request.from_tag().unwrap_or_default());
        write_part(&mut hasher, via.host);
        hasher.write_u16(via.port.unwrap_or_default());
        match via.branch().filter(|_| via.has_magic_cookie()) {
            Some(branch) => write_part(&mut hasher, branch),
            None => hasher.write_u32(request.cseq().ok()?.number),
        }
        let mut id = [0; 12];
        id.copy_from_slice(&hasher.finish128().as_bytes()[..12]);
        Some(Self(id))
    }

    /// What stands in place of a call's id in what a gateway's own requests carry: probes and registrations.
    pub fn of_gateway(name: &str, key: &[u8; 16]) -> Self {
        let mut hasher = SipHasher128::new_with_key(key);
        write_part(&mut hasher, b"gateway");
        write_part(&mut hasher, name.as_bytes());
        let mut id = [0; 12];
        id.copy_from_slice(&hasher.finish128().as_bytes()[..12]);
        Self(id)
    }

    /// The bucket that the call's shared state lives in.
    pub fn bucket(self) -> u8 {
        self.0[0]
    }

    /// Reads the form that [`Display`](fmt::Display) prints.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// A number that is spread evenly over calls and the same on every node: for weighted choices.
    pub fn draw(self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[4..]);
        u64::from_be_bytes(bytes)
    }
}

/// Length first, so that no two lists of parts give the same bytes.
fn write_part(hasher: &mut SipHasher128, part: &[u8]) {
    hasher.write_usize(part.len());
    hasher.write(part);
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD_NOCASE.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TokenKeys {
    /// Both keys, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &[u8; 16]> {
        std::iter::once(&self.current).chain(self.previous.as_ref())
    }
}

impl Token {
    /// The token's text: [`TOKEN_LEN`] lower-case letters and digits.
    pub fn print(self, keys: &TokenKeys) -> String {
        let mut raw = [0; RAW_LEN];
        raw[0] = VERSION;
        raw[1..13].copy_from_slice(&self.id.0);
        raw[13] = self.id.bucket();
        raw[14..CHECKED_LEN].copy_from_slice(&self.hint.to_be_bytes());
        let check = check(&raw[..CHECKED_LEN], &keys.current);
        raw[CHECKED_LEN..].copy_from_slice(&check);
        BASE32_NOPAD_NOCASE.encode(&raw).to_ascii_lowercase()
    }

    /// Reads the token at the start of `text` and checks that one of our keys made it.
    pub fn parse(text: &[u8], keys: &TokenKeys) -> Option<Self> {
        let mut raw = [0; RAW_LEN];
        let written = BASE32_NOPAD_NOCASE.decode_mut(text.get(..TOKEN_LEN)?, &mut raw).ok()?;
        if written != RAW_LEN || raw[0] != VERSION {
            return None;
        }
        let (body, found) = raw.split_at(CHECKED_LEN);
        keys.all().find(|key| check(body, key) == found)?;
        let mut id = [0; 12];
        id.copy_from_slice(&body[1..13]);
        Some(Self { id: CallId(id), hint: u16::from_be_bytes([body[14], body[15]]) })
    }

    /// Reads the token of a branch that we made.
    pub fn of_branch(branch: &[u8], keys: &TokenKeys) -> Option<Self> {
        Self::parse(branch.strip_prefix(MAGIC_COOKIE.as_bytes())?, keys)
    }
}

fn check(body: &[u8], key: &[u8; 16]) -> [u8; 4] {
    let mut hasher = SipHasher128::new_with_key(key);
    hasher.write(body);
    let digest = hasher.finish128().as_bytes();
    [digest[0], digest[1], digest[2], digest[3]]
}

impl Serial {
    /// Reads the serial behind the token of one of our branches or tags.
    pub fn of(name: &[u8]) -> Option<Self> {
        let name = name.strip_prefix(MAGIC_COOKIE.as_bytes()).unwrap_or(name);
        let text = std::str::from_utf8(name.get(TOKEN_LEN..)?).ok()?;
        let (epoch, number) = text.strip_prefix('.')?.split_once('.')?;
        Some(Self {
            epoch: u32::from_str_radix(epoch, 16).ok()?,
            number: u32::from_str_radix(number, 16).ok()?,
        })
    }
}

impl Names {
    /// The names of the call with this token, in its `epoch`.
    pub(crate) fn new(token: String, epoch: u32) -> Self {
        Self { token, next: Serial { epoch, number: 0 } }
    }

    /// The next serial.
    pub(crate) fn next(&mut self) -> Serial {
        let serial = self.next;
        self.next.number += 1;
        serial
    }

    /// How often the call has changed its owner.
    pub(super) fn epoch(&self) -> u32 {
        self.next.epoch
    }

    /// The token: the user part of our Contacts.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A tag or a Call-ID.
    pub(crate) fn tag(&self, serial: Serial) -> String {
        self.name("", serial)
    }

    /// A Via branch.
    pub(crate) fn branch(&self, serial: Serial) -> String {
        self.name(MAGIC_COOKIE, serial)
    }

    /// An evenly spread number for the waits that are to differ from call to call: the same for one serial of one call.
    pub(crate) fn draw(&self, serial: Serial) -> u64 {
        let mut hasher = SipHasher128::new();
        write_part(&mut hasher, self.token.as_bytes());
        hasher.write_u32(serial.epoch);
        hasher.write_u32(serial.number);
        hasher.finish()
    }

    /// Four of these are made per message: without the formatter they cost a tenth.
    fn name(&self, prefix: &str, serial: Serial) -> String {
        let mut name = String::with_capacity(prefix.len() + self.token.len() + 2 * (1 + HEX_DIGITS));
        name.push_str(prefix);
        name.push_str(&self.token);
        for number in [serial.epoch, serial.number] {
            name.push('.');
            push_hex(&mut name, number);
        }
        name
    }
}

/// The most digits of a number in hexadecimal.
const HEX_DIGITS: usize = 8;

fn push_hex(text: &mut String, number: u32) {
    let digits = (u32::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = number >> (4 * place) & 0xF;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: u8, previous: Option<u8>) -> TokenKeys {
        TokenKeys { current: [current; 16], previous: previous.map(|key| [key; 16]) }
    }

    const TOKEN: Token = Token { id: CallId([7; 12]), hint: 513 };

    #[test]
    fn a_token_is_read_back_whatever_its_case() {
        let text = TOKEN.print(&keys(1, None));
        assert_eq!(text.len(), TOKEN_LEN);
        assert_eq!(Token::parse(text.as_bytes(), &keys(1, None)), Some(TOKEN));
        assert_eq!(Token::parse(text.to_uppercase().as_bytes(), &keys(1, None)), Some(TOKEN));
    }

    #[test]
    fn a_token_lives_through_one_key_rotation() {
        let text = TOKEN.print(&keys(1, None));
        assert_eq!(Token::parse(text.as_bytes(), &keys(2, Some(1))), Some(TOKEN));
        assert_eq!(Token::parse(text.as_bytes(), &keys(3, Some(2))), None);
    }

    #[test]
    fn a_forged_token_is_refused() {
        let text = TOKEN.print(&keys(1, None));
        for at in 0..TOKEN_LEN {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(Token::parse(&forged, &keys(1, None)), None, "position {at}");
        }
        assert_eq!(Token::parse(b"short", &keys(1, None)), None);
    }

    #[test]
    fn branches_and_tags_carry_token_and_serial() {
        let mut names = Names::new(TOKEN.print(&keys(1, None)), 3);
        names.next();
        let serial = names.next();
        let branch = names.branch(serial);
        assert_eq!(Token::of_branch(branch.as_bytes(), &keys(1, None)), Some(TOKEN));
        assert_eq!(Serial::of(branch.as_bytes()), Some(Serial { epoch: 3, number: 1 }));
        assert_eq!(Serial::of(names.tag(serial).as_bytes()), Some(serial));
        assert_eq!(Serial::of(names.token().as_bytes()), None);
    }

    #[test]
    fn numbers_are_printed_as_the_formatter_does() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 0x0001_2345, 0xFFFF_FFFF] {
            let mut text = String::new();
            push_hex(&mut text, number);
            assert_eq!(text, format!("{number:x}"));
        }
    }

    #[test]
    fn the_sent_by_tells_transactions_apart_and_so_does_the_branch() {
        let id = |via: &str| {
            let text = format!(
                "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a@h>;tag=1\r\n\
                 To: <sip:1@h>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
            );
            let invite = Message::parse(text.into(), &tandem_sip::Limits::default()).expect("an INVITE");
            CallId::of(&invite, &[1; 16]).expect("an id")
        };
        let one = id("192.0.2.1;branch=z9hG4bK1");
        assert_eq!(one, id("192.0.2.1;received=192.0.2.9;branch=z9hG4bK1"));
        for other in
            ["192.0.2.2;branch=z9hG4bK1", "192.0.2.1:5070;branch=z9hG4bK1", "192.0.2.1;branch=z9hG4bK2"]
        {
            assert_ne!(one, id(other), "{other}");
        }
    }

    #[test]
    fn a_call_id_is_read_back() {
        assert_eq!(CallId::parse(&TOKEN.id.to_string()), Some(TOKEN.id));
        assert_eq!(CallId::parse("nonsense!"), None);
    }
}
