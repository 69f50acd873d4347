//! What the tasks of one engine share, and what its caller may look at while it runs.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::answer::Wanted;
use crate::clock::RealtimeOffset;
use crate::config::{Config, Loop, Schedule};
use crate::connect::Connector;
use crate::exchange::Connection;
use crate::http2::Lines;
use crate::nap::{Naps, SHORT_ANSWER};
use crate::record::Record;
use crate::recorder::Recorder;
use crate::request::{Prepared, prepare};
use crate::results::Results;

#[derive(Default)]
pub struct Counters {
    pub started: AtomicU64,
    pub finished: AtomicU64,
    pub failed: AtomicU64,
    pub output_tokens: AtomicU64,
    /// Finished records that the caller did not take in time.
    pub dropped: AtomicU64,
    pub thread_cpu: AtomicU64,
    /// The busiest second of the engine's thread, in nanoseconds of CPU.
    pub busiest_second: AtomicU64,
}

pub struct Shared {
    pub config: Config,
    pub schedule: Schedule,
    pub templates: Vec<Arc<Prepared>>,
    pub wanted: Wanted,
    pub connector: Connector,
    pub lines: Lines,
    pub permits: Semaphore,
    pub offset: Arc<RealtimeOffset>,
    pub naps: Naps,
    pub counters: Counters,
    pub results: Mutex<Results>,
    pub origin: u64,
    /// No request leaves any more.
    pub stopping: AtomicBool,
    /// The caller asked for the end: conversations end with the answer they wait for.
    pub halted: AtomicBool,
    pub stop: Notify,
    /// What is still open is given up.
    pub cut: Notify,
    /// A request has ended.
    pub ended: Notify,
    /// Conversations that are open, between two turns too.
    pub conversing: AtomicU64,
    pub users: AtomicU32,
    pub users_changed: Notify,
    idle: Mutex<Vec<Connection>>,
    queue: Mutex<VecDeque<Record>>,
    recorder: Mutex<Option<Recorder>>,
    bell: OwnedFd,
}

impl Shared {
    pub fn new(config: Config, schedule: Schedule) -> Result<Self, String> {
        let offset = Arc::new(RealtimeOffset::measured());
        let tls = if config.target.tls { Some(crate::tls::client_config(&config.tls, config.http2)?) } else { None };
        let stamps = config.kernel_stamps.then(|| offset.clone());
        let timeout = Duration::from_nanos(config.connect_timeout_ns);
        let origin = if config.start_ns == 0 { crate::clock::now() + 2_000_000 } else { config.start_ns };
        let recorder = match &config.records_file {
            Some(file) => Some(Recorder::open(file, origin, &config.id_prefix)?),
            None => None,
        };
        // SAFETY: the call takes no pointers; a descriptor it gives is ours alone.
        let bell = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if bell < 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
        Ok(Self {
            templates: prepare(&config)?.into_iter().map(Arc::new).collect(),
            wanted: Wanted {
                backend_header: config.backend_header.clone(),
                backend_member: config.backend_member.clone(),
                text: config.capture_text || config.templates.iter().any(|template| template.session.is_some()),
            },
            connector: Connector::new(config.target.clone(), tls, stamps, timeout),
            lines: Lines::default(),
            permits: Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)),
            offset,
            naps: Naps::new(config.kernel_stamps && !config.http2 && config.drive != Loop::Submitted),
            counters: Counters::default(),
            results: Mutex::new(Results::new(origin, config.slo.clone())),
            origin,
            stopping: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            stop: Notify::new(),
            cut: Notify::new(),
            ended: Notify::new(),
            conversing: AtomicU64::new(0),
            users: AtomicU32::new(0),
            users_changed: Notify::new(),
            idle: Mutex::new(Vec::new()),
            queue: Mutex::new(VecDeque::new()),
            recorder: Mutex::new(recorder),
            // SAFETY: as above.
            bell: unsafe { OwnedFd::from_raw_fd(bell) },
            config,
            schedule,
        })
    }

    pub fn id_of(&self, number: u64, turn: u32) -> String {
        request_id(&self.config.id_prefix, number, turn)
    }

    pub fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().expect("no holder panics").pop()
    }

    pub fn keep(&self, connection: Connection) {
        self.idle.lock().expect("no holder panics").push(connection);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From any thread, and more than once: no request leaves after this.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.notify_one();
        self.users_changed.notify_one();
    }

    pub fn set_users(&self, users: u32) {
        self.users.store(users, Ordering::Relaxed);
        self.users_changed.notify_one();
    }

    pub fn in_flight(&self) -> u64 {
        let finished = self.counters.finished.load(Ordering::Relaxed);
        self.counters.started.load(Ordering::Relaxed).saturating_sub(finished)
    }

    /// A request is over: into the sums, the file, and the queue.
    pub fn finish(&self, record: Record) {
        self.counters.finished.fetch_add(1, Ordering::Relaxed);
        if record.failure.is_some() {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        if record.end.saturating_sub(record.began) < SHORT_ANSWER {
            self.naps.stay_awake();
        }
        self.counters.output_tokens.fetch_add(record.output_tokens().0, Ordering::Relaxed);
        self.results.lock().expect("no holder panics").add(&record);
        if let Some(recorder) = &*self.recorder.lock().expect("no holder panics") {
            recorder.write(record.clone());
        }
        if self.config.queue_capacity > 0 {
            self.enqueue(record);
        }
        self.ended.notify_one();
    }

    fn enqueue(&self, record: Record) {
        let mut queue = self.queue.lock().expect("no holder panics");
        if queue.len() >= self.config.queue_capacity {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push_back(record);
        if queue.len() == 1 {
            self.ring();
        }
    }

    fn ring(&self) {
        let one: u64 = 1;
        // SAFETY: eight bytes of a live local; a full counter only means that the bell rings already.
        unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// The oldest finished records; silences the bell when none is left.
    pub fn take(&self, most: usize) -> Vec<Record> {
        let mut queue = self.queue.lock().expect("no holder panics");
        let count = queue.len().min(most);
        let taken = queue.drain(..count).collect();
        if queue.is_empty() {
            let mut count: u64 = 0;
            // SAFETY: eight bytes of a live local.
            unsafe { libc::read(self.bell.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
        taken
    }

    /// Readable while finished records wait.
    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Closes the records file; an error is told once, at the end.
    pub fn close_recorder(&self) -> Result<(), String> {
        match self.recorder.lock().expect("no holder panics").take() {
            Some(recorder) => recorder.close(),
            None => Ok(()),
        }
    }
}

/// The id that a request carries: found again in a server's log.
pub fn request_id(prefix: &str, number: u64, turn: u32) -> String {
    use std::fmt::Write;
    let mut id = String::with_capacity(prefix.len() + 24);
    // Writing to a String does not fail.
    let _ = if turn == 0 { write!(id, "{prefix}-{number}") } else { write!(id, "{prefix}-{number}-{turn}") };
    id
}
