//! The order that Python gives: one JSON object, refused as a whole if a key is unknown.

use serde::Deserialize;

use crate::meaning::Protocol;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Host and port as the Host header says them.
    pub authority: String,
    /// `host:port` of an HTTP proxy.
    pub proxy: Option<String>,
    /// What the proxy is told of who asks: the value of Proxy-Authorization.
    #[serde(default)]
    pub proxy_authorization: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    pub ca_file: Option<String>,
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
    #[serde(default)]
    pub insecure: bool,
}

/// One request as it is sent, again and again. A session has more than one turn: its body is `before`, the messages so far, `after`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub session: Option<Session>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    pub before: String,
    pub after: String,
    /// Messages of the user, each a JSON object.
    pub turns: Vec<String>,
    pub think_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// Requests leave at the schedule's times, whatever the server does.
    Open,
    /// A number of users, each waiting for its answer.
    Closed,
    /// Requests are handed in one by one by the caller.
    Submitted,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    pub ttft_ns: Option<u64>,
    pub itl_ns: Option<u64>,
    pub tpot_ns: Option<u64>,
    pub e2e_ns: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub target: Target,
    #[serde(default)]
    pub tls: TlsOptions,
    #[serde(default)]
    pub http2: bool,
    pub protocol: Protocol,
    pub templates: Vec<Template>,
    #[serde(rename = "loop")]
    pub drive: Loop,
    /// Closed loop: (nanoseconds after the start, users from then on).
    #[serde(default)]
    pub users: Vec<(u64, u32)>,
    /// Closed loop: think time is drawn evenly from this range.
    #[serde(default)]
    pub think_ns: (u64, u64),
    #[serde(default)]
    pub seed: u64,
    /// Absolute, on the monotonic clock; 0 is "now". Workers of one machine are given the same.
    #[serde(default)]
    pub start_ns: u64,
    pub duration_ns: u64,
    pub requests_max: u64,
    pub timeout_ns: u64,
    pub connect_timeout_ns: u64,
    pub drain_ns: u64,
    pub connections_max: usize,
    #[serde(default)]
    pub slo: Slo,
    pub id_header: String,
    pub id_prefix: String,
    #[serde(default)]
    pub backend_header: Option<String>,
    #[serde(default)]
    pub backend_member: Option<String>,
    #[serde(default)]
    pub records_file: Option<String>,
    /// How many finished records wait for the caller at most; 0: it wants none.
    #[serde(default)]
    pub queue_capacity: usize,
    pub kernel_stamps: bool,
    /// Submitted loop: hand the text of an answer back with its record.
    #[serde(default)]
    pub capture_text: bool,
}

/// Times and numbers of the requests of this worker, and which template each takes.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// Nanoseconds after the start, ascending.
    pub offsets: Vec<u64>,
    /// Number of each in the whole run; empty: 0, 1, 2 …
    pub numbers: Vec<u64>,
    /// Template of each number, over and over; empty: number modulo the templates.
    pub picks: Vec<u32>,
}

impl Schedule {
    pub fn number(&self, at: usize) -> u64 {
        self.numbers.get(at).copied().unwrap_or(at as u64)
    }

    pub fn template(&self, number: u64, templates: usize) -> u32 {
        match self.picks.len() {
            0 => (number % templates as u64) as u32,
            count => self.picks[(number % count as u64) as usize],
        }
    }
}

impl Config {
    /// Parses and refuses what could only fail later.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if config.templates.is_empty() && config.drive != Loop::Submitted {
            return Err("no request template".into());
        }
        if config.connections_max == 0 || config.requests_max == 0 || config.duration_ns == 0 {
            return Err("connections_max, requests_max and duration_ns must be above 0".into());
        }
        if config
            .templates
            .iter()
            .any(|template| template.session.as_ref().is_some_and(|session| session.turns.is_empty()))
        {
            return Err("a session without turns".into());
        }
        Ok(config)
    }
}
