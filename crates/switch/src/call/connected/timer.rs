//! What the session timers (RFC 4028) have to do with what is sent and answered inside the dialogs.

use super::super::State;
use super::super::clearing::Ending;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::{Silence, Taken};
use super::super::session::Demand;
use super::{Connected, Outcome, Party, Refresh};
use bytes::Bytes;
use tandem_sip::offer::glare_wait;
use tandem_sip::session_timer::{RefreshOutcome, TimerHeaders, TooSmall};
use tandem_sip::time::Now;
use tandem_sip::{Message, Method, StatusCode};

impl Connected {
    /// Header lines of an INVITE or UPDATE that goes to a party.
    pub(super) fn request_lines(&self, party: Party) -> Bytes {
        self.sessions.request_lines(party).print()
    }

    /// Whether a party's INVITE or UPDATE may be taken.
    ///
    /// # Errors
    /// The status that it gets, and header lines that this asks for.
    pub(super) fn screen_refresh(&self, taken: &Taken) -> Result<(), (StatusCode, Vec<u8>)> {
        let asked = TimerHeaders::of(&taken.request).map_err(|_| (StatusCode::BAD_REQUEST, Vec::new()))?;
        self.sessions.screen(taken.party, &asked).map_err(|TooSmall { min_se }| {
            (StatusCode::SESSION_INTERVAL_TOO_SMALL, format!("Min-SE: {min_se}\r\n").into_bytes())
        })
    }

    /// Header lines of the 200 to a party's INVITE or UPDATE, which has been taken.
    pub(super) fn answer_lines(&mut self, taken: &Taken, now: Now) -> Bytes {
        let asked = TimerHeaders::of(&taken.request).unwrap_or_default();
        self.sessions.accept(taken.party, &asked, now.mono).print()
    }

    /// A party has answered an INVITE or UPDATE of ours with 2xx, passed or of the switch's own.
    pub(super) fn on_success(&mut self, party: Party, response: &Message, now: Now) {
        let said = TimerHeaders::of(response).unwrap_or_default();
        self.sessions.on_success(party, &said, now.mono);
    }

    /// What has come of a [refresh](Self::refresh).
    pub(super) fn on_refreshed(
        mut self: Box<Self>,
        context: &mut Context,
        (party, serial): (Party, Serial),
        outcome: Outcome<'_>,
        now: Now,
    ) -> State {
        let outcome = match outcome {
            Outcome::Answered(response) if is_update_refused(response) => {
                self.sessions.refuses_update(party);
                return self.meet(context, Some(Demand::Refresh(party)), now);
            }
            Outcome::Answered(response) => {
                // The callee's Call-ID is ours.
                let wait = glare_wait(party == Party::Callee, context.names.draw(serial));
                RefreshOutcome::of(response, wait)
            }
            // Whoever says that it is trying is there.
            Outcome::Silence(Silence::OnlyProvisional) => RefreshOutcome::Refused(None),
            Outcome::Silence(Silence::TimedOut | Silence::Undeliverable) => RefreshOutcome::Silent,
        };
        let demand = self.sessions.on_outcome(party, outcome, now.mono);
        self.meet(context, demand, now)
    }

    /// Does what the conversation's time asks for now.
    pub(super) fn keep_time(mut self: Box<Self>, context: &mut Context, now: Now) -> State {
        let demand = self.sessions.on_timer(now.mono);
        self.meet(context, demand, now)
    }

    fn meet(mut self: Box<Self>, context: &mut Context, mut demand: Option<Demand>, now: Now) -> State {
        while let Some(next) = demand {
            match next {
                Demand::End(cause) => {
                    return self.end(context, Ending::by_server(cause, cause.as_str()), now);
                }
                Demand::Refresh(party) => {
                    let by_update = self.takes_update(context, party);
                    let how = if by_update { Refresh::Update } else { Refresh::Invite };
                    self.keep_alive(context, party, how, now);
                }
                Demand::Probe(party) => self.keep_alive(context, party, Refresh::Invite, now),
            }
            // Each of them is asked for once, until something has come of it.
            demand = self.sessions.on_timer(now.mono);
        }
        State::Connected(self)
    }

    /// Whether a party is asked by UPDATE: it allows that, and has not refused one all the same.
    pub(super) fn takes_update(&self, context: &Context, party: Party) -> bool {
        self.allows(context, party, Method::Update) && self.sessions.takes_update(party)
    }

    fn keep_alive(&mut self, context: &mut Context, party: Party, how: Refresh, now: Now) {
        let lines = self.request_lines(party);
        if self.refresh(context, (party, how), &lines, now.mono).is_err() {
            self.sessions.on_busy(party, now.mono);
        }
    }
}

/// Whether a party does not take UPDATE after all.
pub(super) fn is_update_refused(response: &Message) -> bool {
    let refused = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
    response.method() == Some(Method::Update)
        && response.status().is_some_and(|status| refused.contains(&status))
}
