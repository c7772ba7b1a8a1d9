//! The process that is killed and plagued: this test binary once more, running [`child`] only. It works
//! through numbered steps, the same for the same number, and reports each over a socket. It reports by
//! `sendto(2)`, so that faults injected into `write(2)` hit the store and not the report.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::{InvocationId, Isolation, Receipt, StartKind};
use rustix::net::SendFlags;
use store::conformance::catalog::{Change, apply};
use store::conformance::data::{artifact, artifact_bytes, function};
use store::memory::MemoryStore;
use store::{BlobStore, CatalogStore, ReceiptStore, StoreError};
use store_sqlite::{Options, SqliteStore};

use crate::random::Random;

const PLAN: &str = "HOLM_TEST_CHILD";

/// Receipts that each step appends in one batch.
pub const N_RECEIPTS_PER_STEP: u64 = 3;

/// A child must say something within this time.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What the child shall do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first step.
    pub from: u64,
    /// The step after the last.
    pub until: u64,
    /// Closes and reopens the store before this step.
    pub reopen_before: u64,
}

/// What the child said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The store is open.
    Open,
    /// The receipts of the step are kept.
    Kept(u64),
    /// The step is done, durably.
    Done(u64),
    /// The step failed and should have changed nothing, or, where its commit broke, is in doubt.
    Failed(u64, String),
    /// The store would not open.
    NotOpen(String),
    /// At the end, the open store showed just the steps that were done.
    ViewIsRight,
    /// Or it did not.
    ViewIsWrong(String),
}

/// A child at work; killed and awaited when dropped.
pub struct Child {
    process: std::process::Child,
    said: BufReader<UnixStream>,
}

impl Child {
    /// Starts a child on `data_dir`; `wrap` is a command that runs it, such as strace with arguments.
    pub fn start(data_dir: &Path, plan: Plan, wrap: &[String]) -> Self {
        let (ours, its) = UnixStream::pair().expect("sockets can be made");
        ours.set_read_timeout(Some(SILENCE_MAX)).expect("works");
        let this = std::env::current_exe().expect("a test binary has a path");
        let arguments = [
            "child::child",
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ];
        let mut command = match wrap {
            [] => Command::new(this),
            [program, options @ ..] => {
                let mut command = Command::new(program);
                command.args(options).arg(this);
                command
            }
        };
        let Plan {
            from,
            until,
            reopen_before,
        } = plan;
        let plan = format!("{from} {until} {reopen_before} {}", data_dir.display());
        // Its end of the socket is its standard input: nothing else has it, so its end is our end.
        let process = command
            .args(arguments)
            .env(PLAN, plan)
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        Self {
            process,
            said: BufReader::new(ours),
        }
    }

    /// What it says next; `None` when it ended.
    pub fn next(&mut self) -> Option<Said> {
        let mut line = String::new();
        match self.said.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Some(Said::parse(&line)),
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the child is silent: {error}"),
        }
    }

    /// Kills it (SIGKILL), and returns what it had said until then.
    pub fn kill(mut self) -> Vec<Said> {
        self.process.kill().expect("it is ours");
        self.rest()
    }

    /// Waits for its end, and returns what it had said until then.
    pub fn rest(&mut self) -> Vec<Said> {
        let said = std::iter::from_fn(|| self.next()).collect();
        self.process.wait().expect("it is ours");
        said
    }

    /// Whether it is no more.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("it is ours").is_some()
    }

    /// Waits for its end: was it SIGKILL?
    pub fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let status = self.process.wait().expect("it is ours");
        status.signal() == Some(rustix::process::Signal::KILL.as_raw())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Said {
    fn parse(line: &str) -> Self {
        let (word, rest) = line
            .trim_end()
            .split_once(' ')
            .unwrap_or((line.trim_end(), ""));
        let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match (word, number.parse()) {
            ("open", _) => Said::Open,
            ("kept", Ok(step)) => Said::Kept(step),
            ("done", Ok(step)) => Said::Done(step),
            ("failed", Ok(step)) => Said::Failed(step, text.to_owned()),
            ("not-open", _) => Said::NotOpen(rest.to_owned()),
            ("right", _) => Said::ViewIsRight,
            ("wrong", _) => Said::ViewIsWrong(rest.to_owned()),
            _ => panic!("the child said {line:?}"),
        }
    }
}

/// The change of a step.
pub fn change_of(step: u64) -> Change {
    let mut random = Random::of(step);
    let n = random.below(5) as usize;
    match random.below(10) {
        0 => Change::Remove { n },
        1 | 2 => Change::Promote {
            n,
            version: 1 + random.below(6),
        },
        choice => {
            let content = random.below(40) as usize;
            Change::Publish {
                n,
                content,
                promote: choice != 3,
            }
        }
    }
}

/// The receipts of a step.
pub fn receipts_of(step: u64) -> Vec<Receipt> {
    let receipt = |index| Receipt {
        id: InvocationId::new(step * 1000 + index, [0; 10]),
        function: function((step % 7) as usize),
        version: 1,
        isolation: Isolation::Wasm,
        start: StartKind::Fresh,
        accepted_unix_ms: step * 1000 + index,
        queue_ns: 1,
        start_ns: 2,
        init_ns: 3,
        run_ns: 4,
        cpu_ns: 5,
        memory_peak_bytes: 6,
        bytes_in: 7,
        bytes_out: 8,
        log_bytes: 9,
        log_dropped_bytes: 10,
        status: 200,
        error: None,
        price_nano: 11,
    };
    (0..N_RECEIPTS_PER_STEP).map(receipt).collect()
}

/// Does a step: the blob, the change, the receipts; now and then garbage collection.
fn do_step(store: &SqliteStore, step: u64, say: &dyn Fn(String)) -> Result<(), StoreError> {
    let change = change_of(step);
    if let Change::Publish { content, .. } = change {
        let artifact = artifact(content);
        store.put(
            artifact.digest,
            &mut artifact_bytes(content).as_slice(),
            artifact.size_bytes,
        )?;
    }
    apply(store, &change, step)?;
    // From here on nothing may fail the step: its change is in.
    if store.append(&receipts_of(step)).is_ok() {
        say(format!("kept {step}"));
    }
    if step % 8 == 7
        && let Ok(state) = store.load()
    {
        let versions = state
            .functions
            .iter()
            .flat_map(|function| &function.versions);
        let needed: Vec<_> = versions.map(|version| version.artifact.digest).collect();
        let _ = store.collect_garbage(&|digest| needed.contains(&digest));
    }
    Ok(())
}

/// Opens as the children and the checks do: garbage goes at once.
pub fn open(data_dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open_with(
        data_dir,
        Options {
            blob_grace: Duration::ZERO,
        },
    )
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Ok(plan) = std::env::var(PLAN) else {
        println!("skipped: no plan in {PLAN}, so no test started this");
        return;
    };
    let mut words = plan.splitn(4, ' ');
    let mut number = || {
        words
            .next()
            .expect("a word")
            .parse::<u64>()
            .expect("a number")
    };
    let plan = Plan {
        from: number(),
        until: number(),
        reopen_before: number(),
    };
    let data_dir = Path::new(words.next().expect("a path"));
    let say = |line: String| {
        let line = format!("{}\n", line.replace('\n', " "));
        // A parent that hung up is done with us.
        let _ = rustix::net::send(std::io::stdin(), line.as_bytes(), SendFlags::NOSIGNAL);
    };
    run(plan, data_dir, &say);
}

fn run(plan: Plan, data_dir: &Path, say: &dyn Fn(String)) {
    // What the store must show at the end, when it began empty. The fault may hit this, but only once.
    let empty = || MemoryStore::new(Duration::ZERO);
    let expected = empty()
        .or_else(|_| empty())
        .expect("a temporary directory can be made");
    let mut store = None;
    for step in plan.from..plan.until {
        if step == plan.reopen_before {
            store = None;
        }
        if store.is_none() {
            match open(data_dir) {
                Ok(opened) => store = Some(opened),
                Err(error) => return say(format!("not-open {error}")),
            }
            say("open".to_owned());
        }
        let open = store.as_ref().expect("it was just opened");
        match do_step(open, step, say) {
            Ok(()) => {
                apply(&expected, &change_of(step), step).expect("memory does not fail");
                say(format!("done {step}"));
            }
            Err(error) => say(format!("failed {step} {error}")),
        }
    }
    if let (0, Some(store)) = (plan.from, store) {
        let expected = expected.load().expect("memory does not fail");
        // The one fault may hit a read here.
        match store.load().or_else(|_| store.load()) {
            Ok(state) if state == expected => say("right".to_owned()),
            Ok(_) => say("wrong state".to_owned()),
            Err(error) => say(format!("wrong {error}")),
        }
    }
}
