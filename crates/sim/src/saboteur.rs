//! Plants a bug between the machines and the world.

mod talks;

use crate::bugs::Bug;
use crate::coverage::Happening;
use crate::model::Heard;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use talks::{first_count, sends, stale, without_sessions};
use tandem_cluster::{ClaimResult, Effect, Write, WriteResult};
use tandem_sip::flow::Flow;
use tandem_sip::session_timer::{Hangup, Schedule};
use tandem_sip::transaction::ResendSchedule;
use tandem_sip::{Limits as MessageLimits, Message, Method, Name, ResponseHead, StatusCode};
use tandem_switch::call::{Again, Authorization, Candidate, Event, Input, Snapshot};
use tandem_switch::gateway::{GatewayName, Holder, Limits, MappingGateway, Outcome, Redirects};
use tandem_switch::parameters::{AttemptParameters, CallParameters};

/// Longer than any world.
const NEVER: Duration = Duration::from_secs(3_600);

/// Stands between the machines and the world. Without a bug it changes nothing.
#[derive(Default)]
pub(crate) struct Saboteur {
    bug: Option<Bug>,
    /// Branches of INVITEs that were sent, and of BYEs that were kept back.
    branches: BTreeSet<Bytes>,
    /// What was sent before.
    sent: BTreeSet<(usize, Bytes)>,
    /// The last INVITE, provisional response and 2xx of each call.
    invite: Vec<(usize, Flow, Bytes)>,
    ringing: Vec<(usize, Flow, Bytes)>,
    answer: Vec<(usize, Bytes)>,
    /// The To tag of the first response of each call that has one.
    tags: Vec<(usize, Bytes)>,
    /// Slots that were asked for.
    asked: Vec<(usize, GatewayName, Holder)>,
    /// A call that has just been told of a provisional response.
    provisional: Option<usize>,
    /// Offers inside dialogs: call, CSeq and description.
    offered: Vec<(usize, Vec<u8>, Bytes)>,
    /// The first RSeq under each To tag.
    rung: Vec<(usize, Bytes, u32)>,
    /// Calls that went on to another target.
    retargeted: BTreeSet<usize>,
    /// Effects of its own that are to be performed for a call.
    extra: Vec<Effect>,
}

impl Saboteur {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn mapping_gateway(&self, mut gateway: MappingGateway) -> MappingGateway {
        let parameters: &mut CallParameters = &mut gateway.parameters;
        if self.is(Bug::BusyRuleIgnored) {
            parameters.stop_after_user_busy = false;
        } else if self.is(Bug::SwitchLimitOffByOne) {
            parameters.switch_limit = parameters.switch_limit.map(|limit| limit + 1);
        } else if self.is(Bug::TryingTimeoutIgnored) {
            parameters.trying_timeout = NEVER;
        } else if self.is(Bug::RingingTimeoutLate) {
            parameters.ringing_timeout += Duration::from_secs(1);
        } else if self.is(Bug::CauseMapIgnored) {
            gateway.cause_map.clear();
        } else if self.is(Bug::MaxDurationIgnored) {
            parameters.max_duration = None;
        } else if self.is(Bug::SetupTimeoutIgnored) {
            parameters.setup_timeout = None;
        } else if self.is(Bug::SilentPeerKept) {
            let late = Duration::from_secs(1);
            parameters.session.hangup = match parameters.session.hangup {
                Hangup::Grace(grace) => Hangup::Grace(grace + late),
                Hangup::Margin(margin) => Hangup::Margin(margin.saturating_sub(late)),
            };
        } else if self.is(Bug::SilentPeerDropped) {
            parameters.session.hangup = Hangup::Margin(Duration::from_secs(70));
        } else if self.is(Bug::RefreshLate) {
            parameters.session.schedule = Schedule::Late;
            parameters.session.segment = 20;
        } else if self.is(Bug::NoTimerCapIgnored) {
            parameters.no_timer = None;
        } else if self.is(Bug::NonconnectNotRecorded) {
            parameters.record_nonconnect = false;
        } else if self.is(Bug::ResendMissing) {
            let resend = &parameters.resend;
            let waits: Vec<_> = (0..resend.resends()).map_while(|sent| resend.wait(sent)).collect();
            let fewer = ResendSchedule::new(&waits, waits.len().saturating_sub(1));
            parameters.resend = fewer.unwrap_or(parameters.resend);
        }
        gateway
    }

    pub(crate) fn attempt_parameters(&self, parameters: &Arc<AttemptParameters>) -> Arc<AttemptParameters> {
        let mut changed = AttemptParameters::clone(parameters);
        if self.is(Bug::StopCodeIgnored) {
            changed.stop_codes.clear();
        } else if self.is(Bug::SdpCommitmentIgnored) {
            changed.stop_after_sdp = false;
        } else if self.is(Bug::InviteTimeoutIgnored) {
            changed.invite_timeout = NEVER;
        } else if self.is(Bug::StopAfterInviteTimeoutIgnored) {
            changed.stop_after_invite_timeout = false;
        } else if self.is(Bug::UntilConnectIgnored) {
            changed.until_connect = false;
        } else if self.is(Bug::MaxDurationIgnored) {
            changed.max_duration = None;
        } else if self.is(Bug::NoTimerCapIgnored) {
            changed.no_timer_cap = None;
        }
        Arc::new(changed)
    }

    /// The answer to a challenge that a call is given instead.
    pub(crate) fn authorization(&self, given: Option<Authorization>) -> Option<Authorization> {
        let counted = |given: Authorization| Authorization {
            lines: Bytes::from(first_count(&String::from_utf8_lossy(&given.lines))),
            ..given
        };
        if self.is(Bug::NonceCountRepeated) { given.map(counted) } else { given }
    }

    /// Where a gateway may redirect calls to instead.
    pub(crate) fn redirects(&self, redirects: Redirects) -> Redirects {
        if self.is(Bug::RedirectRefusalIgnored) { Redirects::Any } else { redirects }
    }

    pub(crate) fn limits(&self, mut limits: Limits) -> Limits {
        if self.is(Bug::SlotAboveLimit) {
            limits.max_calls = limits.max_calls.map(|calls| calls + 1);
        } else if self.is(Bug::CpsIgnored) {
            limits.cps = None;
        }
        limits
    }

    pub(crate) fn routes(&self, routes: &mut [Candidate]) {
        if self.is(Bug::PriorityIgnored) {
            routes.reverse();
        }
    }

    /// What a call is told instead of an input.
    pub(crate) fn inputs(&mut self, life: usize, heard: &Heard, input: Input) -> Vec<Input> {
        let happening = heard.happening();
        if self.is(Bug::TimerNotCancelled) && happening == Some(Happening::Provisional) {
            self.provisional = Some(life);
        }
        if let Input::Response(message) = &input
            && self.is(Bug::CredentialsAgain)
            && matches!(message.status().map(StatusCode::code), Some(401 | 407))
        {
            return parse(&stale(message)).map(Input::Response).into_iter().collect();
        }
        if self.is(Bug::AnswerNotHeld)
            && happening == Some(Happening::Success)
            && let Some((flow, prack)) = self.forged_prack(life)
        {
            return vec![Input::Request { message: prack, flow }, input];
        }
        let Input::Request { message, flow } = &input else { return vec![input] };
        self.note_offer(life, message);
        if self.is(Bug::SwitchAfterCancel) && happening == Some(Happening::Cancel) {
            let tag =
                self.tags.iter().find(|(of, _)| *of == life).map(|(_, tag)| &tag[..]).unwrap_or(b"none");
            let tag = String::from_utf8_lossy(tag);
            let response =
                ResponseHead::of(message, flow.remote).respond(StatusCode::OK, Some(&tag)).finish();
            self.extra.push(Effect::Send(*flow, response));
            return Vec::new();
        }
        if self.is(Bug::ByeBeforeAck)
            && happening == Some(Happening::CalleeBye)
            && let Some(ack) = self.forged_ack(life)
        {
            return vec![Input::Request { message: ack, flow: *flow }, input];
        }
        vec![input]
    }

    /// An ACK that the caller has not sent, for the 2xx that it was sent last.
    fn forged_ack(&self, life: usize) -> Option<Message> {
        let (_, answer) = self.answer.iter().rev().find(|(of, _)| *of == life)?;
        let answer = parse(answer)?;
        let text = |name: Name| String::from_utf8_lossy(answer.first(name).unwrap_or_default()).into_owned();
        let number = answer.cseq().ok()?.number;
        parse(&Bytes::from(format!(
            "ACK sip:forged@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKforged\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {number} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            text(Name::From),
            text(Name::To),
            text(Name::CallId)
        )))
    }

    /// What is performed instead of a host's effects.
    pub(crate) fn effects(&mut self, life: usize, effects: Vec<Effect>) -> Vec<Effect> {
        if self.bug.is_none() {
            return effects;
        }
        let byes: Vec<_> = effects.iter().filter_map(|effect| request(effect, Method::Bye)).collect();
        let byes: Vec<_> = byes.iter().map(dialog_of).collect();
        let acks: Vec<_> = effects.iter().filter_map(|effect| request(effect, Method::Ack)).collect();
        let acks: Vec<_> = acks.iter().map(dialog_of).collect();
        let mut changed = std::mem::take(&mut self.extra);
        for effect in effects {
            match effect {
                Effect::Send(flow, bytes) => self.send(life, (flow, bytes), (&acks, &byes), &mut changed),
                Effect::Release(gateway, holder, outcome) => {
                    let doubled = usize::from(self.is(Bug::SlotReleasedTwice));
                    let copies = if self.is(Bug::SlotNotReleased) { 0 } else { 1 + doubled };
                    changed.extend((0..copies).map(|_| Effect::Release(gateway.clone(), holder, outcome)));
                }
                Effect::Store { epoch, seq, write } => {
                    changed.push(Effect::Store { epoch, seq, write: self.write(life, write) });
                }
                Effect::Observe(Event::Released(release)) => {
                    let copies = if self.is(Bug::ReleasedTwice) { 2 } else { 1 };
                    changed.extend((0..copies).map(|_| Effect::Observe(Event::Released(release))));
                }
                Effect::Observe(event @ Event::InvitedAgain { why: Again::NextTarget, .. }) => {
                    self.retargeted.insert(life);
                    changed.push(Effect::Observe(event));
                }
                Effect::Admit(gateway, holder) => {
                    self.asked.push((life, gateway.clone(), holder));
                    changed.push(Effect::Admit(gateway, holder));
                }
                other @ (Effect::Claim { .. }
                | Effect::Lookup { .. }
                | Effect::Resolve(..)
                | Effect::Authorize(..)
                | Effect::Hold(..)
                | Effect::Wake(_)
                | Effect::Observe(_)
                | Effect::Panicked
                | Effect::GaveUpUnstored
                | Effect::Stop) => changed.push(other),
            }
        }
        if self.provisional.take() == Some(life)
            && let Some((_, flow, invite)) = self.invite.iter().rev().find(|(of, ..)| *of == life)
        {
            changed.push(Effect::Send(*flow, invite.clone()));
        }
        changed
    }

    fn send(
        &mut self,
        life: usize,
        (flow, bytes): (Flow, Bytes),
        (acks, byes): (&[Bytes], &[Bytes]),
        changed: &mut Vec<Effect>,
    ) {
        let Some(message) = parse(&bytes) else { return changed.push(Effect::Send(flow, bytes)) };
        let is_first = self.sent.insert((life, bytes.clone()));
        if message.is_request() {
            self.send_request(life, (flow, bytes), (&message, is_first), (acks, byes), changed);
        } else if let Some(messages) = self.sabotaged_response(life, &message, &bytes) {
            changed.extend(sends(flow, messages));
        } else if message.method() == Some(Method::Invite) {
            self.send_response(life, (flow, bytes), (&message, is_first), changed);
        } else {
            changed.push(Effect::Send(flow, bytes));
        }
    }

    fn send_request(
        &mut self,
        life: usize,
        (flow, bytes): (Flow, Bytes),
        (message, is_first): (&Message, bool),
        (acks, byes): (&[Bytes], &[Bytes]),
        changed: &mut Vec<Effect>,
    ) {
        let branch = branch_of(message);
        let dialog = dialog_of(message);
        let of_invite = self.branches.contains(&branch);
        let is = |method| message.method() == Some(method);
        if is(Method::Invite) {
            self.branches.insert(branch.clone());
            self.invite.push((life, flow, bytes.clone()));
        }
        let failure_ack = is(Method::Ack) && of_invite;
        if failure_ack && self.is(Bug::FailureAckUnderNewBranch) {
            let text = String::from_utf8_lossy(&bytes).replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1);
            return changed.push(Effect::Send(flow, Bytes::from(text)));
        }
        let ended_now = is(Method::Bye) && (of_invite || acks.contains(&dialog));
        if ended_now && self.is(Bug::LateAnswerNotEnded) {
            // And not sent again either.
            self.branches.insert(branch);
            return;
        }
        if ended_now && self.is(Bug::TwoAnswers) {
            let rang = self.ringing.iter().rev().find(|(of, ..)| *of == life);
            changed.extend(rang.map(|(_, flow, ringing)| Effect::Send(*flow, with_status(ringing, "200"))));
            return;
        }
        if let Some(bytes) = self.sabotaged_request(message, &bytes) {
            changed.extend(sends(flow, bytes));
            return;
        }
        let kept_back = (self.is(Bug::CancelNotSent) && is(Method::Cancel))
            || (self.is(Bug::FailureNotAcknowledged) && failure_ack)
            || (self.is(Bug::LateAnswerNotAcknowledged) && is(Method::Ack) && byes.contains(&dialog))
            || (self.is(Bug::AckNotRepeated) && is(Method::Ack) && !of_invite && !is_first);
        if kept_back {
            return;
        }
        changed.push(Effect::Send(flow, bytes));
        if self.is(Bug::SlotReleasedEarly) && is(Method::Cancel) && is_first {
            let asked = self.asked.iter().rev().find(|(of, ..)| *of == life);
            let release = |(_, gateway, holder): &(usize, GatewayName, Holder)| {
                Effect::Release(gateway.clone(), *holder, Outcome::Cancelled)
            };
            changed.extend(asked.map(release));
        }
    }

    fn send_response(
        &mut self,
        life: usize,
        (flow, bytes): (Flow, Bytes),
        (message, is_first): (&Message, bool),
        changed: &mut Vec<Effect>,
    ) {
        let status = message.status().map_or(0, StatusCode::code);
        if let Some(tag) = message.to_tag().filter(|_| !self.tags.iter().any(|(of, _)| *of == life)) {
            self.tags.push((life, Bytes::copy_from_slice(tag)));
        }
        let answers = (200..300).contains(&status);
        let kept_back = (self.is(Bug::AnswerNotResent) && answers && !is_first)
            || (self.is(Bug::RequestTerminatedLost) && status == 487 && is_first);
        if kept_back {
            return;
        }
        if self.is(Bug::ServiceUnavailablePassedOn) && status == 500 {
            return changed.push(Effect::Send(flow, with_status(&bytes, "503")));
        }
        if self.is(Bug::ToTagKept) && status > 100 {
            let first = self.tags.iter().find(|(of, _)| *of == life).map(|(_, tag)| tag.clone());
            let (now, first) = (message.to_tag().unwrap_or_default(), first.unwrap_or_default());
            let text = String::from_utf8_lossy(&bytes);
            let kept = text.replace(&*String::from_utf8_lossy(now), &String::from_utf8_lossy(&first));
            return changed.push(Effect::Send(flow, Bytes::from(kept)));
        }
        if (180..190).contains(&status) {
            self.ringing.push((life, flow, bytes.clone()));
        } else if answers {
            self.answer.push((life, bytes.clone()));
        }
        changed.push(Effect::Send(flow, bytes.clone()));
        if self.is(Bug::TwoFinals) && status >= 300 && is_first {
            changed.push(Effect::Send(flow, with_status(&bytes, "599")));
        }
        if self.is(Bug::RingsAfterTheEnd)
            && status >= 200
            && let Some((_, flow, ringing)) = self.ringing.iter().rev().find(|(of, ..)| *of == life)
        {
            changed.push(Effect::Send(*flow, ringing.clone()));
        }
    }

    fn write(&self, life: usize, write: Write) -> Write {
        let Write::End(lines) = write else { return write };
        Write::End(lines.filter(|_| !self.is(Bug::RecordMissing)).map(|lines| {
            if self.is(Bug::RecordTwice) {
                Bytes::from([&lines[..], &lines[..]].join(&b'\n'))
            } else if self.is(Bug::RecordOfAnotherStatus) {
                Bytes::from(String::from_utf8_lossy(&lines).replace("\"sip_status\":", "\"sip_status\":1"))
            } else if self.is(Bug::TargetCountsAsAttempt) && self.retargeted.contains(&life) {
                let listed =
                    String::from_utf8_lossy(&lines).replacen("\"attempts\":[{", "\"attempts\":[{},{", 1);
                Bytes::from(listed)
            } else {
                lines
            }
        }))
    }

    /// When a call is woken instead.
    pub(crate) fn wake(&self, at: u64) -> u64 {
        if self.is(Bug::TimerLate) { at + 40 } else { at }
    }

    pub(crate) fn write_result(&self, result: WriteResult) -> WriteResult {
        match result {
            WriteResult::Fenced if self.is(Bug::FenceIgnored) => WriteResult::Stored,
            other => other,
        }
    }

    /// Whether a write never reaches the store, and is taken for stored.
    pub(crate) fn loses_write(&self, write: &Write) -> bool {
        self.is(Bug::CommitLost) && matches!(write, Write::Commit(_))
    }

    /// Whether a call is not told that the store may have lost its state.
    pub(crate) fn ignores_loss(&self) -> bool {
        self.is(Bug::LossIgnored)
    }

    /// Whether the store is not told again of calls that have ended.
    pub(crate) fn forgets_ends(&self) -> bool {
        self.is(Bug::EndNotToldAgain)
    }

    /// Whether a sink does not know what it was written before.
    pub(crate) fn forgets_written(&self) -> bool {
        self.is(Bug::RecordWrittenAgain)
    }

    /// Whether a write is taken for stored before it is.
    pub(crate) fn acknowledges_early(&self) -> bool {
        self.is(Bug::SendBeforeCommit)
    }

    /// The snapshot that a call is restored from instead.
    pub(crate) fn snapshot(&self, snapshot: Snapshot) -> Snapshot {
        let snapshot =
            if self.is(Bug::RestoreForgetsSession) { without_sessions(snapshot) } else { snapshot };
        let field = if self.is(Bug::RestoreForgetsLeftAttempts) {
            "/left"
        } else if self.is(Bug::RestoreForgetsCandidates) {
            "/phase/Hunting/candidates/candidates"
        } else {
            return snapshot;
        };
        let Ok(mut value) = serde_json::to_value(&snapshot) else { return snapshot };
        if let Some(list) = value.pointer_mut(field) {
            *list = serde_json::Value::Array(Vec::new());
        }
        serde_json::from_value(value).unwrap_or(snapshot)
    }

    pub(crate) fn claim(&self, result: ClaimResult) -> ClaimResult {
        match result {
            ClaimResult::Claimed { .. } if self.is(Bug::PanicLosesCall) => ClaimResult::Lost,
            other => other,
        }
    }
}

fn parse(bytes: &Bytes) -> Option<Message> {
    Message::parse(bytes.clone(), &MessageLimits::default()).ok()
}

fn request(effect: &Effect, method: Method) -> Option<Message> {
    let Effect::Send(_, bytes) = effect else { return None };
    parse(bytes).filter(|message| message.is_request() && message.method() == Some(method))
}

/// The response with another status.
fn with_status(response: &Bytes, status: &str) -> Bytes {
    let text = String::from_utf8_lossy(response);
    Bytes::from(format!("SIP/2.0 {status}{}", text.get(11..).unwrap_or_default()))
}

/// Call-ID and To tag.
fn dialog_of(message: &Message) -> Bytes {
    Bytes::from([message.call_id().unwrap_or_default(), message.to_tag().unwrap_or_default()].join(&b' '))
}

fn branch_of(message: &Message) -> Bytes {
    let via = message.top_via().ok();
    Bytes::copy_from_slice(via.and_then(|via| via.branch()).unwrap_or_default())
}
