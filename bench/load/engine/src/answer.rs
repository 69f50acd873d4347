//! Turns a response, whichever HTTP it came by, into the facts of a record.

use crate::http1::{Head, ResponseSink};
use crate::meaning::{Protocol, Reader};
use crate::record::{Class, Failure, Record};
use crate::splitter::{Kind, Splitter, excerpt};

/// How a backend is known, and whether the text is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub backend_header: Option<String>,
    pub backend_member: Option<String>,
    pub text: bool,
}

pub struct Answer<'a> {
    pub record: &'a mut Record,
    /// Arrival of the bytes that are being handed over.
    pub stamp: u64,
    protocol: Protocol,
    wanted: &'a Wanted,
    splitter: Splitter,
    reader: Reader,
    refusal: Vec<u8>,
    failure: Option<Failure>,
    answered: bool,
}

impl<'a> Answer<'a> {
    pub fn new(record: &'a mut Record, protocol: Protocol, wanted: &'a Wanted) -> Self {
        Self {
            record,
            stamp: 0,
            protocol,
            wanted,
            splitter: Splitter::new(Kind::Bytes),
            reader: Reader::new(protocol, wanted.text, wanted.backend_member.clone()),
            refusal: Vec::new(),
            failure: None,
            answered: false,
        }
    }

    /// Nothing of a response has come yet.
    pub fn is_untouched(&self) -> bool {
        self.record.first_byte == 0
    }

    pub fn arrived(&mut self, stamp: u64) {
        self.stamp = stamp;
        if self.record.first_byte == 0 {
            self.record.first_byte = stamp;
        }
    }

    fn accepted(&self) -> bool {
        (200..300).contains(&self.record.status)
    }

    /// The body has ended as its framing says; what is the verdict?
    pub fn finish(mut self) -> Result<(), Failure> {
        self.record.end = self.stamp;
        if self.failure.is_none() && self.accepted() {
            self.flush();
        }
        let outcome = self.verdict();
        self.record.usage = self.reader.usage;
        self.record.text = self.reader.text.take();
        if self.record.backend.is_none() {
            self.record.backend = self.reader.backend.take();
        }
        outcome
    }

    fn flush(&mut self) {
        let (reader, tokens_at, stamp) = (&mut self.reader, &mut self.record.tokens_at, self.stamp);
        let mut sink = |payload: &[u8]| {
            if reader.event(payload)? {
                tokens_at.push(stamp);
            }
            Ok(())
        };
        if let Err(malformed) = self.splitter.finish(&mut sink) {
            self.failure = Some(Failure::new(Class::Protocol, malformed.0));
        }
    }

    fn verdict(&mut self) -> Result<(), Failure> {
        if !self.answered {
            return Err(Failure::new(Class::Protocol, "no response head"));
        }
        if !self.accepted() {
            let reason =
                http::StatusCode::from_u16(self.record.status).ok().and_then(|status| status.canonical_reason());
            let said = excerpt(self.refusal.trim_ascii());
            let message = format!("{} {}: {said}", self.record.status, reason.unwrap_or(""));
            return Err(Failure::new(Class::Status, message.trim_end_matches([':', ' '])));
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if let Some(error) = self.reader.error.take() {
            return Err(Failure::new(Class::Protocol, format!("the server says: {error}")));
        }
        self.reader.finish().map_err(|message| Failure::new(Class::Incomplete, message))
    }

    /// What was found wrong while the body was read, if that is why reading stopped.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.record.end = self.stamp;
        self.failure.take()
    }
}

impl ResponseSink for Answer<'_> {
    fn head(&mut self, head: Head) {
        self.answered = true;
        self.record.status = head.status;
        let kind = self.protocol.kind(head.get("content-type").unwrap_or(""));
        self.splitter = Splitter::new(kind);
        self.reader.set_kind(kind);
        if let Some(name) = &self.wanted.backend_header {
            self.record.backend = head.get(name).map(str::to_owned);
        }
    }

    fn body(&mut self, bytes: &[u8]) -> bool {
        self.record.bytes += bytes.len() as u64;
        if !self.accepted() {
            let room = 400usize.saturating_sub(self.refusal.len());
            self.refusal.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return true;
        }
        let (reader, tokens_at, stamp) = (&mut self.reader, &mut self.record.tokens_at, self.stamp);
        let mut sink = |payload: &[u8]| {
            if reader.event(payload)? {
                tokens_at.push(stamp);
            }
            Ok(())
        };
        if let Err(malformed) = self.splitter.feed(bytes, &mut sink) {
            self.failure = Some(Failure::new(Class::Protocol, malformed.0));
        }
        self.failure.is_none()
    }
}
