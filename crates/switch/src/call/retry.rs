//! 401 and 407 to a request of ours inside a dialog (RFC 3261 §22.3): it goes out once more, under the next sequence
//! number and with credentials. Each request is challenged for itself; an answer is not used for the next.

use super::action::{Action, Authorization};
use super::challenge::{AUTHORIZATION_LIMIT, Challenges};
use super::identity::{Names, Serial};
use super::requests::header_lines;
use crate::gateway::GatewayName;
use bytes::Bytes;
use std::sync::Arc;
use tandem_sip::dialog::Dialog;
use tandem_sip::time::Mono;
use tandem_sip::{Limits, Message, Name, Rewrite, StatusCode};

/// A call's answer to [`Action::Authorize`]: for which request, and what it carries.
pub(super) type Authorized = (Serial, Option<Authorization>);

/// What it takes to send a request again with credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    gateway: GatewayName,
    request: Bytes,
    challenges: Challenges,
    awaited: Option<Awaited>,
}

/// Credentials that were asked for, for the request that goes out under `serial`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Awaited {
    serial: Serial,
    until: Mono,
}

/// A request with its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) serial: Serial,
    pub(super) message: Bytes,
    /// The header lines with the credentials.
    pub(super) lines: Bytes,
    /// What the next challenge is judged by.
    pub(super) retry: Box<Retry>,
}

impl Retry {
    /// For `request`, whose challenges the account at `gateway` answers.
    pub(super) fn new(gateway: GatewayName, request: Bytes) -> Box<Self> {
        Box::new(Self { gateway, request, challenges: Challenges::default(), awaited: None })
    }

    /// Asks for credentials if that final response is a challenge which is to be answered. `false` if not.
    pub(super) fn ask(
        &mut self,
        (out, names): (&mut Vec<Action>, &mut Names),
        response: &Message,
        now: Mono,
    ) -> bool {
        let challenges = [StatusCode::UNAUTHORIZED, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
        if !response.status().is_some_and(|status| challenges.contains(&status)) {
            return false;
        }
        let Ok(request) = Message::parse(self.request.clone(), &Limits::default()) else { return false };
        let Some(method) = request.method() else { return false };
        if !self.challenges.take(response) {
            return false;
        }
        let serial = names.next();
        let uri: Arc<str> = String::from_utf8_lossy(request.request_uri()).into();
        let asked = self.challenges.ask(names, serial, (method, uri, request.body_bytes()));
        out.push(Action::Authorize { gateway: self.gateway.clone(), serial, request: asked });
        self.awaited = Some(Awaited { serial, until: now + AUTHORIZATION_LIMIT });
        true
    }

    /// Whether credentials are awaited.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether these are the credentials that are awaited.
    pub(super) fn awaits(&self, serial: Serial) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| awaited.serial == serial)
    }

    /// When they are no longer waited for.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.awaited.as_ref().map(|awaited| awaited.until)
    }

    /// The request as it goes out with the credentials that were awaited, in `dialog`. `None` if there are none.
    pub(super) fn again(
        &self,
        names: &Names,
        dialog: &mut Dialog,
        authorization: Option<&Authorization>,
    ) -> Option<Again> {
        let serial = self.awaited.as_ref()?.serial;
        let authorization = authorization?;
        let request = Message::parse(self.request.clone(), &Limits::default()).ok()?;
        let via = String::from_utf8_lossy(request.first(Name::Via)?).into_owned();
        let sent_by = via.split(';').next()?;
        let cseq = format!("{} {}", dialog.next_cseq(), String::from_utf8_lossy(request.method_name()));
        let mut rewrite = Rewrite::of(&request)
            .replace_first(Name::Via, format!("{sent_by};branch={};rport", names.branch(serial)))
            .replace_first(Name::CSeq, cseq)
            .remove(Name::Authorization)
            .remove(Name::ProxyAuthorization);
        for line in header_lines(&authorization.lines) {
            rewrite = rewrite.append_line(line);
        }
        let message = rewrite.finish();
        let mut challenges = self.challenges.clone();
        challenges.answered(&authorization.counts);
        let retry =
            Self { gateway: self.gateway.clone(), request: message.clone(), challenges, awaited: None };
        Some(Again { serial, message, lines: authorization.lines.clone(), retry: Box::new(retry) })
    }
}
