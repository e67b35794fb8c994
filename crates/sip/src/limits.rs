//! What a peer may make us hold: every limit of the wire layer, by name.

/// Bounds on one message. A message beyond them is dropped and counted, because it is either an attack or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line, headers and body together, in bytes. A datagram cannot exceed 65 535; on a stream this is also
    /// the most that one connection buffers for a message that is not complete.
    pub max_message: usize,
    /// The start line, in bytes, without its line end.
    pub max_start_line: usize,
    /// One header line with its continuation lines (RFC 3261 §7.3.1), in bytes.
    pub max_header_line: usize,
    /// Header lines in one message.
    pub max_headers: usize,
    /// Values of one list header (Via, Route, Record-Route, Contact) over all its lines.
    pub max_list_items: usize,
}

impl Default for Limits {
    /// A full datagram; the longest real headers (Identity, History-Info, WWW-Authenticate) stay below 8 KB, and 70
    /// Vias is what Max-Forwards lets a message gather.
    fn default() -> Self {
        Self {
            max_message: 65_535,
            max_start_line: 4_096,
            max_header_line: 8_192,
            max_headers: 256,
            max_list_items: 70,
        }
    }
}
