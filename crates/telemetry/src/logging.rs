//! Logs: to standard error, as text or as JSON lines.

use crate::redaction::Revealing;
use std::fmt;
use std::io::{self, IsTerminal};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The actor library opens a span for each actor, which is one per call.
const QUIET: &str = "ractor=warn";

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not of the form `level` or `target=level,…`.
    #[error("log filter {filter:?}: {source}")]
    Filter {
        /// The filter given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before in this process.
    #[error("logging was started before")]
    Started,
}

/// Starts logging to standard error. `filter` is a list of directives such as `info` or `info,tandem_node=debug`.
///
/// Above DEBUG, [`crate::Redacted`] and [`crate::RedactedPeer`] values are redacted, whatever the filter lets through.
///
/// # Errors
/// A filter that cannot be read, or logging is running already.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let colour = io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, colour, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Started)
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // First in the list, so that a directive of the operator's for the same target wins.
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.map_event_format(ByLevel).boxed(),
        LogFormat::Json => {
            lines.fmt_fields(JsonFields::new()).map_event_format(|text| ByLevel(text.json())).boxed()
        }
    };
    // Before the layer and not on it: what is filtered out costs nothing where it stands.
    Ok(Registry::default().with(lines).with(filter))
}

/// Writes an event as the inner format does, and reveals redacted values in it if its level is DEBUG or TRACE.
///
/// The fields of spans are written when the span begins, outside of any event, and so stay redacted.
struct ByLevel<F>(F);

impl<S, N, F> FormatEvent<S, N> for ByLevel<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // Levels compare by verbosity: DEBUG and TRACE are the two that are at least as verbose as DEBUG.
        let _revealing = Revealing::begin(*event.metadata().level() >= Level::DEBUG);
        self.0.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Masked, Redacted};
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a piece of code logs.
    fn logged(format: LogFormat, filter: &str, code: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).expect("a filter");
        tracing::subscriber::with_default(subscriber, code);
        String::from_utf8(sink.0.lock().expect("not poisoned").clone()).expect("text")
    }

    #[test]
    fn a_number_is_redacted_above_debug_and_whole_at_debug() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let number = Redacted("+493012345642");
            for (text, whole) in [
                (logged(format, "trace", || tracing::error!(called = %number, "failed")), false),
                (logged(format, "trace", || tracing::info!("call to {number}")), false),
                (logged(format, "trace", || tracing::debug!(called = %number, "routed")), true),
                (logged(format, "trace", || tracing::trace!(called = ?number, "sent")), true),
            ] {
                assert_eq!(text.contains("+493012345642"), whole, "{text}");
                assert_eq!(text.contains("**42"), !whole, "{text}");
            }
        }
    }

    #[test]
    fn a_number_in_a_span_stays_redacted() {
        let text = logged(LogFormat::Json, "trace", || {
            let _call = tracing::info_span!("call", called = %Redacted("+493012345642")).entered();
            tracing::debug!("within");
        });
        assert!(text.contains("**42") && !text.contains("+493012345642"), "{text}");
    }

    #[test]
    fn a_credential_is_masked_at_every_level() {
        let text =
            logged(LogFormat::Text, "trace", || tracing::trace!(password = ?Masked("hunter2"), "auth"));
        assert!(text.contains("[masked]") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(calls = 3, "first");
            tracing::warn!("second\nline");
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["fields"]["calls"], 3);
        assert_eq!(lines[1]["level"], "WARN");
    }

    #[test]
    fn the_filter_decides_by_level_and_target() {
        let code = || {
            tracing::debug!(target: "tandem_node", "kept");
            tracing::debug!(target: "elsewhere", "left out");
        };
        let text = logged(LogFormat::Text, "info,tandem_node=debug", code);
        assert!(text.contains("kept") && !text.contains("left out"), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init_logging(LogFormat::Text, "tandem=loud").expect_err("no such level");
        assert!(error.to_string().starts_with("log filter \"tandem=loud\": "), "{error}");
    }
}
