//! What the session timers (RFC 4028) have to do with what is sent and answered inside the dialogs.

use super::super::State;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::Taken;
use super::{Connected, Outcome, Party};
use bytes::Bytes;
use tandem_sip::time::Now;
use tandem_sip::{Message, StatusCode};

impl Connected {
    /// Header lines of an INVITE or UPDATE that goes to a party.
    pub(super) fn request_lines(&self, _context: &Context, _party: Party) -> Bytes {
        Bytes::new()
    }

    /// Whether a party's INVITE or UPDATE may be taken.
    ///
    /// # Errors
    /// The status that it gets, and header lines that this asks for.
    pub(super) fn screen_refresh(
        &self,
        _context: &Context,
        _taken: &Taken,
    ) -> Result<(), (StatusCode, Vec<u8>)> {
        Ok(())
    }

    /// Header lines of the 200 to a party's INVITE or UPDATE, which has been taken.
    pub(super) fn answer_lines(&mut self, _context: &mut Context, _taken: &Taken, _now: Now) -> Bytes {
        Bytes::new()
    }

    /// A party has answered an INVITE or UPDATE of ours with 2xx, passed or of the switch's own.
    pub(super) fn on_success(
        &mut self,
        _context: &mut Context,
        _party: Party,
        _response: &Message,
        _now: Now,
    ) {
    }

    /// What has come of a [refresh](Self::refresh).
    pub(super) fn on_refreshed(
        self: Box<Self>,
        _context: &mut Context,
        _refresh: (Party, Serial),
        _outcome: Outcome<'_>,
        _now: Now,
    ) -> State {
        State::Connected(self)
    }
}
