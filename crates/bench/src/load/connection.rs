//! One connection: at most one request in flight, written and read without blocking. Owns the socket and
//! its buffer; refuses to know when to send and what a latency is.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::answer::{Answer, Progress};
use super::{Expect, LoadError, Offence};

/// A server that has not accepted in this time is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Holds the head of any answer, and most answers whole.
const BUFFER_SIZE: usize = 16 * 1024;

/// How much of a wrong answer is quoted.
const QUOTE_SIZE_MAX: usize = 400;

/// A request in flight.
#[derive(Debug, Clone, Copy)]
pub struct InFlight {
    /// When its clock began, in nanoseconds of the load's clock.
    pub began_ns: u64,
    n_request: usize,
    /// Bytes of it that are not sent yet.
    n_left: usize,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// `buffer[n_parsed..n_filled]` is read but not understood yet.
    n_filled: usize,
    n_parsed: usize,
    answer: Answer,
    in_flight: Option<InFlight>,
}

impl Connection {
    /// Connects; blocks until it is accepted.
    pub fn new(address: SocketAddr) -> Result<Self, LoadError> {
        let connect = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| LoadError::Connect { address, error })?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_SIZE].into_boxed_slice(),
            n_filled: 0,
            n_parsed: 0,
            answer: Answer::new(),
            in_flight: None,
        })
    }

    /// For the poller.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Begins request `n_request`; what does not fit into the socket follows by [`Self::write`].
    pub fn begin(
        &mut self,
        requests: &[Bytes],
        n_request: usize,
        began_ns: u64,
    ) -> Result<(), Offence> {
        debug_assert!(self.in_flight.is_none(), "one request at a time");
        self.in_flight = Some(InFlight {
            began_ns,
            n_request,
            n_left: requests[n_request].len(),
        });
        self.write(requests)
    }

    /// Sends what is left of the request in flight as far as the socket takes it.
    pub fn write(&mut self, requests: &[Bytes]) -> Result<(), Offence> {
        let Some(in_flight) = &mut self.in_flight else {
            return Ok(());
        };
        let request = &requests[in_flight.n_request];
        while in_flight.n_left > 0 {
            let unsent = &request[request.len() - in_flight.n_left..];
            match send(&self.stream, unsent, SendFlags::NOSIGNAL) {
                Ok(n) => in_flight.n_left -= n,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // The server may have answered and closed before it took the whole request: that answer
                // is the better news, and reading finds it, or the end.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(error) => return Err(ended(error)),
            }
        }
        Ok(())
    }

    /// Reads all there is. Returns the request whose answer became whole, if one did. `is_ending`: the
    /// poller has seen the other side hang up.
    pub fn read(&mut self, expect: &Expect, is_ending: bool) -> Result<Option<InFlight>, Offence> {
        let mut finished = None;
        loop {
            let space = &mut self.buffer[self.n_filled..];
            let n_space = space.len();
            let n = match recv(&self.stream, space, RecvFlags::empty()) {
                Ok((n, _)) => n,
                Err(Errno::AGAIN) => return Ok(finished),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(ended(error)),
            };
            if n == 0 {
                return Err(Offence::Ended("closed by the server".to_owned()));
            }
            self.n_filled += n;
            if finished.is_some() {
                return Err(Offence::Surplus);
            }
            finished = self.parse(expect)?;
            // A read that does not fill the space has emptied the socket (epoll(7)); what arrives later
            // raises another event. An end that is there already does not.
            if n < n_space && !is_ending {
                return Ok(finished);
            }
        }
    }

    fn parse(&mut self, expect: &Expect) -> Result<Option<InFlight>, Offence> {
        if self.in_flight.is_none() {
            return Err(Offence::Surplus);
        }
        let unread = &self.buffer[self.n_parsed..self.n_filled];
        let (progress, n) = self.answer.advance(unread, expect)?;
        self.n_parsed += n;
        match progress {
            Progress::Partial => {
                if self.n_filled == self.buffer.len() {
                    self.compact()?;
                }
                Ok(None)
            }
            Progress::Whole if self.n_parsed < self.n_filled => Err(Offence::Surplus),
            Progress::Whole => {
                let in_flight = self.in_flight.take();
                if in_flight.is_some_and(|in_flight| in_flight.n_left > 0) {
                    return Err(Offence::Early);
                }
                self.n_parsed = 0;
                self.n_filled = 0;
                Ok(in_flight)
            }
        }
    }

    /// Makes room at the end. Until then the answer is kept from its beginning, to be quoted.
    fn compact(&mut self) -> Result<(), Offence> {
        if self.n_parsed == 0 {
            return Err(Offence::Malformed("a line or head of more than 16 KiB"));
        }
        self.buffer.copy_within(self.n_parsed..self.n_filled, 0);
        self.n_filled -= self.n_parsed;
        self.n_parsed = 0;
        Ok(())
    }

    /// The beginning of the answer at hand as far as it is still there.
    pub fn quote(&self) -> String {
        let n = self.n_filled.min(QUOTE_SIZE_MAX);
        String::from_utf8_lossy(&self.buffer[..n]).into_owned()
    }
}

fn ended(error: Errno) -> Offence {
    Offence::Ended(io::Error::from(error).to_string())
}
