//! Crashes, full disks, and things left behind (catalogue rows A52 to A54, A70, A72, A74).

use std::process::Command;
use std::time::Duration;

use testkit::guests::wat_text;
use testkit::{Node, NodeOptions, Resources, eventually, skipped};

use crate::{HOLM, node};

/// A module that answers its number.
fn numbered(number: usize) -> Vec<u8> {
    let digits = format!("{number:06}");
    wat_text(&format!(
        r#"(module
            (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "{digits}")
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (call $write (i32.const 16) (i32.const 6))))"#
    ))
}

#[test]
fn a_node_killed_while_deploying_keeps_the_old_version_or_the_new() {
    let scratch = tempfile::tempdir().expect("a directory");
    let options = NodeOptions {
        data_dir: Some(scratch.path().join("data")),
        ..NodeOptions::default()
    };
    let mut acknowledged = 0;
    for round in 1..=12 {
        let node = Node::start(HOLM, options.clone());
        if acknowledged > 0 {
            let answer = node.get("crash", "/").text();
            let serving: usize = answer
                .parse()
                .unwrap_or_else(|_| panic!("round {round}: {answer}"));
            assert!(
                serving >= acknowledged && serving < round,
                "{serving}, {acknowledged} acked"
            );
        }
        let path = scratch.path().join("app.wasm");
        std::fs::write(&path, numbered(round)).expect("writable");
        let mut deploy = node.command(&["deploy", "--name", "crash"]);
        let mut child = deploy.arg(&path).output_later();
        // Killed at another moment in every round; the last ones come after the answer.
        let moment = Duration::from_millis(8 * round as u64);
        let done = eventually(moment, || child.try_wait().expect("ours").is_some());
        node.crash();
        let status = child.wait().expect("ours");
        if done && status.success() {
            acknowledged = round;
        }
    }
    let node = Node::start(HOLM, options);
    node.deploy_wasm("crash", &numbered(99), &[]);
    assert_eq!(node.get("crash", "/").text(), "000099");
}

/// Spawning with all streams thrown away.
trait OutputLater {
    fn output_later(&mut self) -> std::process::Child;
}

impl OutputLater for Command {
    fn output_later(&mut self) -> std::process::Child {
        self.stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the binary starts")
    }
}

/// A small file system of its own, unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if status.status.success() {
            Ok(Self(directory))
        } else {
            Err(String::from_utf8_lossy(&status.stderr).trim().to_owned())
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_deploys_and_nothing_else() {
    let disk = match Tmpfs::mount("12m") {
        Ok(disk) => disk,
        Err(reason) => return skipped("a full disk", &reason),
    };
    let options = NodeOptions {
        data_dir: Some(disk.0.path().join("data")),
        ..NodeOptions::default()
    };
    let node = Node::start(HOLM, options.clone());
    node.deploy_wasm("keep", &numbered(1), &[]);
    let filler = disk.0.path().join("filler");
    let mut n_filled = 0_u64;
    // Everything but the last few KiB, in ever smaller pieces.
    for piece in [1 << 20, 1 << 16, 1 << 12] {
        while let Ok(()) = append(&filler, piece) {
            n_filled += piece as u64;
        }
    }
    assert!(n_filled > 1 << 20);
    let refused = node.try_deploy("keep", &numbered(2), "");
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(refused.stderr.contains("H3006"), "{}", refused.stderr);
    for _ in 0..50 {
        assert_eq!(node.get("keep", "/").text(), "000001");
    }
    std::fs::remove_file(&filler).expect("it was written");
    node.deploy("keep", &numbered(3), "");
    assert_eq!(node.get("keep", "/").text(), "000003");
    node.crash();
    assert_eq!(Node::start(HOLM, options).get("keep", "/").text(), "000003");
}

fn append(path: &std::path::Path, n_bytes: usize) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    file.write_all(&vec![b'f'; n_bytes])
}

#[test]
fn redeploying_under_load_fails_no_request_and_serves_no_old_answer() {
    let node = node();
    node.deploy("live", &numbered(0), "reuse = 50\n");
    let deployed = std::sync::atomic::AtomicUsize::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    use std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = node.client();
                    let mut n_calls = 0;
                    while !stop.load(SeqCst) {
                        let at_least = deployed.load(SeqCst);
                        client.request("GET", "/function/live/", &[], b"");
                        let answer = client.answer().expect("an answer");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        let served: usize = answer.text().parse().expect("a number");
                        assert!(served >= at_least, "{served} after {at_least} was deployed");
                        n_calls += 1;
                    }
                    n_calls
                })
            })
            .collect();
        for number in 1..=25 {
            node.deploy("live", &numbered(number), "reuse = 50\n");
            deployed.store(number, SeqCst);
        }
        stop.store(true, SeqCst);
        let n_calls: usize = callers
            .into_iter()
            .map(|caller| caller.join().expect("no panic"))
            .sum();
        assert!(n_calls > 100, "{n_calls} calls are no load");
    });
}

#[test]
fn work_leaves_no_descriptor_thread_or_child_behind() {
    let node = node();
    node.deploy_wasm("warm-up", &numbered(0), &[]);
    node.get("warm-up", "/");
    let before = Resources::of(node.pid());
    for number in 1..=10 {
        node.deploy("turnover", &numbered(number), "reuse = 5\n");
        for _ in 0..20 {
            assert_eq!(node.get("turnover", "/").status, 200);
        }
    }
    node.holm(&["rm", "turnover"]).ok();
    let back = eventually(Duration::from_secs(30), || {
        let now = Resources::of(node.pid());
        now.n_fds <= before.n_fds + 4
            && now.n_children == 0
            && now.n_threads <= before.n_threads + 4
    });
    assert!(back, "{before:?}, then {:?}", Resources::of(node.pid()));
    let temporary = node.data_dir.join("tmp");
    let n_left = std::fs::read_dir(&temporary).map_or(0, Iterator::count);
    assert_eq!(n_left, 0, "files are left in {}", temporary.display());
}

#[test]
fn few_descriptors_shed_load_and_recover() {
    let mut command = Command::new("prlimit");
    if command.arg("--version").output().is_err() {
        return skipped("few descriptors", "prlimit (util-linux) is not installed");
    }
    let node = node();
    node.deploy_wasm("noop", &numbered(7), &[]);
    let pid = node.pid().to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=200:200"])
        .status();
    assert!(limited.expect("prlimit runs").success());
    let clients: Vec<_> = (0..300)
        .filter_map(|_| std::net::TcpStream::connect(node.gateway).ok())
        .collect();
    assert!(clients.len() > 100);
    drop(clients);
    let recovered = eventually(Duration::from_secs(30), || {
        std::net::TcpStream::connect(node.gateway).is_ok() && node.get("noop", "/").status == 200
    });
    assert!(recovered);
}
