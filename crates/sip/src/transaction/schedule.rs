//! When an unanswered message is sent again: `SS_SIP_RESEND_INTERVAL` and `SS_SIP_SEND_RETRY`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most intervals a schedule holds.
pub const MAX_RESENDS: usize = 10;

/// How long after the last resend an answer is still waited for.
const LAST_WAIT_MS: u32 = 500;

/// The waits before each resend over UDP, replacing the doubling of RFC 3261's timers A, E and G.
///
/// Timers B and F are the sum of the list plus 0.5 s: 32 s at the default, the RFC's 64·T1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResendSchedule {
    intervals_ms: [u16; MAX_RESENDS],
    len: u8,
}

impl ResendSchedule {
    /// A schedule from waits in milliseconds, of which at most `retries` are used.
    ///
    /// # Errors
    /// `None` if there are more than [`MAX_RESENDS`] waits or one does not fit 65.535 s.
    pub fn new(waits: &[Duration], retries: usize) -> Option<Self> {
        if waits.len() > MAX_RESENDS {
            return None;
        }
        let mut intervals_ms = [0; MAX_RESENDS];
        let len = waits.len().min(retries);
        for (slot, wait) in intervals_ms.iter_mut().zip(&waits[..len]) {
            *slot = u16::try_from(wait.as_millis()).ok()?;
        }
        Some(Self { intervals_ms, len: len as u8 })
    }

    /// The wait before resend number `sent` (0 = the first), or `None` when resends are used up.
    pub fn wait(&self, sent: u8) -> Option<Duration> {
        (sent < self.len).then(|| Duration::from_millis(u64::from(self.intervals_ms[usize::from(sent)])))
    }

    /// How many resends there are.
    pub fn resends(&self) -> u8 {
        self.len
    }

    /// The time from the first sending until the transaction gives up (timers B, F).
    pub fn window(&self) -> Duration {
        let waits: u32 = self.intervals_ms[..usize::from(self.len)].iter().map(|ms| u32::from(*ms)).sum();
        Duration::from_millis(u64::from(waits + LAST_WAIT_MS))
    }
}

impl Default for ResendSchedule {
    /// `0.5,1,2,4,4,4,4,4,4,4` s.
    fn default() -> Self {
        Self { intervals_ms: [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000], len: 10 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_window_is_64_t1() {
        assert_eq!(ResendSchedule::default().window(), Duration::from_secs(32));
    }

    #[test]
    fn ss_sip_send_retry_caps_the_list() {
        let waits = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
        let capped = ResendSchedule::new(&waits, 2).expect("three waits fit");
        assert_eq!(capped.wait(1), Some(Duration::from_secs(1)));
        assert_eq!(capped.wait(2), None);
        assert_eq!(capped.window(), Duration::from_secs(2));
    }
}
