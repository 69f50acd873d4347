//! Cuts a streamed body into events: server-sent events, lines of JSON, or nothing at all.
//!
//! Events do not depend on how the bytes were cut into reads or chunks: that is the property its tests hold.

/// How a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text/event-stream`: an event is the joined `data` of the lines up to an empty one.
    Sse,
    /// One JSON value a line.
    Ndjson,
    /// Kept whole and handed over at its end.
    Document,
    /// Counted, not kept.
    Bytes,
}

/// What is no event stream at all, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// A document or a line longer than this is not an answer of an LLM endpoint.
const LONGEST: usize = 64 << 20;

/// Takes events as they are cut.
pub trait EventSink {
    fn event(&mut self, payload: &[u8]) -> Result<(), Malformed>;
}

impl<F: FnMut(&[u8]) -> Result<(), Malformed>> EventSink for F {
    fn event(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        self(payload)
    }
}

pub struct Splitter {
    kind: Kind,
    /// A line that has begun and not ended.
    line: Vec<u8>,
    /// Data of an event that has begun and not ended.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: an LF that follows belongs to the same line end.
    after_cr: bool,
    at_start: bool,
}

impl Splitter {
    pub fn new(kind: Kind) -> Self {
        Self { kind, line: Vec::new(), data: Vec::new(), has_data: false, after_cr: false, at_start: true }
    }

    /// Hands every event that these bytes complete to the sink.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl EventSink) -> Result<(), Malformed> {
        match self.kind {
            Kind::Bytes => Ok(()),
            Kind::Document => self.keep(bytes),
            Kind::Sse => self.feed_sse(bytes, sink),
            Kind::Ndjson => self.feed_lines(bytes, sink),
        }
    }

    /// The body has ended. An unfinished SSE event is dropped, as the standard says; a last line of NDJSON needs no line end.
    pub fn finish(&mut self, sink: &mut impl EventSink) -> Result<(), Malformed> {
        match self.kind {
            Kind::Document | Kind::Ndjson if !trimmed(&self.line).is_empty() => {
                let line = std::mem::take(&mut self.line);
                sink.event(trimmed(&line))
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.line.len() + bytes.len() > LONGEST {
            return Err(Malformed(format!("more than {LONGEST} bytes without an end")));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn feed_lines(&mut self, mut bytes: &[u8], sink: &mut impl EventSink) -> Result<(), Malformed> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.line.is_empty() {
                emit_line(&bytes[..end], sink)?;
            } else {
                self.keep(&bytes[..end])?;
                let line = std::mem::take(&mut self.line);
                emit_line(&line, sink)?;
                self.line = line;
                self.line.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes)
    }

    fn feed_sse(&mut self, mut bytes: &[u8], sink: &mut impl EventSink) -> Result<(), Malformed> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if bytes[0] == b'\n' {
                bytes = &bytes[1..];
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (head, mut rest) = (&bytes[..end], &bytes[end + 1..]);
            if bytes[end] == b'\r' {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    None => self.after_cr = true,
                    Some(_) => {}
                }
            }
            if self.line.is_empty() {
                self.sse_line(head, sink)?;
            } else {
                self.keep(head)?;
                let line = std::mem::take(&mut self.line);
                self.sse_line(&line, sink)?;
                self.line = line;
                self.line.clear();
            }
            bytes = rest;
        }
        self.keep(bytes)
    }

    fn sse_line(&mut self, line: &[u8], sink: &mut impl EventSink) -> Result<(), Malformed> {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                sink.event(&self.data)?;
                self.data.clear();
            }
            return Ok(());
        }
        if let Some(value) = field(line, b"data") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            if self.data.len() + value.len() > LONGEST {
                return Err(Malformed(format!("an event of more than {LONGEST} bytes")));
            }
            self.data.extend_from_slice(value);
            return Ok(());
        }
        if line[0] == b':' || [&b"event"[..], b"id", b"retry"].iter().any(|name| field(line, name).is_some()) {
            return Ok(());
        }
        Err(Malformed(format!("no field of an event stream: {}", excerpt(line))))
    }
}

fn emit_line(line: &[u8], sink: &mut impl EventSink) -> Result<(), Malformed> {
    match trimmed(line) {
        [] => Ok(()),
        line => sink.event(line),
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// The value of a line if it is this field: without the one space that may follow the colon.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.first() {
        None => Some(rest),
        Some(b':') => Some(rest[1..].strip_prefix(b" ").unwrap_or(&rest[1..])),
        Some(_) => None,
    }
}

/// The beginning of some bytes, fit for a message.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(160)];
    String::from_utf8_lossy(shown).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(kind: Kind, reads: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut seen = Vec::new();
        let mut sink = |payload: &[u8]| {
            seen.push(String::from_utf8_lossy(payload).into_owned());
            Ok(())
        };
        let mut splitter = Splitter::new(kind);
        for read in reads {
            splitter.feed(read, &mut sink)?;
        }
        splitter.finish(&mut sink)?;
        Ok(seen)
    }

    #[test]
    fn data_lines_of_one_event_are_joined_by_a_line_feed() {
        assert_eq!(events(Kind::Sse, &[b"data: a\ndata:b\n\n"]), Ok(vec!["a\nb".into()]));
    }

    #[test]
    fn comments_and_other_fields_are_no_events() {
        assert_eq!(events(Kind::Sse, &[b": hello\nevent: x\nid: 1\nretry\n\ndata: a\n\n"]), Ok(vec!["a".into()]));
    }

    #[test]
    fn all_three_line_ends_are_line_ends() {
        assert_eq!(
            events(Kind::Sse, &[b"data: a\r\n\r\ndata: b\r\rdata: c\n\n"]),
            Ok(vec!["a".into(), "b".into(), "c".into()])
        );
    }

    #[test]
    fn a_line_end_cut_in_two_is_one_line_end() {
        assert_eq!(events(Kind::Sse, &[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]), Ok(vec!["a\nb".into()]));
    }

    #[test]
    fn an_event_that_never_ends_is_dropped() {
        assert_eq!(events(Kind::Sse, &[b"data: a\n\ndata: b\n"]), Ok(vec!["a".into()]));
    }

    #[test]
    fn a_line_that_is_no_field_is_malformed() {
        assert!(events(Kind::Sse, &[b"data: a\n\n{\"oops\": 1}\n"]).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        assert_eq!(events(Kind::Sse, &[b"\xef\xbb", b"\xbfdata: a\n\n"]), Ok(vec!["a".into()]));
    }

    #[test]
    fn the_last_line_of_json_needs_no_line_end() {
        assert_eq!(
            events(Kind::Ndjson, &[b"{\"a\":1}\r\n\n{\"b\"", b":2}"]),
            Ok(vec!["{\"a\":1}".into(), "{\"b\":2}".into()])
        );
    }

    #[test]
    fn a_document_is_one_event() {
        assert_eq!(events(Kind::Document, &[b"{\n", b"}\n"]), Ok(vec!["{\n}".into()]));
    }
}
