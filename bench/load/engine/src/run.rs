//! One run on a thread of its own, and the handle by which its caller watches, feeds and ends it.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::clock;
use crate::config::{Config, Schedule, Template};
use crate::exchange::Job;
use crate::record::Record;
use crate::request::Prepared;
use crate::shared::Shared;

/// What a live view shows.
#[derive(Clone, Debug, Serialize)]
pub struct Glance {
    pub elapsed_seconds: f64,
    pub started: u64,
    pub finished: u64,
    pub failed: u64,
    pub in_flight: u64,
    pub output_tokens: u64,
    pub ttft_p50_seconds: f64,
    pub ttft_p99_seconds: f64,
    pub lateness_p99_seconds: f64,
    pub records_dropped: u64,
}

/// Handle of a run.
pub struct Run {
    shared: Arc<Shared>,
    jobs: UnboundedSender<Job>,
    ended: Mutex<Receiver<Result<(), String>>>,
    outcome: Mutex<Option<Result<(), String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Run {
    /// Starts at once; a fault of the order is an error here, a fault of the server is a counted failure later.
    pub fn start(config: &str, schedule: Schedule) -> Result<Self, String> {
        let shared = Arc::new(Shared::new(Config::parse(config)?, schedule)?);
        let (jobs, submitted) = unbounded_channel();
        let (tell, ended) = channel();
        let theirs = shared.clone();
        let work = move || {
            clock::wake_exactly();
            let napping = theirs.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(move || napping.naps.take(napping.in_flight()))
                .build();
            let outcome = match runtime {
                Ok(runtime) => runtime.block_on(crate::drive::run(theirs.clone(), submitted)),
                Err(error) => Err(error.to_string()),
            };
            let closed = theirs.close_recorder();
            // The handle may be gone; then nobody asks.
            let _ = tell.send(outcome.and(closed));
        };
        let thread =
            std::thread::Builder::new().name("engine".into()).spawn(work).map_err(|error| error.to_string())?;
        Ok(Self { shared, jobs, ended: Mutex::new(ended), outcome: Mutex::new(None), thread: Mutex::new(Some(thread)) })
    }

    /// Waits at most this long; `Some` once the run is over.
    pub fn wait(&self, within: Duration) -> Option<Result<(), String>> {
        if let Some(outcome) = &*self.outcome.lock().expect("no holder panics") {
            return Some(outcome.clone());
        }
        let outcome = match self.ended.lock().expect("no holder panics").recv_timeout(within) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err("the engine's thread failed".into()),
        };
        *self.outcome.lock().expect("no holder panics") = Some(outcome.clone());
        if let Some(thread) = self.thread.lock().expect("no holder panics").take() {
            let _ = thread.join();
        }
        Some(outcome)
    }

    pub fn stop(&self) {
        self.shared.halted.store(true, Ordering::Relaxed);
        self.shared.begin_stop();
    }

    pub fn set_users(&self, users: u32) {
        self.shared.set_users(users);
    }

    pub fn bell(&self) -> i32 {
        self.shared.bell()
    }

    pub fn take(&self, most: usize) -> Vec<Record> {
        self.shared.take(most)
    }

    pub fn origin(&self) -> u64 {
        self.shared.origin
    }

    /// Prepares a request to be handed in later.
    pub fn prepare(&self, template: &Template) -> Result<Arc<Prepared>, String> {
        Prepared::new(template, &self.shared.config.target).map(Arc::new)
    }

    /// Hands one request in; it is intended for now.
    pub fn submit(&self, prepared: Arc<Prepared>, number: u64) -> Result<(), String> {
        if self.shared.is_stopping() {
            return Err("the run is over".into());
        }
        self.shared.counters.started.fetch_add(1, Ordering::Relaxed);
        let job = Job { number, template: 0, turn: 0, intended: clock::now(), prepared, body: None };
        self.jobs.send(job).map_err(|_| {
            self.shared.counters.started.fetch_sub(1, Ordering::Relaxed);
            "the run is over".into()
        })
    }

    pub fn glance(&self) -> Glance {
        let counters = &self.shared.counters;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let results = self.shared.results.lock().expect("no holder panics");
        // The last second whose requests have begun to be answered.
        let second = results.seconds().iter().rev().find(|second| second.glance(0.5).0 > 0);
        let at = |share: f64| second.map_or((0, 0), |second| second.glance(share));
        Glance {
            elapsed_seconds: clock::now().saturating_sub(self.shared.origin) as f64 / 1e9,
            started: load(&counters.started),
            finished: load(&counters.finished),
            failed: load(&counters.failed),
            in_flight: self.shared.in_flight(),
            output_tokens: load(&counters.output_tokens),
            ttft_p50_seconds: at(0.5).0 as f64 / 1e9,
            ttft_p99_seconds: at(0.99).0 as f64 / 1e9,
            lateness_p99_seconds: at(0.99).1 as f64 / 1e9,
            records_dropped: load(&counters.dropped),
        }
    }

    /// Everything that was counted so far, as JSON.
    pub fn results(&self) -> Result<String, String> {
        #[derive(Serialize)]
        struct Told<'a> {
            started: u64,
            records_dropped: u64,
            thread_cpu_seconds: f64,
            busiest_second_ratio: f64,
            origin_ns: u64,
            now_ns: u64,
            kernel_stamps: bool,
            stamp_bound_ns: u64,
            #[serde(flatten)]
            results: &'a crate::results::Results,
        }
        let counters = &self.shared.counters;
        let results = self.shared.results.lock().expect("no holder panics");
        let told = Told {
            started: counters.started.load(Ordering::Relaxed),
            records_dropped: counters.dropped.load(Ordering::Relaxed),
            thread_cpu_seconds: counters.thread_cpu.load(Ordering::Relaxed) as f64 / 1e9,
            busiest_second_ratio: counters.busiest_second.load(Ordering::Relaxed) as f64 / 1e9,
            origin_ns: self.shared.origin,
            now_ns: clock::now(),
            kernel_stamps: self.shared.config.kernel_stamps,
            stamp_bound_ns: if self.shared.config.kernel_stamps { self.shared.offset.bound() } else { 0 },
            results: &results,
        };
        serde_json::to_string(&told).map_err(|error| error.to_string())
    }
}

impl Drop for Run {
    /// A handle that is dropped ends its run: nothing goes on sending behind its caller's back.
    fn drop(&mut self) {
        self.shared.begin_stop();
    }
}
