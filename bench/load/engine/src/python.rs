//! The module as Python sees it. Every call that may wait lets go of the interpreter lock.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::config::{Schedule, Template};
use crate::record::Record;
use crate::request::Prepared;
use crate::run::Run;

/// A request that is built once and submitted often.
#[pyclass(frozen)]
struct Request(Arc<Prepared>);

/// One run of the engine, on a thread of its own.
#[pyclass(frozen)]
struct Engine(Run);

/// A finished request.
#[pyclass(frozen, get_all)]
struct Finished {
    number: u64,
    template: u32,
    turn: u32,
    status: u16,
    body_bytes: u64,
    output_tokens: u64,
    /// Seconds; from intended unless the name says otherwise; `None` where it did not happen.
    sent_after_seconds: Option<f64>,
    ttft_seconds: Option<f64>,
    ttft_from_sent_seconds: Option<f64>,
    e2e_seconds: f64,
    e2e_from_sent_seconds: Option<f64>,
    intended_monotonic_seconds: f64,
    backend: Option<String>,
    error_class: Option<&'static str>,
    error: Option<String>,
    text: Option<String>,
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

impl From<Record> for Finished {
    fn from(record: Record) -> Self {
        let after = |stamp: u64, from: u64| (stamp != 0 && from != 0).then(|| seconds(stamp.saturating_sub(from)));
        let first = record.first_token().unwrap_or(0);
        Self {
            number: record.number,
            template: record.template,
            turn: record.turn,
            status: record.status,
            body_bytes: record.bytes,
            output_tokens: record.output_tokens().0,
            sent_after_seconds: after(record.sent, record.intended),
            ttft_seconds: after(first, record.intended),
            ttft_from_sent_seconds: after(first, record.sent),
            e2e_seconds: seconds(record.end.saturating_sub(record.intended)),
            e2e_from_sent_seconds: after(record.end, record.sent),
            intended_monotonic_seconds: seconds(record.intended),
            backend: record.backend,
            error_class: record.failure.as_ref().map(|failure| failure.class.name()),
            error: record.failure.map(|failure| failure.message),
            text: record.text,
        }
    }
}

/// Numbers as the machine holds them, from a numpy array's bytes.
fn numbers<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> PyResult<Vec<T>> {
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(PyValueError::new_err(format!("{} bytes are no array of {N}-byte numbers", bytes.len())));
    }
    Ok(whole.iter().map(|chunk| from(*chunk)).collect())
}

#[pymethods]
impl Engine {
    /// Starts a run. `offsets` and `numbers` are arrays of uint64, `picks` of uint32, as bytes.
    #[new]
    #[pyo3(signature = (config, offsets = None, request_numbers = None, picks = None))]
    fn start(
        config: &str,
        offsets: Option<&[u8]>,
        request_numbers: Option<&[u8]>,
        picks: Option<&[u8]>,
    ) -> PyResult<Self> {
        let schedule = Schedule {
            offsets: numbers(offsets.unwrap_or_default(), u64::from_ne_bytes)?,
            numbers: numbers(request_numbers.unwrap_or_default(), u64::from_ne_bytes)?,
            picks: numbers(picks.unwrap_or_default(), u32::from_ne_bytes)?,
        };
        Run::start(config, schedule).map(Self).map_err(PyValueError::new_err)
    }

    /// True once the run is over; raises if the engine itself failed.
    fn wait(&self, py: Python<'_>, within_seconds: f64) -> PyResult<bool> {
        let within =
            Duration::try_from_secs_f64(within_seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        match py.detach(|| self.0.wait(within)) {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(message)) => Err(PyRuntimeError::new_err(message)),
        }
    }

    /// No request leaves after this; what is open may end within the drain time.
    fn stop(&self) {
        self.0.stop();
    }

    fn set_users(&self, users: u32) {
        self.0.set_users(users);
    }

    /// A descriptor that is readable while finished requests wait to be taken.
    fn fileno(&self) -> i32 {
        self.0.bell()
    }

    #[pyo3(signature = (most = 4096))]
    fn take(&self, most: usize) -> Vec<Finished> {
        self.0.take(most).into_iter().map(Finished::from).collect()
    }

    /// The origin of all times of this run, on the monotonic clock.
    fn origin_ns(&self) -> u64 {
        self.0.origin()
    }

    fn prepare(&self, method: String, path: String, headers: Vec<(String, String)>, body: String) -> PyResult<Request> {
        let template = Template { method, path, headers, body, session: None };
        self.0.prepare(&template).map(Request).map_err(PyValueError::new_err)
    }

    fn submit(&self, request: &Request, number: u64) -> PyResult<()> {
        self.0.submit(request.0.clone(), number).map_err(PyRuntimeError::new_err)
    }

    fn glance<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let glance = py.detach(|| self.0.glance());
        let told = PyDict::new(py);
        told.set_item("elapsed_seconds", glance.elapsed_seconds)?;
        told.set_item("started", glance.started)?;
        told.set_item("finished", glance.finished)?;
        told.set_item("failed", glance.failed)?;
        told.set_item("in_flight", glance.in_flight)?;
        told.set_item("output_tokens", glance.output_tokens)?;
        told.set_item("ttft_p50_seconds", glance.ttft_p50_seconds)?;
        told.set_item("ttft_p99_seconds", glance.ttft_p99_seconds)?;
        told.set_item("lateness_p99_seconds", glance.lateness_p99_seconds)?;
        told.set_item("records_dropped", glance.records_dropped)?;
        Ok(told)
    }

    /// Everything counted so far, as JSON.
    fn results(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.0.results()).map_err(PyRuntimeError::new_err)
    }
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Engine>()?;
    module.add_class::<Request>()?;
    module.add_class::<Finished>()
}
