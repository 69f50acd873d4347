//! One line of JSON a request, written by a thread of its own: a slow disk must not delay a send.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::record::Record;
use crate::shared::request_id;

/// Records that may wait for the disk; more are counted as lost.
const WAITING: usize = 65_536;

pub struct Recorder {
    lines: SyncSender<Record>,
    lost: AtomicU64,
    writer: JoinHandle<std::io::Result<()>>,
    file: String,
}

impl Recorder {
    pub fn open(file: &str, origin: u64, prefix: &str) -> Result<Self, String> {
        let out = File::create(file).map_err(|error| format!("records file {file}: {error}"))?;
        let (lines, waiting) = sync_channel(WAITING);
        let prefix = prefix.to_owned();
        let writer = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || write_all(&waiting, out, origin, &prefix))
            .map_err(|error| error.to_string())?;
        Ok(Self { lines, lost: AtomicU64::new(0), writer, file: file.to_owned() })
    }

    pub fn write(&self, record: Record) {
        if self.lines.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn close(self) -> Result<(), String> {
        drop(self.lines);
        let lost = self.lost.load(Ordering::Relaxed);
        match self.writer.join() {
            Ok(Ok(())) if lost == 0 => Ok(()),
            Ok(Ok(())) => Err(format!("{}: {lost} records came faster than they could be written", self.file)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.file)),
            Err(_) => Err(format!("{}: the writer failed", self.file)),
        }
    }
}

fn write_all(waiting: &Receiver<Record>, out: File, origin: u64, prefix: &str) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for record in waiting {
        let line = record.to_json(origin, &request_id(prefix, record.number, record.turn));
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
