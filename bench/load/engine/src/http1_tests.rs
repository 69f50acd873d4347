//! Any cut of a response into reads, and any chunk framing, gives the same events.

use proptest::prelude::*;

use super::*;
use crate::splitter::{Kind, Malformed, Splitter};

struct Collected {
    head: Option<Head>,
    splitter: Splitter,
    events: Vec<Vec<u8>>,
    malformed: Option<Malformed>,
}

impl Collected {
    fn new(kind: Kind) -> Self {
        Self { head: None, splitter: Splitter::new(kind), events: Vec::new(), malformed: None }
    }
}

impl ResponseSink for Collected {
    fn head(&mut self, head: Head) {
        self.head = Some(head);
    }
    fn body(&mut self, bytes: &[u8]) -> bool {
        let events = &mut self.events;
        let mut sink = |payload: &[u8]| {
            events.push(payload.to_vec());
            Ok(())
        };
        self.malformed = self.splitter.feed(bytes, &mut sink).err();
        self.malformed.is_none()
    }
}

/// Cuts bytes at the given places (taken modulo what is left), with at least one byte a piece.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let size = (*sizes.next().unwrap_or(&bytes.len())).clamp(1, bytes.len());
        pieces.push(&bytes[..size]);
        bytes = &bytes[size..];
    }
    pieces
}

fn chunked(body: &[u8], sizes: &[usize], extension: &str) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in cut(body, sizes) {
        out.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
    out
}

fn read(kind: Kind, reads: &[&[u8]]) -> (Decoder, Collected) {
    let (mut decoder, mut collected) = (Decoder::default(), Collected::new(kind));
    for bytes in reads {
        let used = decoder.feed(bytes, &mut collected).expect("a sound response");
        assert_eq!(used, bytes.len());
    }
    (decoder, collected)
}

prop_compose! {
    fn payloads()(events in proptest::collection::vec("[ -~éß漢]{1,40}", 1..12)) -> Vec<String> { events }
}

proptest! {
    #[test]
    fn any_cut_and_any_chunks_give_the_same_sse_events(
        events in payloads(),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        chunks in proptest::collection::vec(1usize..60, 1..8),
        reads in proptest::collection::vec(1usize..60, 1..8),
        extension in prop_oneof![Just(""), Just(";x=1")],
    ) {
        let body: String = events.iter().map(|event| format!("data: {event}{line_end}{line_end}")).collect();
        let wire = chunked(body.as_bytes(), &chunks, extension);
        let (decoder, collected) = read(Kind::Sse, &cut(&wire, &reads));
        prop_assert!(decoder.keeps_alive());
        let seen: Vec<String> = collected.events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect();
        prop_assert_eq!(seen, events);
    }

    #[test]
    fn any_cut_and_any_chunks_give_the_same_lines(
        values in proptest::collection::vec(any::<i32>(), 1..20),
        chunks in proptest::collection::vec(1usize..40, 1..8),
        reads in proptest::collection::vec(1usize..40, 1..8),
    ) {
        let lines: Vec<String> = values.iter().map(|value| format!("{{\"response\":\"{value}\"}}")).collect();
        let wire = chunked(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes(), &chunks, "");
        let (_, collected) = read(Kind::Ndjson, &cut(&wire, &reads));
        let seen: Vec<String> = collected.events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect();
        prop_assert_eq!(seen, lines);
    }

    #[test]
    fn any_bytes_at_all_are_read_without_a_panic(
        wire in proptest::collection::vec(any::<u8>(), 0..400),
        reads in proptest::collection::vec(1usize..40, 1..8),
        after_head in any::<bool>(),
    ) {
        let head: &[u8] = if after_head { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
        let wire = [head, &wire].concat();
        let (mut decoder, mut collected) = (Decoder::default(), Collected::new(Kind::Sse));
        for bytes in cut(&wire, &reads) {
            if decoder.feed(bytes, &mut collected).is_err() {
                break;
            }
        }
        decoder.close();
    }
}

#[test]
fn a_body_of_known_length_ends_there_and_the_rest_is_not_taken() {
    let (mut decoder, mut collected) = (Decoder::default(), Collected::new(Kind::Document));
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP";
    assert_eq!(decoder.feed(wire, &mut collected), Ok(wire.len() - 4));
    assert!(decoder.keeps_alive());
}

#[test]
fn a_body_until_the_connection_closes_ends_at_the_close() {
    let (mut decoder, _) = read(Kind::Sse, &[b"HTTP/1.0 200 OK\r\n\r\ndata: a\n\n"]);
    assert!(!decoder.is_done());
    assert!(decoder.close() && !decoder.keeps_alive());
}

#[test]
fn a_close_inside_chunks_is_not_an_end() {
    let (mut decoder, _) =
        read(Kind::Sse, &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n"]);
    assert!(!decoder.close());
}

#[test]
fn an_interim_response_is_passed_over() {
    let (decoder, collected) = read(Kind::Bytes, &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"]);
    assert!(decoder.is_done());
    assert_eq!(collected.head.map(|head| head.status), Some(204));
}

#[test]
fn a_chunk_size_that_is_no_number_is_a_fault() {
    let mut decoder = Decoder::default();
    let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert!(matches!(decoder.feed(wire, &mut Collected::new(Kind::Sse)), Err(Fault::Protocol(_))));
}
