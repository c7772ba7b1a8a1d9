//! Tests of the logs: bounds, readers, fairness.

use std::sync::atomic::AtomicU64;

use runtime::LogStream;

use super::*;

const FUNCTION: &str = "hello";

fn key(text: &str) -> FunctionKey {
    text.parse().expect("a valid name")
}

fn id(n: u8) -> InvocationId {
    InvocationId::new(u64::from(n), [n; 10])
}

fn logs(config: LogsConfig) -> Arc<Logs> {
    let now = AtomicU64::new(0);
    Logs::new(
        config,
        Arc::new(move || now.fetch_add(1, Ordering::Relaxed)),
    )
}

fn write(logs: &Logs, function: &str, invocation: u8, text: &str) {
    logs.write(&LogLine {
        invocation: id(invocation),
        function: &key(function),
        version: 1,
        stream: LogStream::Stdout,
        text: text.as_bytes(),
    });
}

fn texts(entries: &[LogEntry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| std::str::from_utf8(&entry.text).expect("UTF-8"))
        .collect()
}

/// What the rings really hold must be what is counted.
fn check_bytes(logs: &Logs) {
    let rings: usize = logs
        .functions
        .read()
        .values()
        .map(|log| log.ring.lock().n_bytes())
        .sum();
    assert_eq!(logs.n_bytes.load(Ordering::Relaxed), rings);
    assert!(rings <= logs.config.bytes_max, "{rings}");
}

#[test]
fn the_tail_is_what_was_written_last() {
    let logs = logs(LogsConfig::default());
    for (invocation, text) in [(1, "a"), (2, "b"), (1, "c\u{1b}[2J"), (2, "d")] {
        write(&logs, FUNCTION, invocation, text);
    }
    write(&logs, "other", 1, "x");
    let function = key(FUNCTION);
    assert_eq!(
        texts(&logs.tail(&function, None, 3)),
        ["b", "c\u{1b}[2J", "d"]
    );
    assert_eq!(
        texts(&logs.tail(&function, Some(id(1)), 9)),
        ["a", "c\u{1b}[2J"]
    );
    assert_eq!(texts(&logs.tail(&function, Some(id(9)), 9)), [""; 0]);
    assert_eq!(texts(&logs.tail(&key("none"), None, 9)), [""; 0]);
    let last = &logs.tail(&function, None, 1)[0];
    assert_eq!(
        (last.time_unix_ms, last.invocation, last.version),
        (3, id(2), 1)
    );
}

#[test]
fn a_function_keeps_to_its_bounds() {
    let config = LogsConfig {
        function_bytes_max: 4_000,
        function_lines_max: 5,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    for n in 0..20 {
        write(&logs, FUNCTION, 1, &n.to_string());
    }
    let function = key(FUNCTION);
    assert_eq!(
        texts(&logs.tail(&function, None, 99)),
        ["15", "16", "17", "18", "19"]
    );
    write(&logs, FUNCTION, 1, &"x".repeat(3_700));
    assert_eq!(logs.tail(&function, None, 99).len(), 2);
    // A line longer than everything leaves nothing, and does no harm.
    write(&logs, FUNCTION, 1, &"x".repeat(5_000));
    assert_eq!(logs.tail(&function, None, 99).len(), 0);
    write(&logs, FUNCTION, 1, "after");
    assert_eq!(texts(&logs.tail(&function, None, 99)), ["after"]);
    check_bytes(&logs);
}

#[test]
fn a_noisy_function_loses_its_own_lines_first() {
    let config = LogsConfig {
        function_bytes_max: 1 << 20,
        bytes_max: 100_000,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    for n in 0..10 {
        write(&logs, &format!("quiet{n}"), 1, "one line");
    }
    for _ in 0..10_000 {
        write(&logs, "noisy", 1, &"x".repeat(100));
        write(&logs, "noisy2", 1, "");
    }
    check_bytes(&logs);
    for n in 0..10 {
        let tail = logs.tail(&key(&format!("quiet{n}")), None, 9);
        assert_eq!(texts(&tail), ["one line"]);
    }
    assert!(logs.tail(&key("noisy"), None, usize::MAX).len() > 50);
}

#[test]
fn the_number_of_functions_is_bounded() {
    let config = LogsConfig {
        n_functions_max: 16,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    let followed = logs.follow(&key("followed"), None, 0);
    for n in 0..100 {
        write(&logs, &format!("f{n}"), 1, "x");
        assert!(logs.functions.read().len() <= 16);
    }
    check_bytes(&logs);
    assert!(logs.functions.read().contains_key(&key("followed")));
    assert_eq!(logs.tail(&key("f99"), None, 1).len(), 1);
    assert_eq!(logs.tail(&key("f0"), None, 1).len(), 0);
    drop(followed);
}

#[tokio::test]
async fn a_follower_gets_the_tail_and_every_new_line() {
    let logs = logs(LogsConfig::default());
    let function = key(FUNCTION);
    write(&logs, FUNCTION, 1, "old");
    write(&logs, FUNCTION, 1, "tail");
    let mut follower = logs.follow(&function, None, 1);
    assert_eq!(texts(&[follower.next().await.expect("a line")]), ["tail"]);
    assert_eq!(follower.try_next(), None);
    let writer = tokio::spawn({
        let logs = Arc::clone(&logs);
        async move {
            for n in 0..1_000 {
                write(&logs, FUNCTION, 2, &n.to_string());
                if n % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    for n in 0..1_000 {
        let entry = follower.next().await.expect("a line");
        assert_eq!(
            (texts(std::slice::from_ref(&entry)), entry.n_missed),
            (vec![n.to_string().as_str()], 0)
        );
    }
    writer.await.expect("it only writes");
}

#[tokio::test]
async fn a_follower_of_an_invocation_gets_its_lines_only() {
    let logs = logs(LogsConfig::default());
    // Nothing was ever written: following works all the same.
    let mut follower = logs.follow(&key(FUNCTION), Some(id(2)), 10);
    for (invocation, text) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
        write(&logs, FUNCTION, invocation, text);
    }
    assert_eq!(texts(&[follower.next().await.expect("a line")]), ["b"]);
    assert_eq!(texts(&[follower.next().await.expect("a line")]), ["d"]);
    assert_eq!(follower.try_next(), None);
    let mut again = logs.follow(&key(FUNCTION), Some(id(1)), 1);
    assert_eq!(texts(&[again.next().await.expect("a line")]), ["c"]);
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed() {
    let config = LogsConfig {
        function_lines_max: 10,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    let mut follower = logs.follow(&key(FUNCTION), None, 0);
    for n in 0..25 {
        write(&logs, FUNCTION, 1, &n.to_string());
    }
    let entry = follower.next().await.expect("a line");
    assert_eq!(
        (texts(std::slice::from_ref(&entry)), entry.n_missed),
        (vec!["15"], 15)
    );
    let entry = follower.next().await.expect("a line");
    assert_eq!(
        (texts(std::slice::from_ref(&entry)), entry.n_missed),
        (vec!["16"], 0)
    );
}

#[tokio::test]
async fn followers_of_a_removed_function_come_to_the_end() {
    let logs = logs(LogsConfig::default());
    let function = key(FUNCTION);
    let mut follower = logs.follow(&function, None, 0);
    let waiting = tokio::spawn(async move { follower.next().await });
    tokio::task::yield_now().await;
    write(&logs, "other", 1, "x");
    logs.forget(&function);
    assert_eq!(waiting.await.expect("no panic"), None);
    // A function of the same name starts with an empty log.
    write(&logs, FUNCTION, 1, "new");
    assert_eq!(texts(&logs.tail(&function, None, 9)), ["new"]);
    check_bytes(&logs);
}

#[test]
fn long_lines_are_cut_and_metrics_count() {
    let config = LogsConfig {
        function_lines_max: 1,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    write(&logs, FUNCTION, 1, &"x".repeat(LOG_LINE_BYTES_MAX + 1));
    assert_eq!(
        logs.tail(&key(FUNCTION), None, 1)[0].text.len(),
        LOG_LINE_BYTES_MAX
    );
    write(&logs, FUNCTION, 1, "");
    let mut text = PrometheusText::default();
    logs.render(&mut text);
    let text = text.into_string();
    assert!(text.contains("\nholm_log_lines_total 2\n"), "{text}");
    assert!(
        text.contains("\nholm_log_lines_evicted_total 1\n"),
        "{text}"
    );
}

#[test]
fn writers_and_trimmers_on_many_threads_agree_on_the_bytes() {
    let config = LogsConfig {
        bytes_max: 50_000,
        n_functions_max: 8,
        ..LogsConfig::default()
    };
    let logs = logs(config);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let logs = &logs;
            scope.spawn(move || {
                for n in 0..2_000_usize {
                    let function = format!("f{}", (n * 7 + usize::from(thread)) % 12);
                    write(logs, &function, thread, &"x".repeat(n % 100));
                    if n % 97 == 0 {
                        logs.forget(&key(&function));
                    }
                }
            });
        }
    });
    // Who lost the race for trimming left it to the other; one more line brings it back.
    write(&logs, "f0", 0, "");
    check_bytes(&logs);
}
