//! One request and its answer: a connection, the sending, the reading, a verdict.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::answer::Answer;
use crate::clock;
use crate::connect::Transport;
use crate::http1::{Decoder, Fault};
use crate::record::{Class, Failure, Record};
use crate::request::Prepared;
use crate::shared::Shared;
use crate::socket::LastStamp;

/// A connection that is kept between requests, with the buffer its requests are written in.
pub struct Connection {
    transport: Transport,
    stamp: LastStamp,
    out: Vec<u8>,
}

/// What is asked for.
#[derive(Clone)]
pub struct Job {
    pub number: u64,
    pub template: u32,
    pub turn: u32,
    pub intended: u64,
    pub prepared: Arc<Prepared>,
    /// In place of the template's own.
    pub body: Option<Vec<u8>>,
}

impl Job {
    pub fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or(&self.prepared.body)
    }
}

/// How an exchange ended that gave no answer.
pub enum Broken {
    /// A kept connection that the server had closed: nothing of an answer came, the request may be sent again.
    Stale,
    Failed(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Broken::Failed(failure)
    }
}

thread_local! {
    /// Bytes are parsed where they are read, so one room serves every connection.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// Performs a job to its end: an answer, a failure, its time limit, or the end of the run.
pub async fn perform(shared: &Arc<Shared>, job: &Job) -> Record {
    let mut record = Record {
        number: job.number,
        template: job.template,
        turn: job.turn,
        intended: job.intended,
        ..Record::default()
    };
    let outcome = limited(shared, attempt(shared, job, &mut record)).await;
    if let Err(failure) = outcome {
        record.failure = Some(failure);
        record.end = record.end.max(clock::now());
    }
    record
}

async fn limited(shared: &Shared, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let limit = Duration::from_nanos(shared.config.timeout_ns);
    let (mut work, mut sleep, mut cut) = (pin!(work), pin!(tokio::time::sleep(limit)), pin!(shared.cut.notified()));
    std::future::poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        if sleep.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Failure::new(Class::Timeout, format!("no end within {limit:?}"))));
        }
        if cut.as_mut().poll(context).is_ready() {
            let drain = Duration::from_nanos(shared.config.drain_ns);
            return Poll::Ready(Err(Failure::new(
                Class::Timeout,
                format!("still open {drain:?} after the end of the run"),
            )));
        }
        Poll::Pending
    })
    .await
}

async fn attempt(shared: &Arc<Shared>, job: &Job, record: &mut Record) -> Result<(), Failure> {
    let _permit = shared.permits.acquire().await;
    record.began = clock::now();
    if shared.config.http2 {
        return crate::http2::attempt(shared, job, record).await;
    }
    loop {
        let kept = shared.take_idle();
        record.reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let _connecting = shared.naps.connecting();
                let transport = shared.connector.connect().await?;
                Connection { stamp: transport.last_stamp(), transport, out: Vec::new() }
            }
        };
        record.connected = if record.reused { record.began } else { clock::now() };
        let mut answer = Answer::new(record, shared.config.protocol, &shared.wanted);
        match exchange(shared, job, &mut connection, &mut answer).await {
            Ok(keep) => {
                let outcome = answer.finish();
                if keep {
                    shared.keep(connection);
                }
                return outcome;
            }
            Err(Broken::Failed(failure)) => return Err(failure),
            Err(Broken::Stale) => {}
        }
    }
}

/// True: the connection may be used again.
async fn exchange(
    shared: &Shared,
    job: &Job,
    connection: &mut Connection,
    answer: &mut Answer<'_>,
) -> Result<bool, Broken> {
    let Connection { transport, stamp, out } = connection;
    job.prepared.write_http1(out, &shared.config.id_header, &shared.id_of(job.number, job.turn), job.body());
    answer.record.sent = clock::now();
    // A server may answer (and close) before it has read everything: what it said counts, not the failed write.
    let written = transport.send_all(out).await;
    let mut decoder = Decoder::default();
    let read = read_answer(shared, (transport, stamp), &mut decoder, answer).await;
    match (read, written) {
        (Ok(extra), _) => Ok(decoder.keeps_alive() && !extra),
        (Err(Broken::Failed(_)), Err(error)) if answer.is_untouched() => Err(broken(answer, &error)),
        (Err(other), _) => Err(other),
    }
}

fn broken(answer: &Answer<'_>, error: &io::Error) -> Broken {
    if answer.is_untouched() && answer.record.reused {
        return Broken::Stale;
    }
    let place = match (answer.is_untouched(), answer.record.tokens_at.len()) {
        (true, _) => "before an answer".to_owned(),
        (false, tokens) => format!("after {} bytes of the body and {tokens} tokens", answer.record.bytes),
    };
    Broken::Failed(Failure::new(Class::Incomplete, format!("{error} {place}")))
}

/// True: more came than belonged to the answer.
async fn read_answer(
    shared: &Shared,
    (transport, stamp): (&mut Transport, &LastStamp),
    decoder: &mut Decoder,
    answer: &mut Answer<'_>,
) -> Result<bool, Broken> {
    std::future::poll_fn(|context| {
        ROOM.with_borrow_mut(|room| {
            loop {
                let length = match ready!(transport.poll_receive(context, room)) {
                    Ok(0) => return Poll::Ready(closed(decoder, answer)),
                    Ok(length) => length,
                    Err(error) => return Poll::Ready(Err(broken(answer, &error))),
                };
                answer.arrived(stamp.get());
                let before = answer.record.tokens_at.len();
                let fed = decoder.feed(&room[..length], answer);
                if answer.record.tokens_at.len() > before + 1 {
                    shared.naps.stay_awake();
                }
                match fed {
                    Ok(used) if decoder.is_done() => return Poll::Ready(Ok(used < length)),
                    Ok(_) => {}
                    Err(Fault::Protocol(message)) => {
                        return Poll::Ready(Err(Failure::new(Class::Protocol, message).into()));
                    }
                    Err(Fault::Body) => {
                        let failure = answer.take_failure();
                        let failure =
                            failure.unwrap_or_else(|| Failure::new(Class::Protocol, "a body that cannot be read"));
                        return Poll::Ready(Err(failure.into()));
                    }
                }
            }
        })
    })
    .await
}

fn closed(decoder: &mut Decoder, answer: &Answer<'_>) -> Result<bool, Broken> {
    if decoder.close() {
        return Ok(false);
    }
    Err(broken(answer, &io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")))
}
