//! HTTP/2: many requests on few connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::SendRequest;

use crate::answer::Answer;
use crate::clock;
use crate::connect::Transport;
use crate::exchange::Job;
use crate::http1::{Head, ResponseSink};
use crate::record::{Class, Failure, Record};
use crate::shared::Shared;
use crate::socket::LastStamp;

/// Requests that share a connection at most: the least that servers are told to allow.
const STREAMS: usize = 100;

#[derive(Clone)]
struct Line {
    sender: SendRequest<Bytes>,
    stamp: LastStamp,
    load: Arc<AtomicUsize>,
}

/// The open connections, and a gate so that a burst opens one at a time.
#[derive(Default)]
pub struct Lines {
    open: Mutex<Vec<Line>>,
    gate: tokio::sync::Mutex<()>,
}

/// One request's place on a line; given back when it is over, however it ends.
struct Place(Line);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lines {
    fn find(&self) -> Option<Place> {
        let open = self.open.lock().expect("no holder panics");
        let line = open.iter().find(|line| line.load.load(Ordering::Relaxed) < STREAMS)?;
        line.load.fetch_add(1, Ordering::Relaxed);
        Some(Place(line.clone()))
    }

    fn forget(&self, line: &Line) {
        self.open.lock().expect("no holder panics").retain(|other| !Arc::ptr_eq(&other.load, &line.load));
    }

    async fn take(&self, shared: &Shared, record: &mut Record) -> Result<Place, Failure> {
        if let Some(place) = self.find() {
            record.reused = true;
            return Ok(place);
        }
        let _gate = self.gate.lock().await;
        if let Some(place) = self.find() {
            record.reused = true;
            return Ok(place);
        }
        let transport = shared.connector.connect().await?;
        let stamp = transport.last_stamp();
        let sender = match transport {
            Transport::Plain(stream) => handshake(stream).await,
            Transport::Tls(stream) => {
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Failure::new(Class::Protocol, "the server did not choose h2 in the TLS handshake"));
                }
                handshake(*stream).await
            }
        };
        let sender = sender.map_err(|error| Failure::new(Class::Protocol, format!("HTTP/2 handshake: {error}")))?;
        let line = Line { sender, stamp, load: Arc::new(AtomicUsize::new(1)) };
        self.open.lock().expect("no holder panics").push(line.clone());
        Ok(Place(line))
    }
}

async fn handshake<T>(stream: T) -> Result<SendRequest<Bytes>, h2::Error>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake(stream)
        .await?;
    // Its end is told to every request on it by an error of its own.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

pub async fn attempt(shared: &Shared, job: &Job, record: &mut Record) -> Result<(), Failure> {
    loop {
        let place = shared.lines.take(shared, record).await?;
        // On a line that others opened too: who waited at the gate waited for a connection, and not for us.
        record.connected = clock::now();
        let sender = match place.0.sender.clone().ready().await {
            Ok(sender) => sender,
            Err(error) => {
                shared.lines.forget(&place.0);
                // A line that had been open before was closed by the server between requests; a new one is tried.
                if record.reused {
                    record.reused = false;
                    continue;
                }
                return Err(told(&error, record));
            }
        };
        let mut answer = Answer::new(record, shared.config.protocol, &shared.wanted);
        return match exchange(shared, job, (sender, &place.0.stamp), &mut answer).await {
            Ok(()) => answer.finish(),
            Err(Some(error)) => {
                if error.is_io() || error.is_go_away() {
                    shared.lines.forget(&place.0);
                }
                Err(told(&error, record))
            }
            Err(None) => Err(answer
                .take_failure()
                .unwrap_or_else(|| Failure::new(Class::Protocol, "a body that cannot be read"))),
        };
    }
}

fn told(error: &h2::Error, record: &Record) -> Failure {
    let class =
        if error.is_io() || error.is_reset() || error.is_go_away() { Class::Incomplete } else { Class::Protocol };
    Failure::new(
        class,
        format!("{error} after {} bytes of the body and {} tokens", record.bytes, record.tokens_at.len()),
    )
}

/// The inner `None`: the answer itself holds what is wrong.
async fn exchange(
    shared: &Shared,
    job: &Job,
    (mut sender, stamp): (SendRequest<Bytes>, &LastStamp),
    answer: &mut Answer<'_>,
) -> Result<(), Option<h2::Error>> {
    let id = shared.id_of(job.number, job.turn);
    let request = job.prepared.to_http2(&shared.config.target, &shared.config.id_header, &id);
    let request = request.map_err(|_| Some(h2::Reason::INTERNAL_ERROR.into()))?;
    answer.record.sent = clock::now();
    let body = Bytes::copy_from_slice(job.body());
    let (response, mut stream) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?;
    }
    let response = response.await?;
    answer.arrived(stamp.get());
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    answer.head(Head { status: response.status().as_u16(), headers: headers.collect() });
    let mut body = response.into_body();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        answer.arrived(stamp.get());
        if !answer.body(&bytes) {
            return Err(None);
        }
    }
    answer.arrived(stamp.get());
    Ok(())
}
