//! Tests of the manifest: what is read, what every fault says, and that nothing panics.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::route::PathPattern;

/// The faults of `text`, one per line, must be `expected`.
#[track_caller]
fn check(text: &str, expected: &str) {
    let error = parse(text, "holm.toml").expect_err("the manifest has faults");
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let found = error.to_string();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "\n{found}");
}

const EVERYTHING: &str = r#"
name = "shop"
namespace = "team"
isolation = "v8"
runtime = "node"
handler = "index.handle"
main = "src/index.js"
image = "ghcr.io/acme/shop:1"
reuse = 100

[build]
command = "npm run build"
output = "dist"
target = "es2022"

[env]
GREETING = "Hello"
EMPTY = ""

[limits]
memory = "256MiB"
cpu_ms = 500
timeout = "2m"
start_timeout = "500ms"
concurrency = 10
body = 1_000
log = "64kB"

[egress]
allow = ["api.example.com", "private:localhost:9000"]

[[routes]]
host = "shop.example.com"
path = "/*"

[[routes]]
path = "/shop/cart"
methods = ["GET", "POST"]
"#;

#[test]
fn every_key_is_read() {
    let manifest = parse(EVERYTHING, "holm.toml").expect("valid");
    let text = |text: &str| Some(text.to_owned());
    let expected = Manifest {
        name: FunctionName::new("shop").ok(),
        namespace: Namespace::new("team").ok(),
        isolation: Some(Isolation::V8),
        runtime: text("node"),
        handler: text("index.handle"),
        main: text("src/index.js"),
        image: text("ghcr.io/acme/shop:1"),
        build: Some(Build {
            command: text("npm run build"),
            output: text("dist"),
            target: text("es2022"),
        }),
        env: BTreeMap::from([
            ("GREETING".to_owned(), "Hello".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]),
        limits: LimitsWritten {
            memory_bytes_max: Some(256 << 20),
            cpu_ms_max: Some(500),
            timeout_ms: Some(120_000),
            start_timeout_ms: Some(500),
            concurrency_max: Some(10),
            body_bytes_max: Some(1_000),
            log_bytes_max: Some(64_000),
        },
        egress: vec![
            "api.example.com".parse().expect("a rule"),
            "private:localhost:9000".parse().expect("a rule"),
        ],
        reuse: Some(100),
        routes: vec![
            Route {
                host: text("shop.example.com"),
                path: PathPattern::Prefix("/".to_owned()),
                methods: Vec::new(),
            },
            Route {
                host: None,
                path: PathPattern::Exact("/shop/cart".to_owned()),
                methods: vec!["GET".to_owned(), "POST".to_owned()],
            },
        ],
    };
    assert_eq!(manifest, expected);
    assert_eq!(parse(&manifest.to_toml(), "again"), Ok(manifest));
}

#[test]
fn an_empty_manifest_gives_the_defaults() {
    let manifest = parse("", "holm.toml").expect("valid");
    assert_eq!(manifest, Manifest::default());
    assert_eq!(manifest.to_toml(), "");
    for isolation in Isolation::ALL {
        assert_eq!(
            manifest.resolve(isolation),
            FunctionConfig::defaults(isolation)
        );
    }
}

#[test]
fn what_is_written_goes_before_defaults() {
    let text = "isolation = \"gvisor\"\nreuse = 3\n[limits]\nmemory = \"1GiB\"";
    let config = parse(text, "holm.toml")
        .expect("valid")
        .resolve(Isolation::Wasm);
    assert_eq!(config.isolation, Isolation::Gvisor);
    assert_eq!(config.reuse, 3);
    assert_eq!(config.limits.memory_bytes_max, 1 << 30);
    // The class of the manifest, not the default one, gives the other limits.
    assert_eq!(config.limits.start_timeout_ms, 60_000);
}

#[test]
fn the_class_follows_from_the_artifact() {
    for (text, artifact, isolation) in [
        ("", ArtifactKind::Wasm, Isolation::Wasm),
        ("runtime = 'python'", ArtifactKind::Wasm, Isolation::Wasm),
        ("image = 'x'", ArtifactKind::Image, Isolation::Container),
        (
            "runtime = 'python'",
            ArtifactKind::Zip,
            Isolation::Container,
        ),
        ("main = 'a.ts'", ArtifactKind::Zip, Isolation::V8),
        (
            "main = 'a.js'\nruntime = 'node'",
            ArtifactKind::Zip,
            Isolation::Container,
        ),
        ("", ArtifactKind::Zip, Isolation::Container),
    ] {
        let manifest = parse(text, "holm.toml").expect("valid");
        assert_eq!(manifest.default_isolation(artifact), isolation, "{text}");
    }
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    check(
        r#"
nmae = "a"
memory = "1MiB"
colour = 1
[limits]
memroy = "1MiB"
start-timeout = "1s"
name = "a"
[build]
comand = "make"
[[routes]]
path = "/a"
mehtods = ["GET"]
[egress]
alow = []
"#,
        "
        holm.toml:2:1: nmae: unknown key; did you mean `name`?
        holm.toml:3:1: memory: unknown key here: it belongs under `[limits]`
        holm.toml:4:1: colour: unknown key; known are name, namespace, isolation, runtime, handler, main, image, reuse, build, env, limits, egress, routes
        holm.toml:6:1: limits.memroy: unknown key; did you mean `memory`?
        holm.toml:7:1: limits.start-timeout: unknown key; did you mean `start_timeout`?
        holm.toml:8:1: limits.name: unknown key here: it belongs at the top of the file, before the first `[section]`
        holm.toml:10:1: build.comand: unknown key; did you mean `command`?
        holm.toml:13:1: routes[0].mehtods: unknown key; did you mean `methods`?
        holm.toml:15:1: egress.alow: unknown key; did you mean `allow`?
        ",
    );
}

#[test]
fn wrong_types_say_what_was_expected() {
    check(
        r#"
name = 1
reuse = "3"
env = ["A=1"]
limits.timeout = 30
limits.memory = 1.5
limits.cpu_ms = "30s"
routes = "/a"
[egress]
allow = ["a.test", 1]
[build]
command = ["make"]
"#,
        r#"
        holm.toml:2:8: name: expected a string, found an integer
        holm.toml:3:9: reuse: expected a whole number, found a string
        holm.toml:4:7: env: expected a table: `[env]`, found an array
        holm.toml:5:18: limits.timeout: expected a duration such as "30s" or "500ms", found an integer
        holm.toml:6:17: limits.memory: expected a size such as "128MiB", or a number of bytes, found a float
        holm.toml:7:17: limits.cpu_ms: expected a whole number, found a string
        holm.toml:8:10: routes: expected an array of tables: `[[routes]]`, found a string
        holm.toml:10:20: egress.allow[1]: expected a string, found an integer
        holm.toml:12:11: build.command: expected a string, found an array
        "#,
    );
    check(
        "[env]\nA = 1\nB = true",
        "
        holm.toml:2:5: env.A: expected a string, found an integer
        holm.toml:3:5: env.B: expected a string, found a boolean
        ",
    );
}

#[test]
fn wrong_values_say_why() {
    check(
        r#"
name = "Hello World"
isolation = "docker"
main = "../x.js"
handler = " "
reuse = 0
[limits]
memory = "1 potato"
timeout = "0s"
body = "999TiB"
cpu_ms = -1
concurrency = 0
log = 99999999999999999999999
[egress]
allow = ["http://a.test"]
"#,
        "
        holm.toml:2:8: name: `Hello World` is not a name: lower-case letters, digits and single hyphens are allowed, and it starts with a letter or digit and ends with one
        holm.toml:3:13: isolation: `docker` is not an isolation class: wasm, v8, container, gvisor or microvm
        holm.toml:4:8: main: `../x.js` is not a file of the artifact: write its path relative to the artifact's root
        holm.toml:5:11: handler: must not be empty: leave the key out instead
        holm.toml:6:9: reuse: 0 is not between 1 and 1000000
        holm.toml:8:10: limits.memory: `1 potato` is not a size: write whole bytes or a number with a unit, such as `128MiB` or `64MB`
        holm.toml:9:11: limits.timeout: 0ms is not between 1ms and 24h
        holm.toml:10:8: limits.body: 999TiB is not between 1B and 1TiB
        holm.toml:11:10: limits.cpu_ms: `-1` is out of range
        holm.toml:12:15: limits.concurrency: 0 is not between 1 and 100000
        holm.toml:13:7: limits.log: `99999999999999999999999` is out of range
        holm.toml:15:10: egress.allow[0]: `http://a.test` is not an egress rule: write a host such as `api.example.com`, `*.example.com`, `10.0.0.7:8080` or `private:localhost:9000`
        ",
    );
}

#[test]
fn a_route_is_there_once() {
    check(
        r#"
[[routes]]
path = "/a"
[[routes]]
path = "/a"
methods = ["GET"]
[[routes]]
path = "/a"
"#,
        "
        holm.toml:7:1: routes[2]: this route is there twice
        ",
    );
}

#[test]
fn routes_are_checked() {
    check(
        r#"
[[routes]]
host = "Shop.test"
path = "/a/../b"
methods = ["get", "POST", "POST", 1]
[[routes]]
host = "shop.test"
[[routes]]
path = "/function/other/*"
[[routes]]
path = 7
"#,
        "
        holm.toml:3:8: routes[0].host: `Shop.test` is not a route's host: write it as `shop.test`
        holm.toml:4:8: routes[0].path: `/a/../b` is not a route's path: write it as `/b`
        holm.toml:5:12: routes[0].methods[0]: `get` is not a method: methods are upper-case, write `GET`
        holm.toml:5:27: routes[0].methods[2]: `POST` is there twice
        holm.toml:5:35: routes[0].methods[3]: expected a string, found an integer
        holm.toml:6:1: routes[1].path: missing: a route needs a path, such as `/shop/*`
        holm.toml:9:8: routes[2].path: `/function/other/*` is reserved: paths below `/function/` are the functions' own addresses; give the route a `host` of its own
        holm.toml:11:8: routes[3].path: expected a string, found an integer
        ",
    );
}

#[test]
fn environments_are_checked() {
    check(
        "[env]\n1A = 'x'\n\"B-C\" = 'x'\nD = \"a\\u0000b\"",
        "
        holm.toml:2:1: env.1A: `1A` is not a name of an environment variable: letters, digits and `_` are allowed, and it does not start with a digit
        holm.toml:3:1: env.B-C: `B-C` is not a name of an environment variable: letters, digits and `_` are allowed, and it does not start with a digit
        holm.toml:4:5: env.D: the value of `D` holds a NUL character
        ",
    );
    let many: String = (0..1001).map(|i| format!("V{i} = ''\n")).collect();
    check(
        &format!("name = 'a'\n[env]\n{many}"),
        "holm.toml:2:1: env: 1001 environment variables are more than the 1000 allowed",
    );
    check(
        &format!("[env]\nA = '{}'", "x".repeat(64 * 1024)),
        "holm.toml:1:1: env: the environment takes 65539 bytes, more than the 65536 allowed",
    );
}

#[test]
fn syntax_errors_have_positions_and_hostile_text_stays_bounded() {
    let error = parse("name = \"a\nreuse = 1", "dir/holm.toml").expect_err("broken");
    let fault = &error.faults[0];
    assert_eq!(
        (fault.file.as_str(), fault.line),
        ("dir/holm.toml", 1),
        "{error}"
    );
    let error = parse("ä = 1\nname = 'a'\nname = 'b'", "f").expect_err("broken");
    assert_eq!(error.faults[0].line, 1, "{error}");
    assert!(error.faults.iter().any(|fault| fault.line == 3), "{error}");

    let error = parse(&"x = [".repeat(10_000), "f").expect_err("broken");
    assert!(error.faults.len() <= FAULTS_MAX);
    let unknown: String = (0..1000).map(|i| format!("k{i} = 0\n")).collect();
    assert_eq!(
        parse(&unknown, "f").expect_err("unknown").faults.len(),
        FAULTS_MAX
    );
    let escape = parse("name = \"\\u001b[2J\"", "f")
        .expect_err("no name")
        .to_string();
    assert!(!escape.contains('\u{1b}'), "{escape}");
    let long = "#".repeat(MANIFEST_BYTES_MAX + 1);
    check(&long, "holm.toml:1:1: the file is longer than 262144 bytes");
}

#[test]
fn a_failure_names_the_first_fault_and_the_problem_all() {
    let error = parse("a = 1\nb = 2\nnaem = 3", "holm.toml").expect_err("unknown");
    let problem = error.to_problem();
    assert_eq!(problem.code, Code::ManifestInvalid);
    assert_eq!(problem.positions, error.faults);
    assert!(
        problem.detail.starts_with("holm.toml:1:1: a: unknown key"),
        "{}",
        problem.detail
    );
    assert!(
        problem.detail.ends_with("(and 2 more faults)"),
        "{}",
        problem.detail
    );
}

fn manifest_strategy() -> impl Strategy<Value = Manifest> {
    let text = || proptest::option::of("[a-zA-Zäö0-9_ .\"'\\\\-]{0,20}[a-z]");
    let host = proptest::option::of("[a-z][a-z0-9]{0,5}(\\.[a-z][a-z0-9]{0,5}){0,2}");
    let path = "(/[a-eg-z0-9]{1,4}){1,3}(/|/\\*)?".prop_map(|path| path.parse().expect("a path"));
    let methods = proptest::sample::subsequence(vec!["GET", "POST", "X-Y"], 0..3);
    let route = (host, path, methods).prop_map(|(host, path, methods)| Route {
        host,
        path,
        methods: methods.into_iter().map(str::to_owned).collect(),
    });
    let limits = (
        proptest::option::of(65_536_u64..1 << 40),
        proptest::option::of(1_u64..86_400_000),
        proptest::option::of(1_u64..86_400_000),
        proptest::option::of(1_u64..3_600_000),
        proptest::option::of(1_u32..100_000),
        proptest::option::of(1_u64..1 << 40),
        proptest::option::of(1_u64..1 << 30),
    )
        .prop_map(
            |(memory, cpu, timeout, start, concurrency, body, log)| LimitsWritten {
                memory_bytes_max: memory,
                cpu_ms_max: cpu,
                timeout_ms: timeout,
                start_timeout_ms: start,
                concurrency_max: concurrency,
                body_bytes_max: body,
                log_bytes_max: log,
            },
        );
    let build = (text(), text(), text()).prop_map(|(command, output, target)| Build {
        command,
        output,
        target,
    });
    let names = (
        proptest::option::of("[a-z][a-z0-9]{0,9}"),
        proptest::option::of("[a-z][a-z0-9]{0,9}"),
        proptest::option::of(proptest::sample::select(Isolation::ALL.to_vec())),
        proptest::option::of(1_u32..REUSE_MAX),
    );
    let egress = proptest::sample::subsequence(vec!["*", "a.test:1", "*.b.test", "[::1]:80"], 0..4);
    let env = proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,8}", "[^\0]{0,20}", 0..5);
    let rest = (env, limits, egress, proptest::collection::vec(route, 0..4));
    let texts = (text(), text(), text(), proptest::option::of(build));
    (names, texts, rest).prop_map(|(names, texts, (env, limits, egress, routes))| Manifest {
        name: names.0.map(|name| name.parse().expect("a name")),
        namespace: names.1.map(|name| name.parse().expect("a name")),
        isolation: names.2,
        runtime: texts.0,
        handler: texts.1,
        main: Some("a/b.js".to_owned()),
        image: texts.2,
        build: texts.3,
        env,
        limits,
        egress: egress
            .into_iter()
            .map(|rule| rule.parse().expect("a rule"))
            .collect(),
        reuse: names.3,
        routes,
    })
}

proptest! {
    #[test]
    fn good_manifests_round_trip(manifest in manifest_strategy()) {
        let text = manifest.to_toml();
        prop_assert_eq!(parse(&text, "f"), Ok(manifest), "{}", text);
    }

    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = parse(&text, "f");
    }

    #[test]
    fn mutated_manifests_never_panic(at in 0..EVERYTHING.len(), n in 0_usize..40, insert in "[\\[\\]=\"'.0-9a-z{},\n#ä\u{0}]{0,5}") {
        let mut text = EVERYTHING.to_owned();
        let end = (at + n).min(text.len());
        text.replace_range(at..end, &insert);
        if let Err(error) = parse(&text, "f") {
            prop_assert!(!error.faults.is_empty());
            prop_assert!(error.faults.iter().all(|f| f.line >= 1 && f.column >= 1));
        }
    }
}
