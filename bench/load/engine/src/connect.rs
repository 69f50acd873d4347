//! From a name to a connection: addresses (kept for a while), TCP, a proxy, TLS. Each step has its own class of failure.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::RealtimeOffset;
use crate::config::Target;
use crate::record::{Class, Failure};
use crate::socket::{LastStamp, StampedStream};

/// A connection, in the clear or not.
pub enum Transport {
    Plain(StampedStream),
    Tls(Box<TlsStream<StampedStream>>),
}

impl Transport {
    pub fn last_stamp(&self) -> LastStamp {
        match self {
            Transport::Plain(stream) => stream.last_stamp(),
            Transport::Tls(stream) => stream.get_ref().0.last_stamp(),
        }
    }

    pub fn poll_receive(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(stream) => stream.poll_receive(context, room),
            Transport::Tls(stream) => {
                let mut buffer = ReadBuf::new(room);
                std::pin::Pin::new(stream).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
            }
        }
    }

    pub async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.send_all(bytes).await,
            Transport::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

type Resolved = Result<Vec<SocketAddr>, String>;

/// Makes connections to one target.
pub struct Connector {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    stamps: Option<Arc<RealtimeOffset>>,
    timeout: Duration,
    resolved: Mutex<Option<(Instant, Resolved)>>,
}

/// Addresses are asked for again after this, as clients do that honour short-lived records.
const ADDRESSES_HOLD: Duration = Duration::from_secs(10);
/// A name that was not found is asked for again sooner.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);

impl Connector {
    pub fn new(
        target: Target,
        tls: Option<Arc<ClientConfig>>,
        stamps: Option<Arc<RealtimeOffset>>,
        timeout: Duration,
    ) -> Self {
        Self { target, tls, stamps, timeout, resolved: Mutex::new(None) }
    }

    pub async fn connect(&self) -> Result<Transport, Failure> {
        let addresses = self.addresses().await.map_err(|message| Failure::new(Class::Dns, message))?;
        let stream = match tokio::time::timeout(self.timeout, self.connect_tcp(&addresses)).await {
            Ok(stream) => stream.map_err(|error| Failure::new(Class::Connect, format!("{}: {error}", self.place())))?,
            Err(_) => {
                return Err(Failure::new(
                    Class::Connect,
                    format!("{}: no connection within {:?}", self.place(), self.timeout),
                ));
            }
        };
        let Some(config) = &self.tls else { return Ok(Transport::Plain(stream)) };
        let name = ServerName::try_from(self.target.host.clone())
            .map_err(|error| Failure::new(Class::Tls, format!("{}: {error}", self.target.host)))?;
        let handshake = TlsConnector::from(config.clone()).connect(name, stream);
        match tokio::time::timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Transport::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Failure::new(Class::Tls, format!("{}: {error}", self.place()))),
            Err(_) => {
                Err(Failure::new(Class::Tls, format!("{}: no handshake within {:?}", self.place(), self.timeout)))
            }
        }
    }

    fn place(&self) -> &str {
        self.target.proxy.as_deref().unwrap_or(&self.target.authority)
    }

    async fn addresses(&self) -> Resolved {
        if let Some((when, known)) = &*self.resolved.lock().expect("no holder panics") {
            let holds = if known.is_ok() { ADDRESSES_HOLD } else { FAILURE_HOLDS };
            if when.elapsed() < holds {
                return known.clone();
            }
        }
        let place = match &self.target.proxy {
            Some(proxy) => proxy.clone(),
            None => format!("{}:{}", bracketed(&self.target.host), self.target.port),
        };
        let found: Resolved = match tokio::time::timeout(self.timeout, lookup_host(&place)).await {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(format!("{place}: {error}")),
            Err(_) => Err(format!("{place}: no answer within {:?}", self.timeout)),
        };
        let found = found.and_then(|list| if list.is_empty() { Err(format!("{place}: no address")) } else { Ok(list) });
        *self.resolved.lock().expect("no holder panics") = Some((Instant::now(), found.clone()));
        found
    }

    async fn connect_tcp(&self, addresses: &[SocketAddr]) -> io::Result<StampedStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let stream = StampedStream::new(stream, self.stamps.clone())?;
                    if self.target.proxy.is_some() && self.target.tls {
                        tunnel(&stream, &self.target).await?;
                    }
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Asks a proxy for a way through, one byte at a time at the end so that none of the handshake's is taken.
async fn tunnel(stream: &StampedStream, target: &Target) -> io::Result<()> {
    let place = format!("{}:{}", bracketed(&target.host), target.port);
    let shown = target.proxy_authorization.as_ref();
    let shown = shown.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
    stream.send_all(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{shown}\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        let length = std::future::poll_fn(|context| stream.poll_receive(context, &mut byte)).await?;
        if length == 0 || answer.len() > 16_384 {
            return Err(io::Error::other("the proxy gave no answer to CONNECT"));
        }
        answer.push(byte[0]);
    }
    let granted = answer.split(|&byte| byte == b' ').nth(1) == Some(b"200");
    if granted {
        Ok(())
    } else {
        Err(io::Error::other(format!("the proxy refused: {}", crate::splitter::excerpt(&answer))))
    }
}
