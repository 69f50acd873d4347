//! What an event of an LLM endpoint means: a token, an end, the usage, an error. JSON is parsed for the first event, the ends
//! and the usage only; every other event costs a few substring searches.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;

use crate::splitter::{Kind, Malformed, excerpt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    OpenaiChat,
    OpenaiCompletions,
    OpenaiEmbeddings,
    OllamaGenerate,
    OllamaChat,
    Plain,
}

impl Protocol {
    /// How a body of this content type is cut.
    pub fn kind(self, content_type: &str) -> Kind {
        let media = content_type.split(';').next().unwrap_or("").trim();
        match media {
            "text/event-stream" => Kind::Sse,
            "application/x-ndjson" | "application/jsonl" | "application/json-lines" => Kind::Ndjson,
            _ if self == Protocol::Plain => Kind::Bytes,
            _ => Kind::Document,
        }
    }

    /// The members whose non-empty string is generated text.
    fn text_members(self) -> &'static [Finder<'static>] {
        static CHAT: LazyLock<[Finder<'static>; 4]> = LazyLock::new(|| {
            ["\"content\"", "\"reasoning_content\"", "\"reasoning\"", "\"arguments\""].map(Finder::new)
        });
        static COMPLETIONS: LazyLock<[Finder<'static>; 1]> = LazyLock::new(|| [Finder::new("\"text\"")]);
        static GENERATE: LazyLock<[Finder<'static>; 2]> =
            LazyLock::new(|| ["\"response\"", "\"thinking\""].map(Finder::new));
        static MESSAGE: LazyLock<[Finder<'static>; 2]> =
            LazyLock::new(|| ["\"content\"", "\"thinking\""].map(Finder::new));
        match self {
            Protocol::OpenaiChat => &*CHAT,
            Protocol::OpenaiCompletions => &*COMPLETIONS,
            Protocol::OllamaGenerate => &*GENERATE,
            Protocol::OllamaChat => &*MESSAGE,
            Protocol::OpenaiEmbeddings | Protocol::Plain => &[],
        }
    }
}

/// What a server says it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    pub completion: Option<u64>,
    pub server: ServerTimes,
}

/// What a server says of its own time, in nanoseconds: ollama's `load_duration`, `prompt_eval_duration`, `eval_duration`
/// and `total_duration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTimes {
    pub load: Option<u64>,
    pub prompt_eval: Option<u64>,
    pub eval: Option<u64>,
    pub total: Option<u64>,
}

impl ServerTimes {
    /// From the request's arrival to the end of its prompt, without the waiting that the server does not tell.
    pub fn prefill(&self) -> Option<u64> {
        self.prompt_eval.map(|eval| eval + self.load.unwrap_or(0))
    }
}

/// Reads the events of one answer.
pub struct Reader {
    protocol: Protocol,
    kind: Kind,
    pub usage: Usage,
    /// The end that the protocol promises has come.
    pub ended: bool,
    pub error: Option<String>,
    /// Text of the answer, where the next turn of a session needs it.
    pub text: Option<String>,
    /// The value of this member of the first event names the backend.
    backend_member: Option<String>,
    pub backend: Option<String>,
    first: bool,
    finished: bool,
}

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
static DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"done\""));

impl Reader {
    pub fn new(protocol: Protocol, capture_text: bool, backend_member: Option<String>) -> Self {
        Self {
            protocol,
            kind: Kind::Document,
            usage: Usage::default(),
            ended: false,
            error: None,
            text: capture_text.then(String::new),
            backend_member,
            backend: None,
            first: true,
            finished: false,
        }
    }

    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// True: the event carries generated text.
    pub fn event(&mut self, payload: &[u8]) -> Result<bool, Malformed> {
        if self.protocol == Protocol::Plain {
            return Ok(true);
        }
        if payload == b"[DONE]" && self.kind == Kind::Sse {
            self.ended = true;
            return Ok(false);
        }
        if payload.first() != Some(&b'{') || payload.last() != Some(&b'}') {
            return Err(Malformed(format!("no JSON object: {}", excerpt(payload))));
        }
        let whole = self.kind == Kind::Document;
        if std::mem::take(&mut self.first) || whole || self.text.is_some() || self.tells_more(payload) {
            let value: Value =
                serde_json::from_slice(payload).map_err(|error| Malformed(format!("{error}: {}", excerpt(payload))))?;
            self.learn(&value);
        }
        Ok(!whole && self.error.is_none() && self.protocol.text_members().iter().any(|name| has_text(payload, name)))
    }

    /// The body has ended as its framing says. Is the answer whole?
    pub fn finish(&self) -> Result<(), String> {
        let end = match (self.protocol, self.kind) {
            (Protocol::Plain, _) | (_, Kind::Document | Kind::Bytes) => return Ok(()),
            (Protocol::OllamaGenerate | Protocol::OllamaChat, _) => "an object with done: true",
            (_, _) => "[DONE] or a finish_reason",
        };
        if self.ended || self.finished { Ok(()) } else { Err(format!("the stream ended without {end}")) }
    }

    fn tells_more(&self, payload: &[u8]) -> bool {
        match self.protocol {
            Protocol::OllamaGenerate | Protocol::OllamaChat => {
                value_after(payload, &DONE) == Some(b't') || payload.starts_with(b"{\"error\"")
            }
            _ => {
                value_after(payload, &USAGE) == Some(b'{')
                    || value_after(payload, &FINISH) == Some(b'"')
                    || payload.starts_with(b"{\"error\"")
            }
        }
    }

    fn learn(&mut self, value: &Value) {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").and_then(Value::as_str).or(error.as_str());
            self.error = Some(message.map_or_else(|| error.to_string(), str::to_owned));
        }
        if let (Some(member), None) = (&self.backend_member, &self.backend) {
            self.backend = value.get(member).map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned));
        }
        match self.protocol {
            Protocol::OllamaGenerate | Protocol::OllamaChat => self.learn_ollama(value),
            _ => self.learn_openai(value),
        }
        if let Some(text) = &mut self.text {
            text.push_str(text_of(value).unwrap_or_default());
        }
    }

    fn learn_openai(&mut self, value: &Value) {
        let number = |name: &str| value.get("usage").and_then(|usage| usage.get(name)).and_then(Value::as_u64);
        self.usage.prompt = number("prompt_tokens").or(self.usage.prompt);
        self.usage.completion = number("completion_tokens").or(self.usage.completion);
        self.finished |= value["choices"][0]["finish_reason"].is_string();
    }

    fn learn_ollama(&mut self, value: &Value) {
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        if value["done"] == Value::Bool(true) {
            self.ended = true;
            self.usage.prompt = number("prompt_eval_count");
            self.usage.completion = number("eval_count");
            self.usage.server = ServerTimes {
                load: number("load_duration"),
                prompt_eval: number("prompt_eval_duration"),
                eval: number("eval_duration"),
                total: number("total_duration"),
            };
        }
    }
}

fn text_of(value: &Value) -> Option<&str> {
    let choice = &value["choices"][0];
    [
        &choice["delta"]["content"],
        &choice["message"]["content"],
        &choice["text"],
        &value["message"]["content"],
        &value["response"],
    ]
    .into_iter()
    .find_map(Value::as_str)
}

/// The first byte of the member's value. A name inside a string cannot match: its quotes would be escaped.
fn value_after(payload: &[u8], name: &Finder<'_>) -> Option<u8> {
    let mut from = 0;
    while let Some(at) = name.find(&payload[from..]) {
        let rest = payload[from + at + name.needle().len()..].trim_ascii_start();
        if let Some(value) = rest.strip_prefix(b":") {
            return value.trim_ascii_start().first().copied();
        }
        from += at + name.needle().len();
    }
    None
}

fn has_text(payload: &[u8], name: &Finder<'_>) -> bool {
    let Some(at) = name.find(payload) else { return false };
    let rest = payload[at + name.needle().len()..].trim_ascii_start();
    let Some(value) = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else { return false };
    value.first() == Some(&b'"') && value.get(1) != Some(&b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(protocol: Protocol, kind: Kind) -> Reader {
        let mut reader = Reader::new(protocol, false, None);
        reader.set_kind(kind);
        reader
    }

    #[test]
    fn a_role_without_text_is_no_token() {
        let mut chat = reader(Protocol::OpenaiChat, Kind::Sse);
        assert_eq!(
            chat.event(br#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#),
            Ok(false)
        );
        assert_eq!(chat.event(br#"{"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}"#), Ok(true));
        assert_eq!(chat.event(br#"{"choices":[{"delta":{"content":"\"usage\":{"},"finish_reason":null}]}"#), Ok(true));
        assert!(chat.finish().is_err());
    }

    #[test]
    fn usage_and_the_end_are_read() {
        let mut chat = reader(Protocol::OpenaiChat, Kind::Sse);
        assert_eq!(chat.event(br#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}"#), Ok(false));
        assert_eq!(chat.event(br#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#), Ok(false));
        assert_eq!((chat.usage.prompt, chat.usage.completion), (Some(7), Some(3)));
        assert_eq!(chat.event(b"[DONE]"), Ok(false));
        assert!(chat.ended && chat.finish().is_ok());
    }

    #[test]
    fn ollama_counts_for_itself() {
        let mut generate = reader(Protocol::OllamaGenerate, Kind::Ndjson);
        assert_eq!(generate.event(br#"{"model":"m","response":"a","done":false}"#), Ok(true));
        let last = br#"{"response":"","done":true,"total_duration":9,"load_duration":1,"prompt_eval_count":4,"prompt_eval_duration":2,"eval_count":5,"eval_duration":6}"#;
        assert_eq!(generate.event(last), Ok(false));
        let server = ServerTimes { load: Some(1), prompt_eval: Some(2), eval: Some(6), total: Some(9) };
        assert_eq!(generate.usage, Usage { prompt: Some(4), completion: Some(5), server });
        assert_eq!(server.prefill(), Some(3));
        assert!(generate.finish().is_ok());
    }

    #[test]
    fn broken_json_is_malformed_first_or_later() {
        let mut chat = reader(Protocol::OpenaiChat, Kind::Sse);
        assert!(chat.event(br#"{"choices": [}"#).is_err());
        assert!(chat.event(br#"{"choices":[{"delta":{"con"#).is_err());
        assert!(chat.event(b"hello").is_err());
    }

    #[test]
    fn an_error_object_in_a_stream_is_told() {
        let mut chat = reader(Protocol::OpenaiChat, Kind::Sse);
        assert_eq!(chat.event(br#"{"error":{"message":"out of memory"}}"#), Ok(false));
        assert_eq!(chat.error.as_deref(), Some("out of memory"));
    }

    #[test]
    fn the_backend_is_named_by_a_member() {
        let mut chat = Reader::new(Protocol::OpenaiChat, false, Some("system_fingerprint".into()));
        chat.set_kind(Kind::Document);
        chat.event(br#"{"system_fingerprint":"pod-1","choices":[]}"#).unwrap();
        assert_eq!(chat.backend.as_deref(), Some("pod-1"));
    }
}
