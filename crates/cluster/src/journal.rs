//! The journal's order: what a file of entries means, wherever a crash has cut it short.
//!
//! An entry is a name with a value, or says that the name is done with. Of a name the last entry counts. Each entry is in a
//! frame with its length and a checksum; a file is read until the first frame that is not whole, and goes on from there.

use bytes::Bytes;
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Length and checksum.
const HEAD: usize = 4 + 8;

/// Kind, whether there is a value, and the name's length.
const INNER_HEAD: usize = 1 + 1 + 2;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The bindings of an address of record.
    Registration,
    /// What a gateway has published.
    Publication,
    /// The end of a call, with its record.
    End,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Registration, Kind::Publication, Kind::End];
}

/// An entry's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// What it is about.
    pub kind: Kind,
    /// Of whom.
    pub of: Bytes,
}

/// The frame of an entry, to be appended to the file; without a value it says that the name is done with. `None` if it is too
/// long.
pub fn frame(name: &Name, value: Option<&[u8]>) -> Option<Vec<u8>> {
    let length = u16::try_from(name.of.len()).ok()?;
    let bytes = value.unwrap_or_default();
    if bytes.len() > MAX_VALUE_BYTES {
        return None;
    }
    let mut frame = vec![0; HEAD];
    frame.extend_from_slice(&[name.kind as u8, u8::from(value.is_some())]);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&name.of);
    frame.extend_from_slice(bytes);
    let inner = u32::try_from(frame.len() - HEAD).ok()?;
    let check = check(&frame[HEAD..]);
    frame[..4].copy_from_slice(&inner.to_le_bytes());
    frame[4..HEAD].copy_from_slice(&check.to_le_bytes());
    Some(frame)
}

/// What a file's bytes mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// What is not done with, each with its last value.
    pub entries: BTreeMap<Name, Bytes>,
    /// How many bytes are whole frames; what follows was cut short, or is damaged.
    pub whole: usize,
}

/// Reads a file.
pub fn read(file: &Bytes) -> Contents {
    let mut contents = Contents::default();
    while let Some((name, value, length)) = next(file, contents.whole) {
        contents.whole += length;
        match value {
            Some(value) => contents.entries.insert(name, value),
            None => contents.entries.remove(&name),
        };
    }
    contents
}

/// The frame at that place, and its length; `None` if it is not whole.
fn next(file: &Bytes, at: usize) -> Option<(Name, Option<Bytes>, usize)> {
    let head = file.get(at..at + HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    if length > INNER_HEAD + usize::from(u16::MAX) + MAX_VALUE_BYTES {
        return None;
    }
    let from = at + HEAD;
    let inner = file.get(from..from + length)?;
    if u64::from_le_bytes(head[4..].try_into().ok()?) != check(inner) {
        return None;
    }
    let (&kind, &has_value) = (inner.first()?, inner.get(1)?);
    let kind = *Kind::ALL.get(usize::from(kind))?;
    let named = usize::from(u16::from_le_bytes(inner.get(2..INNER_HEAD)?.try_into().ok()?)) + INNER_HEAD;
    inner.get(..named)?;
    let of = file.slice(from + INNER_HEAD..from + named);
    let value = (has_value == 1).then(|| file.slice(from + named..from + length));
    Some((Name { kind, of }, value, HEAD + length))
}

fn check(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(of: &str) -> Name {
        Name { kind: Kind::Registration, of: Bytes::copy_from_slice(of.as_bytes()) }
    }

    fn file(entries: &[(&str, Option<&str>)]) -> Bytes {
        let frames =
            entries.iter().map(|(of, value)| frame(&name(of), value.map(str::as_bytes)).expect("short"));
        frames.flatten().collect::<Vec<u8>>().into()
    }

    #[test]
    fn of_a_name_the_last_entry_counts_and_what_is_done_with_has_gone() {
        let bytes = file(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None)]);
        let contents = read(&bytes);
        assert_eq!(contents.entries, BTreeMap::from([(name("a"), Bytes::from("3"))]));
        assert_eq!(contents.whole, bytes.len());
    }

    #[test]
    fn names_of_different_kinds_are_different_and_an_empty_value_is_one() {
        let end = Name { kind: Kind::End, of: "a".into() };
        let bytes = [frame(&name("a"), Some(b"")).expect("short"), frame(&end, Some(b"x")).expect("short")];
        let contents = read(&bytes.concat().into());
        assert_eq!(contents.entries.len(), 2);
        assert_eq!(contents.entries[&name("a")], Bytes::new());
    }

    #[test]
    fn what_is_too_long_is_not_framed() {
        assert!(frame(&name(&"x".repeat(70_000)), None).is_none());
        assert!(frame(&name("x"), Some(&vec![0; MAX_VALUE_BYTES + 1])).is_none());
        assert!(frame(&name("x"), Some(&vec![0; MAX_VALUE_BYTES])).is_some());
    }

    #[test]
    fn a_file_that_is_cut_short_anywhere_has_what_was_whole() {
        let bytes = file(&[("a", Some("1")), ("bb", Some("22")), ("a", None)]);
        let ends = [
            0,
            file(&[("a", Some("1"))]).len(),
            file(&[("a", Some("1")), ("bb", Some("22"))]).len(),
            bytes.len(),
        ];
        for cut in 0..=bytes.len() {
            let contents = read(&bytes.slice(..cut));
            let whole = ends.iter().rev().find(|end| **end <= cut).copied();
            assert_eq!(Some(contents.whole), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_byte_ends_the_reading_before_its_frame() {
        let first = file(&[("a", Some("1"))]).len();
        let bytes = file(&[("a", Some("1")), ("b", Some("2"))]);
        for place in first..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[place] ^= 0x40;
            assert_eq!(read(&damaged.into()).whole, first, "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            prop_assert!(read(&bytes).whole <= bytes.len());
        }
    }
}
