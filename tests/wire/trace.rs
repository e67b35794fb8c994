//! What sipp sent and received, out of its message log.

use std::fs;
use std::path::Path;

/// A message as it went over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    /// Whether sipp sent it; otherwise it received it.
    pub(crate) sent: bool,
    /// The whole message, with line feeds for line ends.
    pub(crate) text: String,
}

impl Traced {
    /// The value of its first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The same, where there must be one.
    pub(crate) fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }
}

/// All messages of a sipp `-trace_msg` file, in order.
pub(crate) fn read(log: &Path) -> Vec<Traced> {
    let text = fs::read_to_string(log).unwrap_or_default().replace('\r', "");
    // An entry: a ruler with the time, a line that says which way, an empty line, the message.
    text.split("-----------------------------------------------")
        .filter_map(|entry| {
            let (_time, entry) = entry.split_once('\n')?;
            let (direction, message) = entry.split_once("\n\n")?;
            Some(Traced { sent: direction.contains("message sent"), text: message.trim_end().to_owned() })
        })
        .collect()
}
