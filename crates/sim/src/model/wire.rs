//! What the model has seen of a call on the wire. A panic takes none of it back.

use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::Method;

#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) invites: Vec<Invite>,
    /// The INVITE of each attempt, once it was seen.
    pub(super) links: Vec<Option<usize>>,
    /// Requests of ours other than INVITE: branch, method and bytes.
    pub(super) requests: Vec<(Bytes, Method, Bytes)>,
    pub(super) trying: Option<Bytes>,
    pub(super) last_response: Option<Bytes>,
    pub(super) final_status: Option<u16>,
    /// Our To tags by their numbers.
    pub(super) tags: Vec<(u32, Bytes)>,
    /// Whose session description went up under a tag: the tag, and the INVITE and tag of its writer.
    pub(super) described: Vec<(Bytes, (usize, Bytes))>,
    /// Who wrote a session description.
    pub(super) writers: Vec<(u32, (usize, Bytes))>,
    pub(super) dialogs: Vec<Dialog>,
    /// The caller acknowledged the 2xx.
    pub(super) acknowledged: bool,
    pub(super) answered_at: Option<u64>,
}

/// An INVITE of ours.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) branch: Bytes,
    pub(super) call_id: Bytes,
    pub(super) from_tag: Bytes,
    pub(super) uri: Bytes,
    pub(super) cseq: u32,
    pub(super) raw: Bytes,
    pub(super) to: SocketAddr,
}

/// A dialog with a gateway that a 2xx of it has made.
#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) invite: usize,
    pub(super) tag: Bytes,
    pub(super) acks: Vec<Bytes>,
    pub(super) ended: bool,
}

impl Wire {
    /// The attempt whose INVITE has that branch.
    pub(super) fn attempt_of(&self, branch: &Bytes) -> Option<usize> {
        let invite = self.invites.iter().position(|invite| invite.branch == *branch)?;
        self.links.iter().position(|link| *link == Some(invite))
    }

    pub(super) fn invite_of(&self, attempt: usize) -> Option<&Invite> {
        self.links.get(attempt).copied().flatten().map(|invite| &self.invites[invite])
    }

    /// The text of our To tag of that number.
    pub(super) fn tag_of(&self, number: u32) -> Option<&Bytes> {
        self.tags.iter().find(|(known, _)| *known == number).map(|(_, tag)| tag)
    }

    /// The call knows only of its first `attempts` attempts and of so many To tags.
    pub(super) fn forget(&mut self, attempts: usize, tags: u32) {
        self.links.truncate(attempts);
        self.tags.retain(|(number, _)| *number < tags);
    }

    /// The attempt of the INVITE that began the dialog with that Call-ID.
    pub(super) fn attempt_by_call_id(&self, call_id: &[u8]) -> Option<usize> {
        let invite = self.invites.iter().position(|invite| invite.call_id == call_id)?;
        self.links.iter().position(|link| *link == Some(invite))
    }

    pub(super) fn dialog(&mut self, invite: usize, tag: &Bytes) -> &mut Dialog {
        let known = self.dialogs.iter().position(|dialog| dialog.invite == invite && dialog.tag == *tag);
        let place = known.unwrap_or_else(|| {
            self.dialogs.push(Dialog { invite, tag: tag.clone(), acks: Vec::new(), ended: false });
            self.dialogs.len() - 1
        });
        &mut self.dialogs[place]
    }

    /// Takes note of who wrote a session description.
    pub(super) fn note_writer(&mut self, branch: &Bytes, tag: &Bytes, sdp: u32) {
        if let Some(invite) = self.invites.iter().position(|invite| invite.branch == *branch) {
            self.writers.push((sdp, (invite, tag.clone())));
        }
    }

    /// The peer has ended a dialog with BYE.
    pub(super) fn note_peer_bye(&mut self, call_id: &Bytes, from_tag: &Bytes) {
        if let Some(invite) = self.invites.iter().position(|invite| invite.call_id == *call_id) {
            self.dialog(invite, from_tag).ended = true;
        }
    }

    /// Dialogs with gateways that stand.
    pub(super) fn standing(&self) -> usize {
        self.dialogs.iter().filter(|dialog| !dialog.acks.is_empty() && !dialog.ended).count()
    }
}
