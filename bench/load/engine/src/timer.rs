//! Waits until a time of the monotonic clock by a timerfd: an event loop's own timers wake on whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use crate::clock;

pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers; a descriptor it gives is ours alone.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is owned by what is registered, and closed with it.
        Ok(Self(unsafe { AsyncFd::register(OwnedFd::from_raw_fd(descriptor)) }?))
    }

    /// Sets the timer; setting it again takes back an expiry that nobody saw.
    pub fn set(&self, due: u64) -> io::Result<()> {
        let due = due.max(1);
        let time = libc::timespec { tv_sec: (due / 1_000_000_000) as i64, tv_nsec: (due % 1_000_000_000) as i64 };
        let order = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
        // SAFETY: `order` lives through the call, and no old value is asked for.
        let result =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &order, std::ptr::null_mut()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ready once the time set has come.
    pub fn poll_expired(&self, due: u64, context: &mut Context<'_>) -> Poll<()> {
        while clock::now() < due {
            match ready!(self.0.poll_read_ready(context)) {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}
