//! What is known of one request when it is over.

use serde::Serialize;

use crate::meaning::{ServerTimes, Usage};

/// Why a request is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Dns,
    Connect,
    Tls,
    Timeout,
    Status,
    Protocol,
    Incomplete,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Dns => "dns",
            Class::Connect => "connect",
            Class::Tls => "tls",
            Class::Timeout => "timeout",
            Class::Status => "status",
            Class::Protocol => "protocol",
            Class::Incomplete => "incomplete",
        }
    }
}

/// A failure: its class and one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: Class,
    pub message: String,
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

/// Stamps are nanoseconds of the monotonic clock; 0 is "did not happen".
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub number: u64,
    pub template: u32,
    pub turn: u32,
    pub intended: u64,
    /// When the connection was asked for; equal to `connected` on a kept one.
    pub began: u64,
    pub connected: u64,
    pub reused: bool,
    pub sent: u64,
    pub first_byte: u64,
    pub tokens_at: Vec<u64>,
    pub end: u64,
    pub status: u16,
    pub bytes: u64,
    pub usage: Usage,
    pub backend: Option<String>,
    pub failure: Option<Failure>,
    /// Text of the answer, where it was asked for.
    pub text: Option<String>,
}

impl Record {
    /// Tokens of the answer, and whether the server said so itself.
    pub fn output_tokens(&self) -> (u64, bool) {
        match self.usage.completion {
            Some(count) => (count, true),
            None => (self.tokens_at.len() as u64, false),
        }
    }

    /// How late the generator itself was: the connection's time is the server's, not ours.
    pub fn lateness(&self) -> u64 {
        let connecting = self.connected.saturating_sub(self.began);
        self.sent.saturating_sub(self.intended).saturating_sub(connecting)
    }

    pub fn first_token(&self) -> Option<u64> {
        self.tokens_at.first().copied()
    }

    /// Seconds a token after the first, over the whole answer.
    pub fn tpot(&self) -> Option<u64> {
        let (first, last) = (self.tokens_at.first()?, self.tokens_at.last()?);
        let tokens = self.output_tokens().0;
        (tokens > 1 && self.tokens_at.len() > 1).then(|| (last - first) / (tokens - 1))
    }

    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.tokens_at.windows(2).map(|pair| (pair[1], pair[1].saturating_sub(pair[0])))
    }

    /// One line of the records file. Times are seconds after `origin`.
    pub fn to_json(&self, origin: u64, id: &str) -> serde_json::Value {
        let at = |stamp: u64| if stamp == 0 { None } else { Some(seconds(stamp as i128 - i128::from(origin))) };
        let (output, from_usage) = self.output_tokens();
        serde_json::json!({
            "number": self.number, "id": id, "template": self.template, "turn": self.turn,
            "intended_seconds": seconds(i128::from(self.intended) - i128::from(origin)),
            "connect_began_seconds": at(self.began), "connected_seconds": at(self.connected), "connection_reused": self.reused,
            "sent_seconds": at(self.sent), "first_byte_seconds": at(self.first_byte),
            "token_seconds": self.tokens_at.iter().map(|&stamp| at(stamp)).collect::<Vec<_>>(),
            "end_seconds": at(self.end), "status": self.status, "body_bytes": self.bytes,
            "prompt_tokens": self.usage.prompt, "output_tokens": output,
            "output_tokens_source": if from_usage { "usage" } else { "counted" },
            "server": self.usage.server.total.map(|_| server_json(&self.usage.server)),
            "backend": self.backend,
            "error": self.failure.as_ref().map(|failure| failure.class), "message": self.failure.as_ref().map(|f| &f.message),
        })
    }
}

fn server_json(server: &ServerTimes) -> serde_json::Value {
    let told = |duration: Option<u64>| duration.map(|ns| seconds(i128::from(ns)));
    serde_json::json!({
        "load_seconds": told(server.load), "prompt_eval_seconds": told(server.prompt_eval),
        "eval_seconds": told(server.eval), "total_seconds": told(server.total),
    })
}

fn seconds(nanoseconds: i128) -> f64 {
    nanoseconds as f64 / 1e9
}
