//! The reading half of HTTP/1.1: one response, from any cut of its bytes.
//!
//! The head goes to httparse; the body's framing (length, chunks, until the connection closes) is undone here, without a copy.

/// Why bytes are not a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Protocol(String),
    /// The consumer found fault with the body; reading on is of no use.
    Body,
}

/// What the head of a response says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Takes a response as it comes.
pub trait ResponseSink {
    fn head(&mut self, head: Head);
    /// False: stop, the body is no good.
    fn body(&mut self, bytes: &[u8]) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    /// A trailer line; `empty` until a byte of it came.
    Trailer {
        empty: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length { left: u64 },
    Chunked(Chunk),
    UntilClose,
    Done,
}

/// Longest head that is read; servers allow 8 to 64 KiB.
const LONGEST_HEAD: usize = 256 << 10;

pub struct Decoder {
    state: State,
    head: Vec<u8>,
    keep_alive: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Head, head: Vec::new(), keep_alive: true }
    }
}

impl Decoder {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The connection may carry another request.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive && self.is_done()
    }

    /// Reads on; gives how many bytes belonged to this response.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl ResponseSink) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            at += match self.state {
                State::Head => self.feed_head(&bytes[at..], sink)?,
                State::Length { left } => {
                    let taken = left.min((bytes.len() - at) as u64);
                    self.state = if taken == left { State::Done } else { State::Length { left: left - taken } };
                    give(&bytes[at..at + taken as usize], sink)?
                }
                State::UntilClose => give(&bytes[at..], sink)?,
                State::Chunked(chunk) => self.feed_chunk(chunk, &bytes[at..], sink)?,
                State::Done => 0,
            };
        }
        Ok(at)
    }

    /// The connection was closed. True: that was the end of the response.
    pub fn close(&mut self) -> bool {
        self.keep_alive = false;
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    fn feed_head(&mut self, bytes: &[u8], sink: &mut impl ResponseSink) -> Result<usize, Fault> {
        let before = self.head.len();
        // A head is almost always in one read: it is parsed in place, and kept only if it is not complete.
        let parsed = if before == 0 {
            parse_head(bytes)?
        } else {
            self.head.extend_from_slice(bytes);
            parse_head(&self.head)?
        };
        let Some((length, head, version)) = parsed else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            if self.head.len() > LONGEST_HEAD {
                return Err(Fault::Protocol(format!("a response head of more than {LONGEST_HEAD} bytes")));
            }
            return Ok(bytes.len());
        };
        self.head.clear();
        if (100..200).contains(&head.status) && head.status != 101 {
            return Ok(length - before);
        }
        self.keep_alive = keeps_alive(&head, version);
        self.state = framing(&head)?;
        sink.head(head);
        Ok(length - before)
    }

    fn feed_chunk(&mut self, chunk: Chunk, bytes: &[u8], sink: &mut impl ResponseSink) -> Result<usize, Fault> {
        if let Chunk::Data { left } = chunk {
            let taken = left.min(bytes.len() as u64);
            self.state =
                State::Chunked(if taken == left { Chunk::DataEnd } else { Chunk::Data { left: left - taken } });
            return give(&bytes[..taken as usize], sink);
        }
        let next = step(chunk, bytes[0])?;
        self.state = next.map_or(State::Done, State::Chunked);
        Ok(1)
    }
}

fn give(bytes: &[u8], sink: &mut impl ResponseSink) -> Result<usize, Fault> {
    if sink.body(bytes) { Ok(bytes.len()) } else { Err(Fault::Body) }
}

/// One byte of a chunk's frame; `None` is the end of the body.
fn step(chunk: Chunk, byte: u8) -> Result<Option<Chunk>, Fault> {
    let odd = |place: &str| Err(Fault::Protocol(format!("byte {byte:#04x} in {place}")));
    Ok(Some(match (chunk, byte) {
        (Chunk::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
            let digit = (byte as char).to_digit(16).unwrap_or(0);
            Chunk::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
        }
        (Chunk::Size { digits: 0, .. }, _) => return odd("a chunk's size"),
        (Chunk::Size { value, .. } | Chunk::Extension { value }, b'\n') => match value {
            0 => Chunk::Trailer { empty: true },
            left => Chunk::Data { left },
        },
        (Chunk::Size { value, .. }, b'\r' | b';' | b' ' | b'\t') => Chunk::Extension { value },
        (Chunk::Size { .. }, _) => return odd("a chunk's size"),
        (Chunk::Extension { value }, _) => Chunk::Extension { value },
        (Chunk::DataEnd, b'\r') => Chunk::DataEnd,
        (Chunk::DataEnd, b'\n') => Chunk::Size { value: 0, digits: 0 },
        (Chunk::DataEnd | Chunk::Data { .. }, _) => return odd("the end of a chunk"),
        (Chunk::Trailer { empty: true }, b'\n') => return Ok(None),
        (Chunk::Trailer { empty }, b'\r') => Chunk::Trailer { empty },
        (Chunk::Trailer { .. }, b'\n') => Chunk::Trailer { empty: true },
        (Chunk::Trailer { .. }, _) => Chunk::Trailer { empty: false },
    }))
}

fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head, u8)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => {
            Err(Fault::Protocol(format!("{error} in the response head: {}", crate::splitter::excerpt(bytes))))
        }
        Ok(httparse::Status::Complete(length)) => {
            let headers = response.headers.iter();
            let headers = headers.map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect();
            Ok(Some((length, Head { status: response.code.unwrap_or(0), headers }, response.version.unwrap_or(1))))
        }
    }
}

fn keeps_alive(head: &Head, version: u8) -> bool {
    let connection = head.get("connection").unwrap_or("");
    let says = |word: &str| connection.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    if version == 0 { says("keep-alive") } else { !says("close") }
}

fn framing(head: &Head) -> Result<State, Fault> {
    if head.status == 204 || head.status == 304 {
        return Ok(State::Done);
    }
    if let Some(coding) = head.get("transfer-encoding") {
        if coding.trim().eq_ignore_ascii_case("chunked") {
            return Ok(State::Chunked(Chunk::Size { value: 0, digits: 0 }));
        }
        return Err(Fault::Protocol(format!("transfer coding {coding:?} was not asked for")));
    }
    match head.get("content-length").map(|length| length.trim().parse::<u64>()) {
        Some(Ok(0)) => Ok(State::Done),
        Some(Ok(left)) => Ok(State::Length { left }),
        Some(Err(_)) => Err(Fault::Protocol("a content-length that is no number".into())),
        None => Ok(State::UntilClose),
    }
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
