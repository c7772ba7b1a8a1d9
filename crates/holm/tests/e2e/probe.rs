//! `wasi:http` 0.2 by a Rust component that does by path what functions do and must not do.

use std::sync::OnceLock;

use testkit::guests::cargo;
use testkit::{Node, skipped};

use crate::node;

/// The component's bytes; `None` where this machine cannot build it, which is said once.
pub fn http_probe() -> Option<Vec<u8>> {
    static PROBE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    PROBE
        .get_or_init(
            || match cargo("tests/fixtures/http-probe", "wasm32-wasip2") {
                Ok(wasm) => Some(wasm),
                Err(reason) => {
                    skipped("the wasi:http 0.2 probe", &reason);
                    None
                }
            },
        )
        .clone()
}

/// The same for `wasi:http` 0.3.
fn http_probe_p3() -> Option<Vec<u8>> {
    match cargo("tests/fixtures/http-probe-p3", "wasm32-wasip2") {
        Ok(wasm) => Some(wasm),
        Err(reason) => {
            skipped("the wasi:http 0.3 probe", &reason);
            None
        }
    }
}

fn probe_node(manifest: &str) -> Option<Node> {
    let wasm = http_probe()?;
    let node = node();
    let deployed = node.deploy("probe", &wasm, manifest);
    assert_eq!(deployed["contract"], "wasi:http/0.2");
    Some(node)
}

#[test]
fn a_component_answers_streams_and_is_fresh() {
    let Some(node) = probe_node("[env]\nGREETING = \"moin\"\n") else {
        return;
    };
    for _ in 0..20 {
        assert_eq!(node.get("probe", "/counter").text().trim(), "1");
    }
    let big = node.get("probe", "/big?bytes=5000000");
    assert_eq!(
        (big.status, big.body.len(), big.is_whole),
        (200, 5_000_000, true)
    );
    let body = vec![b'z'; 3_000_000];
    let echoed = node.post("probe", "/echo", &body);
    assert_eq!((echoed.status, echoed.body == body), (200, true));
    assert!(node.get("probe", "/env").text().contains("moin"));
    let seen = node.get("probe", "/headers?x=1").json();
    assert_eq!(
        seen["method"]
            .as_str()
            .map(str::to_ascii_uppercase)
            .as_deref(),
        Some("GET")
    );
    assert!(seen.to_string().contains("/headers?x=1"), "{seen}");
}

#[test]
fn a_component_fails_in_every_way_and_the_node_goes_on() {
    let limits = "[limits]\ntimeout = \"1s\"\ncpu_ms = 300\nmemory = \"64MiB\"\n";
    let Some(node) = probe_node(limits) else {
        return;
    };
    for (path, codes) in [
        ("/trap", &["H2001"][..]),
        ("/panic", &["H2001"]),
        ("/exit?code=3", &["H2005", "H2001"]),
        ("/recurse", &["H2001"]),
        ("/pending", &["H2002"]),
        ("/no-response", &["H2006"]),
        ("/error-response", &["H2010"]),
        ("/spin?ms=5000", &["H2003"]),
        ("/sleep?ms=5000", &["H2002"]),
    ] {
        let answer = node.get("probe", path);
        let code = answer
            .code()
            .unwrap_or_else(|| panic!("{path}: {}", answer.text()));
        assert!(
            codes.contains(&code.as_str()),
            "{path}: {code}, {}",
            answer.text()
        );
        assert_eq!(
            node.get("probe", "/counter").text().trim(),
            "1",
            "after {path}"
        );
    }
    for path in [
        "/trap-mid-stream",
        "/content-length-lie?declared=100&actual=10",
    ] {
        let answer = node.get("probe", path);
        assert!(
            answer.code().is_some() || !answer.is_whole,
            "{path} looks whole"
        );
    }
    let long = node.get("probe", "/content-length-lie?declared=10&actual=100");
    assert!(
        long.code().is_some() || long.body.len() <= 10,
        "more than announced went out"
    );
}

#[test]
fn a_component_cannot_set_what_is_not_its_own() {
    let Some(node) = probe_node("") else { return };
    for which in [
        "crlf",
        "nul",
        "name",
        "connection",
        "transfer-encoding",
        "upgrade",
        "host",
    ] {
        let answer = node.get("probe", &format!("/bad-header?which={which}"));
        assert!(answer.header("x-injected").is_none(), "{which}");
        assert!(answer.header("upgrade").is_none(), "{which}");
        assert_eq!(node.get("probe", "/counter").status, 200, "after {which}");
    }
}

#[test]
fn host_calls_are_limited() {
    let Some(node) = probe_node("[limits]\ntimeout = \"5s\"\nmemory = \"64MiB\"\n") else {
        return;
    };
    let before = testkit::Resources::of(node.pid());
    for path in [
        "/random-flood?bytes=1099511627776",
        "/many-pollables?n=1000000",
        "/many-headers?n=100000&bytes=100",
    ] {
        let answer = node.get("probe", path);
        eprintln!("{path}: {} {:?}", answer.status, answer.code());
        assert_eq!(
            node.get("probe", "/counter").text().trim(),
            "1",
            "after {path}"
        );
    }
    let grown = testkit::Resources::of(node.pid())
        .rss_bytes
        .saturating_sub(before.rss_bytes);
    assert!(grown < 200 * 1024 * 1024, "{grown} bytes");
}

#[test]
fn output_goes_to_the_log() {
    let Some(node) = probe_node("") else { return };
    node.get("probe", "/stdout?lines=3&bytes=10");
    let logs = node.holm(&["logs", "probe", "--json"]).ok().stdout;
    assert!(
        logs.contains("\"stdout\"") && logs.contains("\"stderr\""),
        "{logs}"
    );
}

#[test]
fn outbound_requests_are_denied_by_default() {
    let Some(node) = probe_node("") else { return };
    let denied = node.get("probe", "/fetch?url=http://127.0.0.1:9/");
    assert_eq!(denied.status, 502, "{}", denied.text());
    assert!(
        denied.text().to_lowercase().contains("denied"),
        "{}",
        denied.text()
    );
}

#[test]
fn the_body_limit_holds_for_both_versions_of_wasi_http() {
    for probe in [http_probe(), http_probe_p3()] {
        let Some(wasm) = probe else { continue };
        let node = node();
        node.deploy(
            "probe",
            &wasm,
            "[limits]\nbody = 100000\ntimeout = \"2s\"\n",
        );
        for path in ["/big?bytes=1000", "/big?bytes=100000"] {
            let answer = node.get("probe", path);
            assert!(answer.status == 200 && answer.is_whole, "{path}");
        }
        for path in ["/big?bytes=100001", "/big?bytes=10000000", "/infinite"] {
            let answer = node.get("probe", path);
            assert!(
                answer.status == 502 || !answer.is_whole,
                "{path} looks whole"
            );
            assert!(
                answer.body.len() <= 100_000,
                "{path}: {}",
                answer.body.len()
            );
            let receipt = node.receipt(&answer);
            assert_eq!(receipt["receipt"]["error"], "H2008", "{path}: {receipt}");
        }
        // Nobody reads the answer to HEAD, yet it has the same limits and a receipt.
        let mut client = node.client();
        client.request(
            "HEAD",
            "/function/probe/infinite",
            &[("connection", "close")],
            b"",
        );
        let (status, headers) = client.head().expect("a head");
        let id = headers
            .iter()
            .find(|(name, _)| name == "holm-invocation-id");
        let (_, id) = id.expect("every answer has an id");
        let receipt = node.holm(&["receipt", id, "--json"]).ok().json();
        eprintln!("HEAD: {status}, {}", receipt["receipt"]["error"]);
        assert_ne!(
            receipt["receipt"]["error"],
            serde_json::Value::Null,
            "{receipt}"
        );
        let long = node.post("probe", "/upload", &[b'x'; 100_001]);
        assert_eq!(long.code().as_deref(), Some("H1005"), "{}", long.text());
    }
}
