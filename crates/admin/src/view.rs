//! What the API shows of calls and gateways, and how lists of calls are cut down.

use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Calls in one answer when the query does not say.
pub const DEFAULT_PAGE: usize = 100;

/// The most calls in one answer, whatever the query says.
pub const MAX_PAGE: usize = 1_000;

/// The most failures a gateway's view remembers.
pub const MAX_LAST_FAILURES: usize = 10;

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// The caller has sent its INVITE; no gateway rings.
    Setup,
    /// A gateway has sent 180 or 183.
    Ringing,
    /// Connected.
    Answered,
    /// BYE or a final response has been sent and is not yet acknowledged.
    Ending,
}

/// A current call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallView {
    /// The switch's own id of the call, as in its CDR.
    pub id: String,
    /// Where it is in its life.
    pub state: CallState,
    /// The calling number as the caller sent it.
    pub caller: String,
    /// The called number as the caller sent it.
    pub called: String,
    /// The gateway the call came from.
    pub mapping_gateway: String,
    /// The gateway of the present attempt, or the one that answered.
    pub routing_gateway: Option<String>,
    /// When the caller's INVITE came.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When the gateway answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
    /// Seconds since the answer; 0 before it.
    pub duration_s: u64,
    /// Gateways tried so far, the present one included.
    pub attempts: u32,
    /// The Call-ID of the caller's leg.
    pub call_id_a: String,
    /// The Call-ID of the gateway's leg.
    pub call_id_b: Option<String>,
    /// The first audio codec of the answer: `PCMA`, `G729`.
    pub codec: Option<String>,
}

/// Which calls to list, and in which order. Every key given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallFilter {
    /// Only calls in this state. Without it, calls that have ended are left out: their last transactions may take
    /// another half minute.
    #[param(inline)]
    pub state: Option<CallState>,
    /// Only calls whose calling number contains this.
    pub caller: Option<String>,
    /// Only calls whose called number contains this.
    pub called: Option<String>,
    /// Only calls that come from or go to the gateway of this name.
    pub gateway: Option<String>,
    /// Only calls answered at least this long ago, in seconds.
    pub min_duration_s: Option<u64>,
    /// What to sort by.
    #[serde(default)]
    #[param(inline)]
    pub sort: CallSort,
    /// Ascending or descending.
    #[serde(default)]
    #[param(inline)]
    pub order: SortOrder,
    /// Calls in the answer: 100 if absent, never more than 1000.
    #[param(minimum = 0, maximum = 1000)]
    pub limit: Option<usize>,
}

/// What a list of calls is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallSort {
    /// When the caller's INVITE came.
    #[default]
    StartedAt,
    /// Seconds since the answer.
    DurationS,
    /// The calling number.
    Caller,
    /// The called number.
    Called,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// Smallest, oldest first.
    #[default]
    Asc,
    /// Largest, newest first.
    Desc,
}

/// A list of calls.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallPage {
    /// How many calls the filter selects; the list may hold fewer.
    pub total: usize,
    /// The calls, sorted.
    pub calls: Vec<CallView>,
}

impl CallFilter {
    /// Whether the filter selects this call.
    pub fn matches(&self, call: &CallView) -> bool {
        let contains = |number: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|part| number.contains(part.as_str()))
        };
        let via =
            |name: &String| call.mapping_gateway == *name || call.routing_gateway.as_ref() == Some(name);
        self.state.map_or(call.state != CallState::Ending, |state| call.state == state)
            && contains(&call.caller, &self.caller)
            && contains(&call.called, &self.called)
            && self.gateway.as_ref().is_none_or(via)
            && self.min_duration_s.is_none_or(|least| call.answered_at.is_some() && call.duration_s >= least)
    }

    /// The page of `calls` that the filter asks for. Calls equal in the sort's key come in the order of their ids.
    pub fn page(&self, calls: impl IntoIterator<Item = CallView>) -> CallPage {
        let mut calls: Vec<CallView> = calls.into_iter().filter(|call| self.matches(call)).collect();
        calls.sort_by(|a, b| {
            let by_key = match self.sort {
                CallSort::StartedAt => a.started_at.cmp(&b.started_at),
                CallSort::DurationS => a.duration_s.cmp(&b.duration_s),
                CallSort::Caller => a.caller.cmp(&b.caller),
                CallSort::Called => a.called.cmp(&b.called),
            };
            let directed = match self.order {
                SortOrder::Asc => by_key,
                SortOrder::Desc => by_key.reverse(),
            };
            directed.then_with(|| a.id.cmp(&b.id))
        });
        let total = calls.len();
        calls.truncate(self.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE));
        CallPage { total, calls }
    }
}

/// Which side of the switch a gateway is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayKind {
    /// Calls come from it: a customer.
    Mapping,
    /// Calls go to it: a vendor.
    Routing,
}

/// Whether a gateway gets calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayState {
    /// It does.
    Available,
    /// It carries as many calls as it may.
    Full,
    /// It has asked for a pause (503 with Retry-After).
    Paused,
    /// It is known to take none; the reason is beside it.
    Unavailable,
    /// The configuration says no.
    Disabled,
}

/// A gateway: state, load and quality. Quality is measured over the node's statistics window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GatewayView {
    /// Unique among the gateways of its kind.
    pub name: String,
    /// Which side of the switch it is on.
    pub kind: GatewayKind,
    /// Routing: its address or name as configured. Mapping: its source networks, separated by commas.
    pub address: String,
    /// Routing: where its calls are sent at present, best first; none while its name leads nowhere.
    pub targets: Vec<TargetView>,
    /// Whether it gets calls.
    pub state: GatewayState,
    /// Why it is in that state, unless it is plainly available.
    pub why: Option<String>,
    /// When it last became available or unavailable; absent if that was at the start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub changed_at: Option<Timestamp>,
    /// What it has published of itself last (PUBLISH, RFC 3903).
    pub publication: Option<PublicationView>,
    /// Its last probe; absent if it is not probed.
    pub probe: Option<ProbeView>,
    /// Our registration at it; absent if none is wanted.
    pub registration: Option<OurRegistrationView>,
    /// Its own registration at the switch; absent if it does not register.
    pub registered: Option<RegisteredView>,
    /// Calls it carries now, those in set-up included.
    pub calls: u32,
    /// Calls it carries by all nodes of the cluster, as the store has said last; absent where its calls are not counted there:
    /// a node by itself, or a gateway without limits.
    pub cluster_calls: Option<u32>,
    /// The most calls it may carry at once, by its limit and by what it has published; absent means no bound.
    pub max_calls: Option<u32>,
    /// The most new calls per second; absent means no bound.
    pub cps: Option<u32>,
    /// Calls sent to it, or come from it, within the window.
    pub attempts: u64,
    /// Those of them that were answered.
    pub answered: u64,
    /// Answer-seizure ratio, 0 to 100 %; absent without attempts.
    pub asr: Option<f64>,
    /// Average call duration in seconds; absent without ended calls.
    pub acd_s: Option<f64>,
    /// Average post-dial delay in milliseconds; absent without ringing.
    pub pdd_ms: Option<u64>,
    /// The latest failed attempts, newest first, at most ten.
    pub last_failures: Vec<FailureView>,
}

/// What a gateway has published of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublicationView {
    /// `open` or `closed`.
    pub basic: String,
    /// `alive`, `lapsed` or `removed`.
    pub standing: String,
    /// The calls that it takes at once, if it says.
    pub capacity: Option<u32>,
    /// The entity-tag (SIP-ETag).
    pub etag: String,
    /// The type of the body it published last.
    pub content_type: String,
    /// When the first of the publications that were refreshed up to this one came.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When the last PUBLISH came.
    #[schema(value_type = String, format = DateTime)]
    pub refreshed_at: Timestamp,
    /// When it lapses or has lapsed.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A gateway's last probe (OPTIONS).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProbeView {
    /// When it was over.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long the answer took, in milliseconds; absent if it failed.
    pub rtt_ms: Option<u64>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Failures in a row.
    pub failures: u32,
}

/// Our registration at a gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OurRegistrationView {
    /// Our address-of-record.
    pub aor: String,
    /// Whether it stands.
    pub registered: bool,
    /// Since when it has stood without a gap.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// When it lapses unless it is refreshed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When the registrar last failed to do as asked, unless it has done so since.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
}

/// Where a gateway is registered at the switch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RegisteredView {
    /// Whether it is.
    pub registered: bool,
    /// Its bindings, best first.
    pub bindings: Vec<GatewayBindingView>,
}

/// One binding of a gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GatewayBindingView {
    /// The Contact as registered.
    pub contact: String,
    /// When it was registered first.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it lapses unless it is refreshed.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// One place of a gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TargetView {
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Its address and port.
    pub address: String,
    /// A call failed there within the last half minute, so it comes after the others.
    pub failed: bool,
}

/// An attempt that a gateway failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// When it failed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The SIP status it sent, if it sent one.
    pub status: Option<u16>,
    /// The outcome, as in the CDR's attempts.
    pub outcome: String,
}

/// All gateways.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GatewayList {
    /// Mapping gateways and routing gateways.
    pub gateways: Vec<GatewayView>,
}

/// A source that is not listened to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BanView {
    /// An address, or the /64 network of an IPv6 address.
    pub source: String,
    /// When it was banned.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it is listened to again.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// How long that is, in seconds.
    pub left_s: u64,
}

/// All bans.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BanList {
    /// By address.
    pub bans: Vec<BanView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, caller: &str, started_ms: u64, duration_s: Option<u64>) -> CallView {
        CallView {
            id: id.into(),
            state: if duration_s.is_some() { CallState::Answered } else { CallState::Ringing },
            caller: caller.into(),
            called: "4420".into(),
            mapping_gateway: "customer".into(),
            routing_gateway: Some("vendor".into()),
            started_at: Timestamp::from_unix_ms(started_ms),
            answered_at: duration_s.map(|_| Timestamp::from_unix_ms(started_ms + 1)),
            duration_s: duration_s.unwrap_or(0),
            attempts: 1,
            call_id_a: format!("{id}@a"),
            call_id_b: None,
            codec: None,
        }
    }

    fn three() -> Vec<CallView> {
        vec![call("c", "100", 3, None), call("a", "2001", 1, Some(60)), call("b", "2002", 2, Some(5))]
    }

    fn ids(page: &CallPage) -> Vec<&str> {
        page.calls.iter().map(|call| call.id.as_str()).collect()
    }

    #[test]
    fn calls_are_listed_oldest_first_unless_asked_otherwise() {
        assert_eq!(ids(&CallFilter::default().page(three())), ["a", "b", "c"]);
        let newest = CallFilter { order: SortOrder::Desc, ..CallFilter::default() };
        assert_eq!(ids(&newest.page(three())), ["c", "b", "a"]);
    }

    #[test]
    fn longest_calls_come_first_when_sorted_by_duration_descending() {
        let filter =
            CallFilter { sort: CallSort::DurationS, order: SortOrder::Desc, ..CallFilter::default() };
        assert_eq!(ids(&filter.page(three())), ["a", "b", "c"]);
    }

    #[test]
    fn every_key_of_the_filter_must_hold() {
        let filter = CallFilter {
            state: Some(CallState::Answered),
            caller: Some("200".into()),
            gateway: Some("vendor".into()),
            min_duration_s: Some(30),
            ..CallFilter::default()
        };
        assert_eq!(ids(&filter.page(three())), ["a"]);
        let elsewhere = CallFilter { gateway: Some("another".into()), ..filter };
        assert_eq!(elsewhere.page(three()).total, 0);
    }

    #[test]
    fn a_call_that_is_not_answered_has_no_duration_to_compare() {
        let filter = CallFilter { min_duration_s: Some(0), ..CallFilter::default() };
        assert_eq!(ids(&filter.page(three())), ["a", "b"]);
    }

    #[test]
    fn the_page_is_bounded_and_the_total_is_not() {
        let many = (0..1500).map(|n| call(&format!("{n:04}"), "1", n, None));
        let page = CallFilter { limit: Some(usize::MAX), ..CallFilter::default() }.page(many.clone());
        assert_eq!((page.total, page.calls.len()), (1500, MAX_PAGE));
        assert_eq!(CallFilter::default().page(many).calls.len(), DEFAULT_PAGE);
    }
}
