//! Naps between reads. The kernel stamps arrivals, so a token need not be read at once: waiting up to a millisecond for the tokens
//! of other streams saves most of the wake-ups, which are most of the cost of a paced stream.
//!
//! A nap must change no figure. There is none while a second token of the same stream could come within it (two tokens in one
//! read keep the engine awake for a while), while answers are short, while a connection is being made, over HTTP/2 (whose streams
//! share a socket), without kernel stamps; and it ends before the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

const LONGEST: u64 = 1_000_000;
/// A wake-up takes about this long; a request that is due must not wait for it.
const MARGIN: u64 = 150_000;
/// How long the engine stays awake once a nap could have done harm.
const AWAKE: u64 = 100_000_000;
/// An answer shorter than this would feel a nap.
pub const SHORT_ANSWER: u64 = 100_000_000;

pub struct Naps {
    allowed: bool,
    awake_until: AtomicU64,
    next_due: AtomicU64,
    connecting: AtomicU64,
}

/// A connection that is being made; over when dropped.
pub struct Connecting<'a>(&'a Naps);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Naps {
    pub fn new(allowed: bool) -> Self {
        Self {
            allowed,
            awake_until: AtomicU64::new(0),
            next_due: AtomicU64::new(u64::MAX),
            connecting: AtomicU64::new(0),
        }
    }

    /// A nap would have done harm just now.
    pub fn stay_awake(&self) {
        self.awake_until.store(clock::now() + AWAKE, Ordering::Relaxed);
    }

    /// No nap goes beyond this time of the monotonic clock.
    pub fn set_due(&self, due: u64) {
        self.next_due.store(due, Ordering::Relaxed);
    }

    pub fn connecting(&self) -> Connecting<'_> {
        self.connecting.fetch_add(1, Ordering::Relaxed);
        Connecting(self)
    }

    /// Until when the engine may sleep from now on.
    fn until(&self, now: u64, in_flight: u64) -> Option<u64> {
        let awake = now < self.awake_until.load(Ordering::Relaxed) || self.connecting.load(Ordering::Relaxed) > 0;
        if !self.allowed || awake || in_flight < 8 {
            return None;
        }
        let until = (now + LONGEST).min(self.next_due.load(Ordering::Relaxed).saturating_sub(MARGIN));
        (until > now + MARGIN).then_some(until)
    }

    /// Called when there is nothing to do until something arrives.
    pub fn take(&self, in_flight: u64) {
        if let Some(until) = self.until(clock::now(), in_flight) {
            clock::sleep_until(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000_000;

    #[test]
    fn a_nap_ends_before_the_next_request_is_due() {
        let naps = Naps::new(true);
        assert_eq!(naps.until(NOW, 100), Some(NOW + LONGEST));
        naps.set_due(NOW + 500_000);
        assert_eq!(naps.until(NOW, 100), Some(NOW + 500_000 - MARGIN));
        naps.set_due(NOW + 2 * MARGIN);
        assert_eq!(naps.until(NOW, 100), None);
    }

    #[test]
    fn there_is_no_nap_where_it_would_be_seen() {
        assert_eq!(Naps::new(false).until(NOW, 100), None);
        let naps = Naps::new(true);
        assert_eq!(naps.until(NOW, 1), None);
        let connecting = naps.connecting();
        assert_eq!(naps.until(NOW, 100), None);
        drop(connecting);
        assert!(naps.until(NOW, 100).is_some());
        naps.stay_awake();
        assert_eq!(naps.until(clock::now(), 100), None);
    }
}
