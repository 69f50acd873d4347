//! Clocks: one monotonic axis for every stamp, and the way kernel stamps (real time) are put on it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

fn read_clock(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the kernel to write to; the two clocks used here always exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds of CLOCK_MONOTONIC, the axis of the schedule and of all reported stamps.
pub fn now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC) as u64
}

/// Sleeps until a time of the monotonic clock.
pub fn sleep_until(nanoseconds: u64) {
    let time =
        libc::timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 };
    // SAFETY: `time` lives through the call; a signal only ends the sleep sooner.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, std::ptr::null_mut()) };
}

/// Lets this thread's sleeps end when they should, not up to 50 us later.
pub fn wake_exactly() {
    // SAFETY: the call takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// CPU time of the calling thread, in nanoseconds.
pub fn thread_cpu() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID) as u64
}

/// Real time minus monotonic time. Kernel receive stamps are real time; a step of that clock must not become a latency,
/// so the difference is taken again at least once a second.
pub struct RealtimeOffset {
    offset: AtomicI64,
    /// By how much a stamp may be wrong: half the bracket of a measurement, and what the difference moved until the next.
    bound: AtomicU64,
}

impl RealtimeOffset {
    pub fn measured() -> Self {
        let (bracket, difference) = tightest();
        Self { offset: AtomicI64::new(difference), bound: AtomicU64::new(bracket / 2) }
    }

    pub fn measure(&self) {
        let (bracket, difference) = tightest();
        let moved = self.offset.swap(difference, Ordering::Relaxed).abs_diff(difference);
        self.bound.fetch_max(bracket / 2 + moved, Ordering::Relaxed);
    }

    pub fn nanoseconds(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    pub fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }

    /// Puts a real-time stamp on the monotonic axis; `None` where it cannot be true (after now, or a minute old).
    pub fn to_monotonic(&self, real: i64, now: u64) -> Option<u64> {
        let stamp = real - self.nanoseconds();
        let now = now as i64;
        (stamp <= now + 20_000 && now - stamp < 60_000_000_000).then_some(stamp.min(now).max(0) as u64)
    }
}

/// Width and difference of the tightest of a few brackets: a preemption between two readings would otherwise shift every stamp.
fn tightest() -> (u64, i64) {
    let mut best = (u64::MAX, 0);
    for _ in 0..5 {
        let before = read_clock(libc::CLOCK_MONOTONIC);
        let real = read_clock(libc::CLOCK_REALTIME);
        let width = read_clock(libc::CLOCK_MONOTONIC).abs_diff(before);
        if width < best.0 {
            best = (width, real - (before + width as i64 / 2));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_widens_the_bound() {
        let offset = RealtimeOffset::measured();
        let narrow = offset.bound();
        offset.offset.fetch_add(1_000_000, Ordering::Relaxed);
        offset.measure();
        assert!(narrow < 1_000_000 && offset.bound() >= 900_000);
    }

    #[test]
    fn a_real_time_stamp_lands_where_the_monotonic_clock_was() {
        let offset = RealtimeOffset::measured();
        let before = now();
        let real = read_clock(libc::CLOCK_REALTIME);
        let after = now();
        let stamp = offset.to_monotonic(real, after).expect("a stamp taken now is believable");
        assert!(stamp + 100_000 >= before && stamp <= after);
    }

    #[test]
    fn a_stamp_from_the_future_or_a_minute_ago_is_not_believed() {
        let offset = RealtimeOffset::measured();
        let real = read_clock(libc::CLOCK_REALTIME);
        assert_eq!(offset.to_monotonic(real + 1_000_000_000, now()), None);
        assert_eq!(offset.to_monotonic(real - 61_000_000_000, now()), None);
    }
}
