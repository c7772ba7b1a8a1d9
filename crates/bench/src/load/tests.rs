//! The generator against servers that are right, wrong, slow and broken, all over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

mod hyper_server;

use hyper_server::HyperServer;

fn get(path: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into()
}

fn target(address: SocketAddr, expect: Expect) -> Target {
    Target {
        address,
        requests: vec![get("/")],
        expect,
    }
}

fn block(n_connections: usize, duration_ms: u64) -> Closed {
    Closed {
        n_connections,
        warm_up: Duration::from_millis(20),
        duration: Duration::from_millis(duration_ms),
    }
}

/// A server of one thread per connection whose every answer is up to `script`: it gets the number of the
/// request (over all connections) and the socket, after a request was read to its blank line.
///
/// Threads end when the generator closes its connections, the acceptor at the sentinel of `drop`.
struct RawServer {
    address: SocketAddr,
    acceptor: Option<std::thread::JoinHandle<()>>,
    over: Arc<std::sync::atomic::AtomicBool>,
}

impl RawServer {
    fn new(script: impl Fn(u64, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (script, n_requests) = (Arc::new(script), Arc::new(AtomicU64::new(0)));
        let stop = over.clone();
        let acceptor = std::thread::spawn(move || {
            let mut workers = Vec::new();
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (script, n_requests) = (script.clone(), n_requests.clone());
                let stream = stream.unwrap();
                workers.push(std::thread::spawn(move || {
                    converse(stream, &n_requests, script.as_ref());
                }));
            }
            for worker in workers {
                worker.join().unwrap();
            }
        });
        Self {
            address,
            acceptor: Some(acceptor),
            over,
        }
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // A listener in `accept` ends by being connected to.
        let woken = TcpStream::connect(self.address);
        let acceptor = self.acceptor.take().unwrap().join();
        assert!(woken.is_ok() && acceptor.is_ok() || std::thread::panicking());
    }
}

fn converse(
    mut stream: TcpStream,
    n_requests: &AtomicU64,
    script: &(impl Fn(u64, &mut TcpStream) + ?Sized),
) {
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            read.drain(..at + 4);
            script(n_requests.fetch_add(1, Ordering::SeqCst), &mut stream);
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(n) => read.extend_from_slice(&piece[..n]),
        }
    }
}

/// Writes and forgets: the generator may have hung up already, which is its right.
fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).ok();
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn hello() -> Expect {
    Expect::Body(Bytes::from_static(b"hello"))
}

/// The offence of a server that answers rightly ten times and then as `script` says.
fn offence_of(script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> (Offence, String) {
    let server = RawServer::new(move |n, stream| match n {
        0..10 => say(stream, HELLO),
        _ => script(stream),
    });
    let failure = closed(&target(server.address, hello()), &block(1, 5_000)).unwrap_err();
    let LoadError::Wrong {
        n_right,
        offence,
        quote,
    } = failure
    else {
        panic!("{failure}");
    };
    assert_eq!(n_right, 10);
    (offence, quote)
}

#[test]
fn a_closed_loop_against_hyper() {
    let server = HyperServer::new("hello");
    let tally = closed(&target(server.address, hello()), &block(8, 300)).unwrap();
    assert!(tally.n_answers > 100, "{tally:?}");
    assert!(tally.n_answers_in_all >= tally.n_answers + 8, "{tally:?}");
    // Every request that the server saw was counted, those of the warm-up and the last ones as well.
    assert_eq!(server.n_requests(), tally.n_answers_in_all);
    assert_eq!(tally.latency.len(), tally.n_answers);
    assert_eq!(tally.elapsed, Duration::from_millis(300));
    assert!(tally.generator_cpu > Duration::ZERO && tally.generator_cpu <= tally.elapsed * 2);
    assert!(tally.latency.value_at_quantile(0.5) > 1000, "a microsecond");
    // Little's law: what is in flight is the rate times the mean latency. Exact but for the window's
    // edges, which a busy machine may hold up.
    let in_flight = tally.rate_per_s() * tally.latency.mean() / 1e9;
    assert!((4.0..=16.0).contains(&in_flight), "{in_flight}");
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    for size in [0, 1, 16 * 1024 - 200, 16 * 1024, 300_000] {
        let body = "x".repeat(size);
        let server = HyperServer::new(&body);
        let expect = Expect::Body(Bytes::from(body));
        let tally = closed(&target(server.address, expect), &block(2, 50)).unwrap();
        assert!(tally.n_answers > 0, "{size}");
    }
}

#[test]
fn requests_larger_than_a_socket_takes_are_sent_whole() {
    let n_body = 3_000_000;
    let server = HyperServer::new("hello");
    let mut request =
        format!("POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: {n_body}\r\n\r\n").into_bytes();
    request.resize(request.len() + n_body, b'x');
    let mut target = target(server.address, hello());
    target.requests = vec![request.into()];
    let tally = closed(&target, &block(2, 200)).unwrap();
    assert_eq!(
        server.n_body_bytes(),
        tally.n_answers_in_all * n_body as u64
    );
}

#[test]
fn requests_take_turns() {
    let server = HyperServer::new("hello");
    let mut target = target(server.address, hello());
    target.requests = (0..50).map(|n| get(&format!("/{n}"))).collect();
    let tally = closed(&target, &block(4, 100)).unwrap();
    let counts = server.counts();
    assert_eq!(counts.len(), 50);
    assert_eq!(counts.values().sum::<u64>(), tally.n_answers_in_all);
    let (least, most) = (counts.values().min(), counts.values().max());
    // Cycled over: the last cycle may be unfinished.
    assert!(most.unwrap() - least.unwrap() <= 1, "{counts:?}");
}

#[test]
fn chunks_and_halves_are_put_together() {
    let server = RawServer::new(|n, stream| {
        let text = match n % 2 {
            0 => HELLO,
            _ => {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            }
        };
        let (head, tail) = text.split_at(text.len() * (n as usize % 7) / 7);
        say(stream, head);
        say(stream, tail);
    });
    let tally = closed(&target(server.address, hello()), &block(3, 200)).unwrap();
    assert!(tally.n_answers > 50, "{tally:?}");
}

#[test]
fn wrong_answers_end_the_block_and_are_quoted() {
    let (offence, quote) = offence_of(|stream| say(stream, &HELLO.replace("hello", "hallo")));
    assert_eq!(offence, Offence::Body);
    assert!(quote.ends_with("hallo"), "{quote}");

    let (offence, quote) = offence_of(|stream| {
        say(
            stream,
            "HTTP/1.1 503 Busy\r\ncontent-length: 6\r\n\r\nH3001!",
        );
    });
    assert_eq!(offence, Offence::Status(503));
    assert!(quote.contains("H3001!"), "{quote}");

    let (offence, _) = offence_of(|stream| say(stream, &HELLO.repeat(2)));
    assert_eq!(offence, Offence::Surplus);

    let (offence, _) = offence_of(|stream| say(stream, "SSH-2.0-OpenSSH_9.9\r\n"));
    assert_eq!(offence, Offence::Malformed("a status line of another kind"));

    let (offence, _) = offence_of(|stream| {
        say(
            stream,
            &format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(20_000)),
        );
    });
    assert_eq!(
        offence,
        Offence::Malformed("a line or head of more than 16 KiB")
    );
}

#[test]
fn a_connection_that_ends_is_no_answer() {
    let closes = |stream: &mut TcpStream| {
        stream.shutdown(std::net::Shutdown::Both).ok();
    };
    let (offence, quote) = offence_of(closes);
    assert!(matches!(offence, Offence::Ended(_)), "{offence}");
    assert_eq!(quote, "");

    let (offence, quote) = offence_of(move |stream| {
        say(stream, &HELLO[..HELLO.len() - 2]);
        closes(stream);
    });
    assert!(matches!(offence, Offence::Ended(_)), "{offence}");
    assert!(quote.ends_with("hel"), "{quote}");

    let (offence, _) = offence_of(|stream| {
        // Closed with a linger of 0: a reset instead of an end.
        rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
        let reset = stream.try_clone().unwrap();
        drop(std::mem::replace(stream, detached()));
        drop(reset);
    });
    assert!(
        matches!(&offence, Offence::Ended(text) if text.contains("reset")),
        "{offence}"
    );
}

/// A socket that is connected to nobody, to stand in for one that was taken away.
fn detached() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(listener.local_addr().unwrap()).unwrap()
}

#[test]
fn an_early_answer_is_an_offence() {
    let server = RawServer::new(|_, stream| say(stream, HELLO));
    let mut request = get("/").to_vec();
    request.resize(30_000_000, b'x');
    let mut target = target(server.address, hello());
    target.requests = vec![request.into()];
    let failure = closed(&target, &block(1, 5_000)).unwrap_err();
    let LoadError::Wrong { offence, .. } = &failure else {
        panic!("{failure}");
    };
    assert_eq!(*offence, Offence::Early);
}

#[test]
fn no_server_and_no_sense() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let failure = closed(&target(address, Expect::Ok), &block(1, 50)).unwrap_err();
    assert!(matches!(failure, LoadError::Connect { .. }), "{failure}");

    let server = HyperServer::new("hello");
    let target = target(server.address, hello());
    let mut nothing = target.clone();
    nothing.requests.clear();
    let open_with = |rate_per_s| {
        let block = Open {
            n_connections: 1,
            rate_per_s,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(50),
        };
        open(&target, &block)
    };
    for failure in [
        closed(&nothing, &block(1, 50)),
        closed(&target, &block(0, 50)),
        closed(&target, &block(1, 0)),
        open_with(0.0),
        open_with(f64::NAN),
        open_with(f64::INFINITY),
    ] {
        assert!(
            matches!(failure, Err(LoadError::Nonsense(_))),
            "{failure:?}"
        );
    }
    // One request per 200 s is none in 50 ms but the first, which is due at once.
    assert_eq!(open_with(0.005).unwrap().n_answers, 1);
}

#[test]
fn nothing_within_the_window_is_no_figure() {
    let server = RawServer::new(|_, stream| {
        wait(Duration::from_millis(300));
        say(stream, HELLO);
    });
    let failure = closed(&target(server.address, hello()), &block(2, 100)).unwrap_err();
    assert!(matches!(failure, LoadError::NoAnswers), "{failure}");
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let patience = Duration::from_millis(100);
    let server = RawServer::new(|n, stream| {
        if n < 20 {
            say(stream, HELLO);
        }
    });
    let failure = closed::run(&target(server.address, hello()), &block(3, 50), patience);
    let Err(LoadError::Hangs { n_waiting, waited }) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!((n_waiting, waited), (3, patience));

    // 20 answers came over the closed loop's connections; these get none at all.
    let block = Open {
        n_connections: 3,
        rate_per_s: 1000.0,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(50),
    };
    let failure = open::run(&target(server.address, hello()), &block, patience);
    let Err(LoadError::Hangs { n_waiting, .. }) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!(n_waiting, 50, "those that were due and never sent as well");
}

#[test]
fn a_figure_of_the_generator_is_told_from_one_of_the_server() {
    let tally = |cpu_ms, n_late| Tally {
        n_answers: 1000,
        n_answers_in_all: 1100,
        elapsed: Duration::from_millis(500),
        generator_cpu: Duration::from_millis(cpu_ms),
        n_late,
        latency: new_histogram(),
    };
    assert!(!tally(400, 0).is_client_bound());
    assert!(tally(490, 0).is_client_bound());
    assert!(!tally(400, 4).is_client_bound());
    assert!(tally(400, 6).is_client_bound());
    assert_eq!(tally(400, 0).rate_per_s(), 2000.0);
    assert_eq!(tally(400, 0).ceiling_per_s(), 2500.0);
}

#[test]
fn spinning_is_told_from_not_running() {
    let mut spun = driver::Spun::default();
    spun.add(1000, 1400);
    spun.add(1400, 1900);
    // The thread was off its core for 5 ms, which its CPU clock has not counted.
    spun.add(1900, 5_001_900);
    assert_eq!(spun.total(), Duration::from_nanos(900));
}

/// Two generators share a core: each is off it for half of the time, and neither must seem idle for that.
#[test]
fn a_generator_on_a_busy_core_still_knows_what_it_used() {
    let server = HyperServer::new("hello");
    let target = target(server.address, hello());
    let core = *crate::machine::usable_cores().unwrap().last().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let tally = std::thread::scope(|scope| {
        scope.spawn(|| {
            crate::machine::pin_current_thread(core).unwrap();
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let tally = crate::machine::on_core(core, || closed(&target, &block(2, 300)));
        over.store(true, Ordering::Relaxed);
        tally.unwrap().unwrap()
    });
    // Send, receive and two looks are never had for less than a microsecond and a half.
    assert!(
        tally.ceiling_per_s() < 666_000.0,
        "{}",
        tally.ceiling_per_s()
    );
}

#[test]
fn latencies_beyond_a_minute_count_as_a_minute() {
    let mut latency = new_histogram();
    latency.saturating_record(u64::MAX);
    latency.saturating_record(0);
    assert_eq!(latency.len(), 2);
    assert!(latency.max() >= LATENCY_NS_MAX);
}

/// The server's work: time passes on purpose, nothing is waited for.
#[allow(
    clippy::disallowed_methods,
    reason = "a server that takes its time is what is tested"
)]
fn wait(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = HyperServer::new("hello");
    let began = Instant::now();
    let block = Open {
        n_connections: 8,
        rate_per_s: 2000.0,
        warm_up: Duration::from_millis(100),
        duration: Duration::from_millis(500),
    };
    let tally = open(&target(server.address, hello()), &block).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(599));
    assert_eq!(tally.n_answers, 1000);
    assert_eq!(tally.n_answers_in_all, 1200);
    assert_eq!(server.n_requests(), 1200);
    assert_eq!(tally.rate_per_s(), 2000.0);
    assert!(tally.generator_cpu < tally.elapsed, "{tally:?}");
}

/// A server that stalls once for 200 ms. A generator that sends on when an answer came would see one slow
/// request per connection; this one owes an answer to every request that was due meanwhile.
#[test]
fn a_stall_is_charged_to_every_request_due_meanwhile() {
    let stall = Duration::from_millis(200);
    let stalled = std::sync::Mutex::new(());
    let server = RawServer::new(move |n, stream| {
        // The one that stalls holds the lock that all connections need.
        let guard = stalled.lock().unwrap();
        if n == 500 {
            wait(stall);
        }
        drop(guard);
        say(stream, HELLO);
    });
    let block = Open {
        n_connections: 4,
        rate_per_s: 1000.0,
        warm_up: Duration::from_millis(100),
        duration: Duration::from_secs(1),
    };
    let tally = open(&target(server.address, hello()), &block).unwrap();
    assert_eq!(tally.n_answers, 1000);
    let latency = &tally.latency;
    // 200 requests were due during the stall, their latencies fall evenly from 200 ms to 0: a closed
    // loop would have had 4 of 1000. At least as many above each height as the stall alone accounts for.
    for (least_ms, n_least) in [(195, 5), (150, 50), (100, 100), (50, 150)] {
        let slow = latency.count_between(least_ms * 1_000_000, u64::MAX);
        assert!(slow >= n_least, "{slow} above {least_ms} ms");
    }
    assert!(latency.value_at_quantile(0.99) >= 185_000_000);
    assert!(latency.max() >= 199_000_000);
    // What came after the stall was answered at once: the backlog does not haunt the rest.
    assert!(latency.value_at_quantile(0.25) < 100_000_000);
}

#[test]
fn a_rate_beyond_the_server_shows_as_latency() {
    // One connection, 5 ms each: 200/s at most; 400/s are due for 300 ms.
    let server = RawServer::new(|_, stream| {
        wait(Duration::from_millis(5));
        say(stream, HELLO);
    });
    let block = Open {
        n_connections: 1,
        rate_per_s: 400.0,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(300),
    };
    let tally = open(&target(server.address, hello()), &block).unwrap();
    assert_eq!(tally.n_answers, 120);
    // The last one was due at 297 ms and came after 120 times 5 ms.
    assert!(
        tally.latency.max() >= 300_000_000,
        "{:?}",
        tally.latency.max()
    );
}
