//! Writing to standard output.

use std::io::{self, ErrorKind, Write};

/// Writes a text. A reader that has seen enough (`tandem check | head`) is no error.
///
/// # Errors
/// Standard output cannot be written to.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
