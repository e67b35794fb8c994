//! Why a gateway gets no calls.

use thiserror::Error;

/// Why a gateway gets no calls, whatever its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// `disabled` in the configuration.
    #[error("disabled in the configuration")]
    Disabled,
    /// It has published that it takes none (RFC 3863: `closed`).
    #[error("published as closed")]
    Closed,
    /// Its publication was not refreshed in time.
    #[error("its publication has lapsed")]
    Lapsed,
    /// It has taken its publication back (PUBLISH with `Expires: 0`).
    #[error("its publication was removed")]
    Removed,
    /// Its probe fails.
    #[error("its probe fails")]
    Down,
    /// It demands a registration of ours, and none stands.
    #[error("we are not registered at it")]
    NotRegistered,
    /// It registers to us, and is not registered.
    #[error("not registered")]
    Absent,
}
