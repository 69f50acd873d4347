//! The load generator's engine: sockets, timers, stamps, stream splitting and histograms, outside the interpreter lock.

mod answer;
mod clock;
pub mod config;
mod connect;
mod drive;
mod exchange;
pub mod histogram;
pub mod http1;
mod http2;
pub mod meaning;
mod nap;
mod record;
mod recorder;
mod request;
mod results;
pub mod run;
mod shared;
mod socket;
pub mod splitter;
mod timer;
mod tls;

#[cfg(feature = "python")]
mod python;
