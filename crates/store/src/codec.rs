//! Snapshots as bytes: a versioned envelope around bincode.
//!
//! An appended field breaks an old reader of bincode, so each schema has a struct of its own, and a newer one is made
//! `From` the one before. A release reads its own schema and the one before it, and can write either, so that nodes of
//! two releases take over each other's calls.
//!
//! ```text
//! "TNDM"  schema: u16  length: u32  payload: length bytes (all little-endian)
//! ```

use crate::SNAPSHOT_MAX_BYTES;
use bincode::Options;
use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 4] = *b"TNDM";
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u16>() + size_of::<u32>();
const PAYLOAD_MAX_BYTES: usize = SNAPSHOT_MAX_BYTES - HEADER_BYTES;

/// A struct that is the content of one schema.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tandem_store::codec::{self, Versioned};
/// #[derive(Serialize, Deserialize)]
/// struct First { caller: String }
/// #[derive(Serialize, Deserialize)]
/// struct Second { caller: String, answered: bool }
///
/// impl Versioned for First { const SCHEMA: u16 = 1; type Previous = First; }
/// impl Versioned for Second { const SCHEMA: u16 = 2; type Previous = First; }
/// impl From<First> for Second {
///     fn from(first: First) -> Second { Second { caller: first.caller, answered: false } }
/// }
///
/// let old = codec::encode(&First { caller: "1".into() })?;
/// assert!(!codec::decode::<Second>(&old)?.answered);
/// # Ok::<(), codec::CodecError>(())
/// ```
pub trait Versioned: Serialize + DeserializeOwned {
    /// The schema's number; the next schema has the next number.
    const SCHEMA: u16;
    /// The content of the schema before this one. The oldest schema that is still read names itself.
    type Previous: Versioned + Into<Self>;
}

/// Why bytes are not a snapshot, or a value cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Shorter than an envelope.
    #[error("{bytes} bytes are too short for an envelope")]
    NoEnvelope {
        /// The length given.
        bytes: usize,
    },
    /// Not one of our envelopes.
    #[error("an envelope begins with {MAGIC:02x?}, this with {found:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// The payload is not as long as the envelope says: cut off, or something follows.
    #[error("the envelope announces {announced} bytes and holds {held}")]
    Length {
        /// What the envelope says.
        announced: usize,
        /// What there is.
        held: usize,
    },
    /// Longer than a snapshot may be.
    #[error("a payload of more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A schema that this release does not read.
    #[error("schema {found} is not read here, only {oldest} to {newest}")]
    Schema {
        /// The schema found.
        found: u16,
        /// The oldest that is read.
        oldest: u16,
        /// The newest that is read.
        newest: u16,
    },
    /// The payload is not what its schema says.
    #[error("the payload does not fit schema {schema}: {detail}")]
    Payload {
        /// The schema.
        schema: u16,
        /// What the decoder or encoder said.
        detail: Box<str>,
    },
}

/// Writes a value in its schema's envelope. Writing the schema before is `encode(&previous)`.
///
/// # Errors
/// [`CodecError::TooLong`], or a value that cannot be serialised.
pub fn encode<T: Versioned>(value: &T) -> Result<Bytes, CodecError> {
    encode_with(T::SCHEMA, value)
}

/// Writes a value into an envelope of the given schema.
///
/// # Errors
/// [`CodecError::TooLong`], or a value that cannot be serialised.
pub fn encode_with(schema: u16, value: &impl Serialize) -> Result<Bytes, CodecError> {
    let payload = options().serialize(value).map_err(|error| payload_error(schema, &error))?;
    let length =
        u32::try_from(payload.len()).map_err(|_| CodecError::TooLong { limit: PAYLOAD_MAX_BYTES })?;
    let mut envelope = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    envelope.extend_from_slice(&MAGIC);
    envelope.extend_from_slice(&schema.to_le_bytes());
    envelope.extend_from_slice(&length.to_le_bytes());
    envelope.extend_from_slice(&payload);
    Ok(envelope.freeze())
}

/// Opens an envelope: its schema and its payload.
///
/// # Errors
/// Anything that is not exactly one whole envelope.
pub fn open(envelope: &[u8]) -> Result<(u16, &[u8]), CodecError> {
    let no_envelope = CodecError::NoEnvelope { bytes: envelope.len() };
    let Some((magic, rest)) = envelope.split_first_chunk::<4>() else {
        return Err(no_envelope);
    };
    if *magic != MAGIC {
        return Err(CodecError::Magic { found: *magic });
    }
    let Some((schema, rest)) = rest.split_first_chunk::<2>() else {
        return Err(no_envelope);
    };
    let Some((length, payload)) = rest.split_first_chunk::<4>() else {
        return Err(no_envelope);
    };
    let announced = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if announced > PAYLOAD_MAX_BYTES {
        return Err(CodecError::TooLong { limit: PAYLOAD_MAX_BYTES });
    }
    if announced != payload.len() {
        return Err(CodecError::Length { announced, held: payload.len() });
    }
    Ok((u16::from_le_bytes(*schema), payload))
}

/// Reads a value from an envelope of its own schema or the one before.
///
/// # Errors
/// Another schema, bytes that are not an envelope, or a payload that does not fit.
pub fn decode<T: Versioned>(envelope: &[u8]) -> Result<T, CodecError> {
    const { assert!(T::SCHEMA - T::Previous::SCHEMA <= 1, "a schema follows the one before it") };
    let (found, payload) = open(envelope)?;
    if found == T::SCHEMA {
        decode_payload(found, payload)
    } else if found == T::Previous::SCHEMA {
        decode_payload::<T::Previous>(found, payload).map(Into::into)
    } else {
        Err(CodecError::Schema { found, oldest: T::Previous::SCHEMA, newest: T::SCHEMA })
    }
}

fn decode_payload<T: DeserializeOwned>(schema: u16, payload: &[u8]) -> Result<T, CodecError> {
    options().deserialize(payload).map_err(|error| payload_error(schema, &error))
}

/// Short integers, nothing after the value, and never more memory than the limit.
fn options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(PAYLOAD_MAX_BYTES as u64)
}

fn payload_error(schema: u16, error: &bincode::Error) -> CodecError {
    match **error {
        bincode::ErrorKind::SizeLimit => CodecError::TooLong { limit: PAYLOAD_MAX_BYTES },
        _ => CodecError::Payload { schema, detail: error.to_string().into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct First {
        caller: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        caller: String,
        answered: Option<u64>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Third {
        caller: Vec<u8>,
        answered: Option<u64>,
    }

    impl Versioned for First {
        const SCHEMA: u16 = 1;
        type Previous = First;
    }

    impl Versioned for Second {
        const SCHEMA: u16 = 2;
        type Previous = First;
    }

    impl Versioned for Third {
        const SCHEMA: u16 = 3;
        type Previous = Second;
    }

    impl From<First> for Second {
        fn from(first: First) -> Second {
            Second { caller: first.caller, answered: None }
        }
    }

    impl From<Second> for Third {
        fn from(second: Second) -> Third {
            Third { caller: second.caller.into_bytes(), answered: second.answered }
        }
    }

    fn first() -> First {
        First { caller: "alice".to_owned() }
    }

    fn second() -> Second {
        Second { caller: "alice".to_owned(), answered: Some(1_700_000_000_000) }
    }

    #[test]
    fn a_release_reads_its_own_schema_and_the_one_before() {
        assert_eq!(decode::<Second>(&encode(&second()).expect("encoded")), Ok(second()));
        assert_eq!(decode::<Second>(&encode(&first()).expect("encoded")), Ok(first().into()));
        assert_eq!(decode::<Third>(&encode(&second()).expect("encoded")), Ok(second().into()));
    }

    #[test]
    fn any_other_schema_is_refused_and_named() {
        let two_behind = encode(&first()).expect("encoded");
        let refused = CodecError::Schema { found: 1, oldest: 2, newest: 3 };
        assert_eq!(decode::<Third>(&two_behind), Err(refused));
        let newer = encode(&second()).expect("encoded");
        assert_eq!(decode::<First>(&newer), Err(CodecError::Schema { found: 2, oldest: 1, newest: 1 }));
    }

    #[test]
    fn the_layout_is_pinned() {
        let bytes = encode(&First { caller: "ab".to_owned() }).expect("encoded");
        assert_eq!(&bytes[..], b"TNDM\x01\0\x03\0\0\0\x02ab");
        assert_eq!(open(&bytes), Ok((1, &b"\x02ab"[..])));
    }

    #[test]
    fn cut_off_bytes_are_refused_at_every_length() {
        let whole = encode(&second()).expect("encoded");
        for length in 0..whole.len() {
            assert!(decode::<Second>(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn bytes_after_the_payload_or_inside_it_are_refused() {
        let whole = encode(&first()).expect("encoded");
        let mut longer = whole.to_vec();
        longer.push(0);
        let announced = whole.len() - HEADER_BYTES;
        assert_eq!(decode::<First>(&longer), Err(CodecError::Length { announced, held: announced + 1 }));
        longer[6] += 1;
        assert!(matches!(decode::<First>(&longer), Err(CodecError::Payload { schema: 1, .. })));
    }

    #[test]
    fn foreign_bytes_are_refused_by_their_magic() {
        assert_eq!(open(b"HTTP/1.1 200"), Err(CodecError::Magic { found: *b"HTTP" }));
        assert_eq!(open(b"TN"), Err(CodecError::NoEnvelope { bytes: 2 }));
    }

    #[test]
    fn a_value_over_the_limit_is_refused_on_both_ways() {
        let huge = First { caller: "x".repeat(SNAPSHOT_MAX_BYTES) };
        let refused = Err(CodecError::TooLong { limit: PAYLOAD_MAX_BYTES });
        assert_eq!(encode(&huge), refused);
        let announced_huge = b"TNDM\x01\0\xff\xff\xff\xff";
        assert_eq!(open(announced_huge).map(drop), refused.map(drop));
        // A length inside the payload may not make the reader reserve memory either.
        let lying = b"TNDM\x01\0\x09\0\0\0\xfd\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert!(decode::<First>(lying).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Third>(&bytes);
            let _ = decode::<Third>(&encode_with(3, &bytes).expect("small"));
        }
    }
}
