//! Counting in a child process whose instructions are known: this test binary again, running one test,
//! whose thread executes loops of the lengths that it is told.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::error::CountError;
use super::stepper::{Caller, Stepper};
use super::tracee::{Tid, Tracee};
use super::watchdog::Watchdog;
use super::{registers, threads};
use crate::lab::RowError;

/// Tells a process that it is the child, and where its parent listens.
const SOCKET: &str = "HOLM_TEST_COUNTED_SOCKET";

/// The child's thread.
const THREAD: &str = "counted";

/// Enough for anything here, on any machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the child's thread is to do for one request: nine bytes.
#[derive(Clone, Copy)]
enum Work {
    /// Turns of a loop of two instructions.
    Loop(u64),
    /// Repetitions of one instruction.
    Repeat(u64),
    /// Looks at its events without waiting, and a wait that ends without any, so many times.
    Waits(u64),
    /// A signal to itself.
    Raise(Signal),
}

/// Nothing can be counted here, and that was said.
fn cannot_count(test: &str) -> bool {
    let reason = match (registers::unsupported(), refusal()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(reason)) => reason,
        (None, None) => return false,
    };
    super::skips::skipped(test, &reason).expect("the file of skips can be written");
    true
}

/// Why this system refuses to trace a child.
fn refusal() -> Option<String> {
    let mut child = Command::new("sleep").arg("60").spawn().expect("starts");
    let held = Tracee::hold(Tid::new(child.id()).expect("an id")).map(drop);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    match held {
        Ok(()) => None,
        Err(error @ CountError::Refused(_)) => Some(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// The child, and what connects it.
struct Counted {
    child: Child,
    caller: Socket,
    _directory: tempfile::TempDir,
}

struct Socket {
    stream: UnixStream,
    work: Work,
}

impl Counted {
    /// Starts the child; its thread waits.
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(["instructions::tests::a_child_that_is_counted", "--exact"])
            .env(SOCKET, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test binary starts");
        let (stream, _) = listener.accept().expect("it connects");
        Self {
            child,
            caller: Socket {
                stream,
                work: Work::Loop(1),
            },
            _directory: directory,
        }
    }

    fn tid(&self) -> Tid {
        let tid = threads::find(self.child.id(), THREAD).expect("it runs");
        tid.expect("it has the thread, as that has connected")
    }

    /// The instructions of one request.
    fn count(&mut self, stepper: &mut Stepper, work: Work) -> Result<u64, CountError> {
        self.caller.work = work;
        stepper.count(&mut self.caller)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Caller for Socket {
    fn send(&mut self) -> Result<(), CountError> {
        let (kind, n) = match self.work {
            Work::Loop(n) => (0, n),
            Work::Repeat(n) => (1, n),
            Work::Waits(n) => (2, n),
            Work::Raise(signal) => (3, u64::from(signal.as_raw().unsigned_abs())),
        };
        let mut message = [kind; 9];
        message[1..].copy_from_slice(&n.to_le_bytes());
        Ok(self.stream.write_all(&message)?)
    }

    fn is_answered(&mut self) -> Result<bool, CountError> {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.stream, &mut [0_u8; 1], flags) {
            Ok((n, _)) => Ok(n == 1),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(CountError::Io(error.into())),
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Not a test of its own but the child of the others: without the variable it has nothing to do.
#[test]
fn a_child_that_is_counted() {
    let Some(path) = std::env::var_os(SOCKET) else {
        return;
    };
    let thread = std::thread::Builder::new().name(THREAD.to_owned());
    let thread = thread.spawn(move || serve(PathBuf::from(path)));
    thread.expect("a thread").join().expect("it ends");
}

fn serve(path: PathBuf) {
    let mut stream = UnixStream::connect(path).expect("the parent listens");
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
    let epoll = epoll.expect("an epoll");
    let data = rustix::event::epoll::EventData::new_u64(0);
    let flags = rustix::event::epoll::EventFlags::IN;
    rustix::event::epoll::add(&epoll, &stream, data, flags).expect("added");
    let mut message = [0; 9];
    loop {
        wait(&epoll, None);
        match stream.read(&mut message).expect("the parent writes") {
            0 => return,
            n => assert_eq!(n, message.len(), "one message at a time"),
        }
        let n = u64::from_le_bytes(message[1..].try_into().expect("eight bytes"));
        match message[0] {
            0 => turns(n),
            1 => repetitions(n),
            2 => (0..n).for_each(|_| {
                wait(&epoll, Some(Timespec::default()));
                let one = Duration::from_millis(1);
                wait(&epoll, Some(Timespec::try_from(one).expect("one")));
            }),
            _ => raise(i32::try_from(n).expect("a signal")),
        }
        stream.write_all(&[1]).expect("the parent reads");
    }
}

/// Being stopped interrupts a wait.
fn wait(epoll: &std::os::fd::OwnedFd, timeout: Option<Timespec>) {
    let mut events: Vec<rustix::event::epoll::Event> = Vec::with_capacity(1);
    let wait = || {
        let space = rustix::buffer::spare_capacity(&mut events);
        rustix::event::epoll::wait(epoll, space, timeout.as_ref())
    };
    rustix::io::retry_on_intr(wait).expect("the epoll is open");
}

/// USR1 is handled, others are not.
fn raise(signal: libc::c_int) {
    extern "C" fn handled(_: libc::c_int) {}
    // SAFETY: the handler does nothing, so it may run anywhere; both calls only take numbers.
    let raised = unsafe {
        libc::signal(libc::SIGUSR1, handled as *const () as libc::sighandler_t);
        libc::raise(signal)
    };
    assert_eq!(raised, 0);
}

#[cfg(target_arch = "x86_64")]
fn turns(n: u64) {
    // SAFETY: counts a register down to zero; n is at least 1.
    unsafe { std::arch::asm!("2: dec {n}", "jnz 2b", n = inout(reg) n => _) };
}

#[cfg(target_arch = "x86_64")]
fn repetitions(n: u64) {
    let mut bytes = vec![0_u8; usize::try_from(n).expect("few")];
    // SAFETY: writes n zeros to a vector of that length; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!("rep stosb", inout("rcx") n => _, inout("rdi") bytes.as_mut_ptr() => _,
            in("al") 0_u8, options(nostack));
    }
    assert_eq!(bytes.last(), Some(&0));
}

#[cfg(not(target_arch = "x86_64"))]
fn turns(_n: u64) {}

#[cfg(not(target_arch = "x86_64"))]
fn repetitions(_n: u64) {}

#[test]
fn a_loop_is_counted_to_the_instruction() {
    if cannot_count("counting a loop") {
        return;
    }
    let mut counted = Counted::start();
    let mut stepper = Stepper::hold(counted.tid()).expect("held");
    let mut count = |n| counted.count(&mut stepper, Work::Loop(n)).expect("counted");
    count(1);
    let few = count(100);
    for n in [200, 1_000, 100] {
        // `dec` and `jnz` for each turn.
        assert_eq!(count(n), few + 2 * (n - 100), "{n} turns");
    }
}

#[test]
fn a_repeated_instruction_counts_once() {
    if cannot_count("counting a repeated instruction") {
        return;
    }
    let mut counted = Counted::start();
    let mut stepper = Stepper::hold(counted.tid()).expect("held");
    let mut count = |n| {
        counted
            .count(&mut stepper, Work::Repeat(n))
            .expect("counted")
    };
    count(100);
    // One size class of the allocator, so that all else is the same.
    assert_eq!(count(100), count(104));
}

#[test]
fn a_request_may_wait_in_between() {
    if cannot_count("counting across waits") {
        return;
    }
    let mut counted = Counted::start();
    let mut stepper = Stepper::hold(counted.tid()).expect("held");
    let mut count = |n| {
        counted
            .count(&mut stepper, Work::Waits(n))
            .expect("counted")
    };
    let (none, one, three) = (count(0), count(1), count(3));
    assert!(none < one && one < three, "{none} {one} {three}");
}

#[test]
fn a_thread_runs_on_when_it_is_let_go() {
    if cannot_count("letting go") {
        return;
    }
    let mut counted = Counted::start();
    for _ in 0..3 {
        let tid = counted.tid();
        let mut stepper = Stepper::hold(tid).expect("held");
        counted
            .count(&mut stepper, Work::Loop(10))
            .expect("counted");
        drop(stepper);
        counted.caller.send().expect("sent");
        let mut answer = [0];
        counted
            .caller
            .stream
            .read_exact(&mut answer)
            .expect("answered");
    }
}

#[test]
fn signals_reach_the_thread() {
    if cannot_count("signals") {
        return;
    }
    let mut counted = Counted::start();
    let mut stepper = Stepper::hold(counted.tid()).expect("held");
    let handled = counted.count(&mut stepper, Work::Raise(Signal::USR1));
    assert!(handled.expect("counted") > 0);
    let error = counted.count(&mut stepper, Work::Raise(Signal::USR2));
    let error = error.expect_err("ended");
    assert!(matches!(error, CountError::Ended), "{error}");
    drop(stepper);
    let status = counted.child.wait().expect("it has ended");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(Signal::USR2.as_raw()));
}

#[test]
fn a_thread_that_does_not_come_to_an_end_is_killed() {
    if cannot_count("a limit of time") {
        return;
    }
    let mut counted = Counted::start();
    let mut stepper = Stepper::hold(counted.tid()).expect("held");
    let limit = Duration::from_millis(100);
    let watchdog = Watchdog::over(counted.child.id(), limit).expect("a thread");
    let error = counted.count(&mut stepper, Work::Loop(u64::MAX));
    let error = watchdog.explain(error.expect_err("killed"));
    assert!(matches!(error, CountError::TimedOut(_)), "{error}");
    drop(stepper);
    assert!(!counted.child.wait().expect("it has ended").success());
}

#[test]
fn a_watchdog_that_is_called_off_does_not_bite() {
    let mut counted = Counted::start();
    drop(Watchdog::over(counted.child.id(), TIMEOUT).expect("a thread"));
    counted.caller.send().expect("sent");
    let socket = PollFd::from_borrowed_fd(counted.caller.stream.as_fd(), PollFlags::IN);
    let timeout = Timespec::try_from(TIMEOUT).expect("a minute");
    assert_eq!(poll(&mut [socket], Some(&timeout)), Ok(1));
    assert!(counted.caller.is_answered().expect("it runs"));
}

/// The kernel refuses this whoever asks: a process does not trace its own threads.
#[test]
fn a_refusal_is_something_missing_and_no_failure() {
    let own = Tid::new(std::process::id()).expect("an id");
    let error = Tracee::hold(own).expect_err("refused");
    assert!(matches!(error, CountError::Refused(_)), "{error}");
    let RowError::Missing(reason) = RowError::from(error) else {
        panic!("not a failure");
    };
    assert!(
        reason.contains("refused") && reason.contains("seccomp"),
        "{reason}"
    );
}

#[test]
fn a_process_that_has_ended_is_no_refusal() {
    let mut child = Command::new("true").spawn().expect("starts");
    let tid = Tid::new(child.id()).expect("an id");
    child.wait().expect("it ends");
    let error = Tracee::hold(tid).expect_err("gone");
    assert!(matches!(error, CountError::Ended), "{error}");
    assert_eq!(Tid::new(0), None);
    assert_eq!(Tid::new(u32::MAX), None);
}
