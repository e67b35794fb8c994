//! What nodes tell each other: a head of known form, and for SIP messages the message as it came.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_sip::flow::Transport;
use tandem_store::CallKey;
use tandem_store::codec::{self, Versioned};

/// The longest frame: a message of the largest size, and what goes with it.
pub(super) const MAX_BYTES: usize = 80 * 1024;

/// How a message reached the node that it came to, or is to leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EdgeFlow {
    /// The place of that node's listener.
    pub(crate) listener: u16,
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
}

/// One thing that a node tells another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// The first: who speaks, and that it has the cluster's keys.
    Hello { node: Arc<str>, boot: u64, proof: u64 },
    /// A message for a call that may be the other's. It has been passed on so often.
    Forward { flow: EdgeFlow, hops: u8 },
    /// A message to be sent from a listener of the other.
    Send { flow: EdgeFlow },
    /// Whether the other has lost contact with the store, too.
    AreYouBlind { question: u64 },
    /// The answer to that.
    Blind { question: u64, blind: bool },
    /// Whether the other has a call, which may have ended: its last transactions are still answered.
    Have { question: u64, key: WireKey },
    /// A call is the other's from now on, which is to claim it from this epoch.
    Yours { question: u64, key: WireKey, epoch: u32 },
    /// The answer to the two before, and to those that follow.
    Taken { question: u64, taken: bool },
    /// A call that is the other's by now was ended here before; its records are behind this.
    Ended { question: u64, key: WireKey },
    /// A call that the other had is the sender's since this epoch.
    Lost { key: WireKey, epoch: u32 },
}

/// A call's name in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireKey {
    bucket: u8,
    id: [u8; 12],
}

impl From<CallKey> for WireKey {
    fn from(key: CallKey) -> Self {
        Self { bucket: key.bucket, id: key.id }
    }
}

impl From<WireKey> for CallKey {
    fn from(key: WireKey) -> Self {
        Self { bucket: key.bucket, id: key.id }
    }
}

impl Versioned for Frame {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl Frame {
    /// The frame as bytes, with a message behind it. `None` for one that is too long.
    pub(super) fn encode(&self, message: &[u8]) -> Option<Bytes> {
        let head = codec::encode(self).ok()?;
        let mut bytes = BytesMut::with_capacity(size_of::<u16>() + head.len() + message.len());
        bytes.put_u16(u16::try_from(head.len()).ok()?);
        bytes.put_slice(&head);
        bytes.put_slice(message);
        Some(bytes.freeze()).filter(|bytes| bytes.len() <= MAX_BYTES)
    }

    /// A frame, and the message behind it. `None` if this release does not understand it.
    pub(super) fn decode(mut bytes: Bytes) -> Option<(Self, Bytes)> {
        let length = usize::from(bytes.try_get_u16().ok()?);
        if bytes.len() < length {
            return None;
        }
        let head = bytes.split_to(length);
        Some((codec::decode(&head).ok()?, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_and_its_message_come_out_as_they_went_in() {
        let flow = EdgeFlow {
            listener: 2,
            transport: Transport::Udp,
            remote: "192.0.2.9:5060".parse().expect("an address"),
        };
        let frame = Frame::Forward { flow, hops: 1 };
        let bytes = frame.encode(b"BYE sip:1@h SIP/2.0\r\n").expect("it is short");
        assert_eq!(Frame::decode(bytes), Some((frame, Bytes::from_static(b"BYE sip:1@h SIP/2.0\r\n"))));
    }

    #[test]
    fn what_is_cut_short_or_of_another_form_is_no_frame() {
        let bytes = Frame::AreYouBlind { question: 7 }.encode(b"").expect("it is short");
        for length in 0..bytes.len() {
            assert_eq!(Frame::decode(bytes.slice(..length)), None);
        }
        assert_eq!(Frame::decode(Bytes::from_static(b"\0\x04GET ")), None);
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_sent() {
        assert_eq!(Frame::AreYouBlind { question: 7 }.encode(&vec![0; MAX_BYTES]), None);
    }
}
