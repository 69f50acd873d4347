//! A server for the rows of TLS and HTTP/2 in the benchmark, and for the engine's own test: paced tokens over either HTTP.
//!
//! What a request gets is in its query: ttft_us, itl_us, tokens, and cut=1 for a stream that is reset in the middle.
//!
//!   paced_server [CERTIFICATE KEY]        prints its port; with a certificate it speaks TLS and chooses by ALPN

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

const EVENT: &str = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
    \"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

pub trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line for T {}

struct Pace {
    ttft: Duration,
    itl: Duration,
    tokens: u64,
    cut: bool,
}

impl Pace {
    fn of(path: &str) -> Self {
        let number = |name: &str, otherwise: u64| {
            let query = path.split_once('?').map_or("", |(_, query)| query);
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse().ok()).unwrap_or(otherwise)
        };
        let span = |name: &str| Duration::from_micros(number(name, 0));
        Self { ttft: span("ttft_us"), itl: span("itl_us"), tokens: number("tokens", 1), cut: number("cut", 0) == 1 }
    }

    fn end(&self) -> String {
        let tokens = self.tokens;
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":8,\"completion_tokens\":{tokens}}}}}\n\ndata: [DONE]\n\n"
        )
    }
}

/// HTTP/2 on one connection, until the client leaves.
pub async fn serve_http2(line: impl Line) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(line).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        tokio::spawn(answer_http2(request, respond));
    }
    Ok(())
}

async fn answer_http2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let path = request.uri().path_and_query().map_or(String::new(), ToString::to_string);
    let mut body = request.into_body();
    while let Some(bytes) = body.data().await {
        body.flow_control().release_capacity(bytes?.len())?;
    }
    let pace = Pace::of(&path);
    if path.starts_with("/missing") {
        let response = http::Response::builder().status(404).body(()).expect("a sound response");
        respond.send_response(response, true)?;
        return Ok(());
    }
    let mut due = Instant::now() + pace.ttft;
    let response =
        http::Response::builder().header("content-type", "text/event-stream").body(()).expect("a sound response");
    let mut out = respond.send_response(response, false)?;
    for token in 0..pace.tokens {
        sleep_until(due).await;
        due += pace.itl;
        if pace.cut && token == pace.tokens / 2 {
            out.send_reset(h2::Reason::INTERNAL_ERROR);
            return Ok(());
        }
        out.send_data(Bytes::from_static(EVENT.as_bytes()), false)?;
    }
    out.send_data(Bytes::from(pace.end()), true)
}

/// HTTP/1.1 on one connection, until the client leaves.
pub async fn serve_http1(mut line: impl Line) -> std::io::Result<()> {
    let mut held = Vec::new();
    loop {
        let (head_end, whole) = loop {
            if let Some(at) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&held[..at]).to_ascii_lowercase();
                let length = head.lines().find_map(|each| each.strip_prefix("content-length:"));
                let whole = at + 4 + length.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(0);
                if held.len() >= whole {
                    break (at, whole);
                }
            }
            if line.read_buf(&mut held).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&held[..head_end]).into_owned();
        held.drain(..whole);
        let pace = Pace::of(head.split(' ').nth(1).unwrap_or(""));
        let mut due = Instant::now() + pace.ttft;
        line.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await?;
        for _ in 0..pace.tokens {
            sleep_until(due).await;
            due += pace.itl;
            line.write_all(format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).as_bytes()).await?;
            line.flush().await?;
        }
        let end = pace.end();
        line.write_all(format!("{:x}\r\n{end}\r\n0\r\n\r\n", end.len()).as_bytes()).await?;
        line.flush().await?;
    }
}

fn tls(certificate: &str, key: &str) -> Result<tokio_rustls::TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

async fn accept_all(listener: TcpListener, acceptor: Option<tokio_rustls::TlsAcceptor>) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that leaves is no matter of the server's.
            let Some(acceptor) = acceptor else {
                let mut start = [0; 3];
                let _ = stream.peek(&mut start).await;
                return if start == *b"PRI" {
                    drop(serve_http2(stream).await)
                } else {
                    drop(serve_http1(stream).await)
                };
            };
            let Ok(stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                drop(serve_http2(stream).await);
            } else {
                drop(serve_http1(stream).await);
            }
        });
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let acceptor = match &words[1..] {
        [certificate, key] => Some(tls(certificate, key)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        accept_all(listener, acceptor).await
    })?;
    Ok(())
}
