//! Timers without a wheel: calls wait for few different delays, and those of one delay come due in the order they were set.

use std::collections::VecDeque;
use std::time::Duration;

/// What is to happen later. Times are since the start of the run; nothing is ever taken back, so that whoever is woken
/// looks whether it still matters.
pub(crate) struct Timers<T> {
    queues: Vec<(Duration, VecDeque<(Duration, T)>)>,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { queues: Vec::new() }
    }

    /// Sets a timer. `now` must not go back from one call to the next.
    pub(crate) fn set(&mut self, now: Duration, delay: Duration, what: T) {
        let at = now + delay;
        match self.queues.iter_mut().find(|(of, _)| *of == delay) {
            Some((_, queue)) => queue.push_back((at, what)),
            None => self.queues.push((delay, VecDeque::from([(at, what)]))),
        }
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.queues.iter().filter_map(|(_, queue)| queue.front()).map(|(at, _)| *at).min()
    }

    /// Takes the timer that has been due for longest, if one is due.
    pub(crate) fn due(&mut self, now: Duration) -> Option<T> {
        let next = self.next().filter(|at| *at <= now)?;
        let (_, queue) =
            self.queues.iter_mut().find(|(_, queue)| queue.front().is_some_and(|(at, _)| *at == next))?;
        queue.pop_front().map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn timers_come_due_by_time_whatever_their_delay() {
        let mut timers = Timers::new();
        timers.set(ms(0), ms(500), "resend");
        timers.set(ms(10), ms(50), "answer");
        timers.set(ms(20), ms(500), "resend of another");
        timers.set(ms(450), ms(50), "answer to another");
        assert_eq!(timers.next(), Some(ms(60)));
        assert_eq!(timers.due(ms(59)), None);
        let all: Vec<_> = std::iter::from_fn(|| timers.due(ms(1000))).collect();
        assert_eq!(all, ["answer", "resend", "answer to another", "resend of another"]);
        assert_eq!(timers.next(), None);
    }
}
