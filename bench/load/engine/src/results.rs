//! Sums and histograms of a run: over all of it, for each second, for each backend.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Slo;
use crate::histogram::{COARSE, FINE, Histogram};
use crate::record::{Class, Record};

/// One second of a run. Series of requests lie in the second they were intended for; tokens and gaps in the second they came.
#[derive(Serialize)]
pub struct Second {
    due: u64,
    sent: u64,
    answered: u64,
    failed: u64,
    good: u64,
    output_tokens: u64,
    lateness: Histogram,
    ttft_from_intended: Histogram,
    ttft_from_sent: Histogram,
    e2e_from_intended: Histogram,
    e2e_from_sent: Histogram,
    itl: Histogram,
    tpot: Histogram,
}

impl Second {
    fn new() -> Self {
        let new = || Histogram::sparse(COARSE);
        Self {
            due: 0,
            sent: 0,
            answered: 0,
            failed: 0,
            good: 0,
            output_tokens: 0,
            lateness: new(),
            ttft_from_intended: new(),
            ttft_from_sent: new(),
            e2e_from_intended: new(),
            e2e_from_sent: new(),
            itl: new(),
            tpot: new(),
        }
    }

    /// TTFT at this share (from intended), lateness at this share.
    pub fn glance(&self, share: f64) -> (u64, u64) {
        (self.ttft_from_intended.quantile(share), self.lateness.quantile(share))
    }
}

#[derive(Serialize)]
struct Backend {
    answered: u64,
    failed: u64,
    output_tokens: u64,
    ttft_from_sent: Histogram,
    e2e_from_sent: Histogram,
    itl: Histogram,
}

#[derive(Default, Serialize)]
struct FailureCount {
    count: u64,
    example: String,
    by_status: BTreeMap<u16, u64>,
}

/// The second beyond which nothing more is told apart: three hours.
const LAST_SECOND: usize = 10_800;
/// Names beyond this are put together: a header that differs by request is no backend.
const MOST_BACKENDS: usize = 256;

#[derive(Serialize)]
pub struct Results {
    #[serde(skip)]
    origin: u64,
    #[serde(skip)]
    slo: Slo,
    sent: u64,
    ok: u64,
    good: u64,
    connections_opened: u64,
    prompt_tokens: u64,
    output_tokens_usage: u64,
    output_tokens_counted: u64,
    body_bytes: u64,
    failed: BTreeMap<&'static str, FailureCount>,
    series: BTreeMap<&'static str, Histogram>,
    backends: BTreeMap<String, Backend>,
    seconds: Vec<Second>,
}

const SERIES: [&str; 10] = [
    "lateness",
    "connect",
    "ttft_from_intended",
    "ttft_from_sent",
    "e2e_from_intended",
    "e2e_from_sent",
    "itl",
    "tpot",
    "server_prefill",
    "server_total",
];

impl Results {
    pub fn new(origin: u64, slo: Slo) -> Self {
        Self {
            origin,
            slo,
            sent: 0,
            ok: 0,
            good: 0,
            connections_opened: 0,
            prompt_tokens: 0,
            output_tokens_usage: 0,
            output_tokens_counted: 0,
            body_bytes: 0,
            failed: BTreeMap::new(),
            series: SERIES.into_iter().map(|name| (name, Histogram::dense(FINE))).collect(),
            backends: BTreeMap::new(),
            seconds: Vec::new(),
        }
    }

    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    fn second(&mut self, stamp: u64) -> &mut Second {
        let at = ((stamp.saturating_sub(self.origin) / 1_000_000_000) as usize).min(LAST_SECOND);
        while self.seconds.len() <= at {
            self.seconds.push(Second::new());
        }
        &mut self.seconds[at]
    }

    fn series(&mut self, name: &'static str) -> &mut Histogram {
        self.series.get_mut(name).expect("a series of the list")
    }

    pub fn add(&mut self, record: &Record) {
        let intended = record.intended;
        self.second(intended).due += 1;
        self.body_bytes += record.bytes;
        if record.sent != 0 {
            self.sent += 1;
            self.second(record.sent).sent += 1;
            let lateness = record.lateness();
            self.series("lateness").record(lateness);
            self.second(intended).lateness.record(lateness);
        }
        if record.connected != 0 && !record.reused {
            self.connections_opened += 1;
            self.series("connect").record(record.connected.saturating_sub(record.began));
        }
        match &record.failure {
            Some(failure) => self.add_failure(record, failure.class, &failure.message),
            None => self.add_answer(record),
        }
    }

    fn add_failure(&mut self, record: &Record, class: Class, message: &str) {
        let known = self.failed.entry(class.name()).or_default();
        known.count += 1;
        if known.example.is_empty() {
            known.example = message.to_owned();
        }
        if class == Class::Status {
            *known.by_status.entry(record.status).or_insert(0) += 1;
        }
        self.second(record.end).failed += 1;
        if let Some(backend) = self.backend(record) {
            backend.failed += 1;
        }
    }

    fn add_answer(&mut self, record: &Record) {
        self.ok += 1;
        let (tokens, from_usage) = record.output_tokens();
        *(if from_usage { &mut self.output_tokens_usage } else { &mut self.output_tokens_counted }) += tokens;
        self.prompt_tokens += record.usage.prompt.unwrap_or(0);
        self.second(record.end).answered += 1;
        let (from_intended, from_sent) =
            (record.end - record.intended.min(record.end), record.end.saturating_sub(record.sent));
        self.both("e2e_from_intended", record.intended, from_intended);
        self.both("e2e_from_sent", record.intended, from_sent);
        if let Some(first) = record.first_token() {
            self.both("ttft_from_intended", record.intended, first.saturating_sub(record.intended));
            self.both("ttft_from_sent", record.intended, first.saturating_sub(record.sent));
        }
        if let Some(tpot) = record.tpot() {
            self.both("tpot", record.intended, tpot);
        }
        if let Some(prefill) = record.usage.server.prefill() {
            self.series("server_prefill").record(prefill);
        }
        if let Some(total) = record.usage.server.total {
            self.series("server_total").record(total);
        }
        self.add_tokens(record, tokens);
        if self.is_good(record) {
            self.good += 1;
            self.second(record.intended).good += 1;
        }
    }

    fn both(&mut self, name: &'static str, stamp: u64, value: u64) {
        self.series(name).record(value);
        let second = self.second(stamp);
        match name {
            "e2e_from_intended" => &mut second.e2e_from_intended,
            "e2e_from_sent" => &mut second.e2e_from_sent,
            "ttft_from_intended" => &mut second.ttft_from_intended,
            "ttft_from_sent" => &mut second.ttft_from_sent,
            _ => &mut second.tpot,
        }
        .record(value);
    }

    fn add_tokens(&mut self, record: &Record, tokens: u64) {
        for (stamp, gap) in record.gaps() {
            self.series("itl").record(gap);
            let second = self.second(stamp);
            second.itl.record(gap);
            second.output_tokens += 1;
        }
        // The first token has no gap; tokens that came several in one event are counted at its end.
        let counted = record.tokens_at.len().saturating_sub(1) as u64;
        let at = record.first_token().unwrap_or(record.end);
        self.second(at).output_tokens += tokens.saturating_sub(counted);
        let ttft = record.first_token().map(|first| first.saturating_sub(record.sent));
        let e2e = record.end.saturating_sub(record.sent);
        if let Some(backend) = self.backend(record) {
            backend.answered += 1;
            backend.output_tokens += tokens;
            backend.e2e_from_sent.record(e2e);
            if let Some(ttft) = ttft {
                backend.ttft_from_sent.record(ttft);
            }
            for (_, gap) in record.gaps() {
                backend.itl.record(gap);
            }
        }
    }

    fn backend(&mut self, record: &Record) -> Option<&mut Backend> {
        let mut name = record.backend.as_deref()?;
        if self.backends.len() >= MOST_BACKENDS && !self.backends.contains_key(name) {
            name = "(others)";
        }
        let new = || Histogram::sparse(10);
        Some(self.backends.entry(name.to_owned()).or_insert_with(|| Backend {
            answered: 0,
            failed: 0,
            output_tokens: 0,
            ttft_from_sent: new(),
            e2e_from_sent: new(),
            itl: new(),
        }))
    }

    /// Within every objective. From intended: a user waits for the generator's queue too. The ITL of a request is its mean gap.
    fn is_good(&self, record: &Record) -> bool {
        let within = |value: Option<u64>, bound: Option<u64>| {
            bound.is_none_or(|bound| value.is_some_and(|value| value <= bound))
        };
        let (mut gaps, mut total) = (0u64, 0u64);
        if self.slo.itl_ns.is_some() {
            for (_, gap) in record.gaps() {
                gaps += 1;
                total += gap;
            }
        }
        within(record.first_token().map(|first| first.saturating_sub(record.intended)), self.slo.ttft_ns)
            && within(Some(total / gaps.max(1)), self.slo.itl_ns)
            && within(Some(record.tpot().unwrap_or(0)), self.slo.tpot_ns)
            && within(Some(record.end.saturating_sub(record.intended)), self.slo.e2e_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Failure;

    const MS: u64 = 1_000_000;

    fn answer() -> Record {
        Record {
            intended: 1_000 * MS,
            began: 1_001 * MS,
            connected: 1_003 * MS,
            sent: 1_004 * MS,
            tokens_at: vec![1_100 * MS, 1_120 * MS, 2_140 * MS],
            end: 2_141 * MS,
            status: 200,
            backend: Some("a".into()),
            ..Record::default()
        }
    }

    #[test]
    fn lateness_leaves_out_the_connection() {
        assert_eq!(answer().lateness(), 2 * MS);
    }

    #[test]
    fn a_request_lies_in_the_second_it_was_intended_for_and_a_token_in_its_own() {
        let mut results = Results::new(0, Slo::default());
        results.add(&answer());
        let told = serde_json::to_value(&results).unwrap();
        assert_eq!(told["seconds"][1]["ttft_from_intended"]["count"], 1);
        assert_eq!(told["seconds"][1]["output_tokens"], 2);
        assert_eq!(told["seconds"][2]["output_tokens"], 1);
        assert_eq!(told["seconds"][2]["answered"], 1);
        assert_eq!(told["series"]["itl"]["count"], 2);
        assert_eq!(told["backends"]["a"]["answered"], 1);
    }

    #[test]
    fn a_slow_gap_misses_the_objective() {
        let slo = Slo { itl_ns: Some(100 * MS), ..Slo::default() };
        let mut results = Results::new(0, slo);
        results.add(&answer());
        assert_eq!((results.ok, results.good), (1, 0));
    }

    #[test]
    fn a_failure_is_counted_with_its_first_message_and_leaves_no_latency() {
        let mut results = Results::new(0, Slo::default());
        for message in ["429 Too Many Requests", "429 again"] {
            let failure = Some(Failure::new(Class::Status, message));
            results.add(&Record { failure, status: 429, ..answer() });
        }
        let told = serde_json::to_value(&results).unwrap();
        assert_eq!(told["failed"]["status"]["count"], 2);
        assert_eq!(told["failed"]["status"]["example"], "429 Too Many Requests");
        assert_eq!(told["failed"]["status"]["by_status"]["429"], 2);
        assert_eq!(told["series"]["ttft_from_sent"]["count"], 0);
    }
}
