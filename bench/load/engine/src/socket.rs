//! A TCP socket whose reads carry the kernel's receive stamp.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::{self, RealtimeOffset};

/// When the last read's bytes arrived, on the monotonic axis; shared with whoever is above TLS or HTTP/2.
#[derive(Clone, Default)]
pub struct LastStamp(Arc<AtomicU64>);

impl LastStamp {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct StampedStream {
    stream: TcpStream,
    last: LastStamp,
    /// `None`: reads are stamped as they return.
    offset: Option<Arc<RealtimeOffset>>,
}

/// Room for one SCM_TIMESTAMPNS message.
#[repr(C, align(8))]
struct Control([u8; 64]);

impl StampedStream {
    pub fn new(stream: TcpStream, kernel: Option<Arc<RealtimeOffset>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let offset = kernel.filter(|_| ask_for_stamps(&stream).is_ok());
        Ok(Self { stream, last: LastStamp::default(), offset })
    }

    pub fn last_stamp(&self) -> LastStamp {
        self.last.clone()
    }

    /// One read; the stamp of its last segment goes to `last`.
    pub fn poll_receive(&self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            let mut outcome = None;
            let _ = self.stream.try_io(Interest::READABLE, || {
                let result = self.receive(room);
                let drained = match &result {
                    // A read that did not fill the room has emptied the socket: the next arrival is a new edge,
                    // so the readiness is taken back here and not by one more call that finds nothing.
                    Ok(length) => *length > 0 && *length < room.len(),
                    Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                };
                outcome = Some(result);
                if drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match outcome {
                Some(Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Some(result) => return Poll::Ready(result),
                None => {}
            }
        }
    }

    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let Some(offset) = &self.offset else {
            // SAFETY: the pointer and length are of one live slice.
            let length = unsafe { libc::recv(self.stream.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
            self.last.0.store(clock::now(), Ordering::Relaxed);
            return if length < 0 { Err(io::Error::last_os_error()) } else { Ok(length as usize) };
        };
        let mut control = Control([0; 64]);
        let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        // SAFETY: a msghdr of zeros is a valid empty one.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len();
        // SAFETY: every pointer in `message` is to a local that outlives the call.
        let length = unsafe { libc::recvmsg(self.stream.as_raw_fd(), &mut message, 0) };
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        let now = clock::now();
        let stamp = kernel_stamp(&message).and_then(|real| offset.to_monotonic(real, now)).unwrap_or(now);
        self.last.0.store(stamp, Ordering::Relaxed);
        Ok(length as usize)
    }

    /// Writes all of it; the common case is one system call and no wait.
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// SO_TIMESTAMPNS holds for stream sockets too: recvmsg then gives the arrival of the last segment it took.
fn ask_for_stamps(stream: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, as the kernel expects.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn kernel_stamp(message: &libc::msghdr) -> Option<i64> {
    // SAFETY: `message` was filled by recvmsg, whose control buffer is still alive; the CMSG macros stay inside it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                return Some(time.tv_sec * 1_000_000_000 + time.tv_nsec);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

impl AsyncRead for StampedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = ready!(self.poll_receive(context, buffer.initialize_unfilled()))?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StampedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
