//! What operators see of a node: metrics from one table, logs with numbers and addresses redacted.

mod family;
pub mod labels;
mod logging;
mod metrics;
mod redaction;

pub use family::{Counter, CounterBy, CounterByPair, Gauge, GaugeBy, Histogram, RaiseTo, Seconds};
pub use labels::{
    AdmissionRefusal, AttemptOutcome, Authentication, CallState, ConnectionEvent, Direction, DnsResult,
    DnsSource, DropReason, EndReason, Label, Method, Origin, ParseReject, Registration, Reload, StatusClass,
    Transport,
};
pub use logging::{LogFormat, LoggingError, init_logging};
pub use metrics::{GATEWAYS_MAX, GatewayMetrics, HealthMetrics, Metrics, reference};
pub use redaction::{Masked, Redacted, RedactedPeer};
