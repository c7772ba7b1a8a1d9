//! Commands run in process on a machine without a node: results, messages and exit codes.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use api::{ClassInfo, ClassState};
use clap::Parser as _;
use cli::console::Console;
use cli::environment::Environment;
use cli::{Cli, Command, Host};
use model::Isolation;

/// A stream whose text can be read afterwards.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panicked").clone();
        String::from_utf8(bytes).expect("messages are UTF-8")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Outcome {
    code: u8,
    out: String,
    err: String,
}

fn probe() -> Vec<ClassInfo> {
    vec![ClassInfo {
        isolation: Isolation::Wasm,
        state: ClassState::Available,
        detail: "as probed".to_owned(),
    }]
}

/// Runs a command line with an empty home and no tools.
fn holm(home: &Path, arguments: &[&str]) -> Outcome {
    let variables = [("HOME", home.as_os_str()), ("PATH", OsStr::new("/nowhere"))];
    let environment = Environment::with_variables(variables);
    let cli = Cli::try_parse_from(["holm"].iter().chain(arguments)).expect("valid arguments");
    let Command::Other(command) = cli.command else {
        panic!("a command that runs no node");
    };
    let (out, err) = (Captured::default(), Captured::default());
    let mut console = Console::plain(out.clone(), err.clone());
    let code = cli::run_on(command, Host { probe }, &environment, &mut console);
    Outcome {
        code,
        out: out.text(),
        err: err.text(),
    }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// An address where nothing listens: the port was free a moment ago and is reserved by nobody.
fn dead_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

#[test]
fn without_a_node_the_message_says_how_to_start_one() {
    let home = home();
    let admin = dead_address();
    let outcome = holm(home.path(), &["ls", "--admin", &admin]);
    assert_eq!((outcome.code, outcome.out.as_str()), (2, ""));
    let message = outcome.err.replace(&admin, "HOST:PORT");
    insta::assert_snapshot!(message, @r"
    error[H5001]: No node answers
      no node answers at http://HOST:PORT (connection refused): start one with `holm up`, or name another one with `--admin` or HOLM_ADMIN
      more: holm explain H5001
    ");
}

#[test]
fn with_json_a_problem_is_one_line_of_json() {
    let home = home();
    let outcome = holm(home.path(), &["ls", "--json", "--admin", &dead_address()]);
    assert_eq!((outcome.code, outcome.out.as_str()), (2, ""));
    let problem: model::Problem = serde_json::from_str(&outcome.err).expect("a problem document");
    assert_eq!(problem.code, model::Code::NodeNotRunning);
    assert_eq!(outcome.err.lines().count(), 1);
}

#[test]
fn a_faulty_manifest_is_shown_as_compilers_do_before_any_node_is_asked() {
    let home = home();
    let project = home.path().join("app");
    std::fs::create_dir(&project).expect("made");
    let manifest = "name = \"app\"\n\n[limits]\nmemroy = \"64MiB\"\ntimeout = \"never\"\n";
    std::fs::write(project.join("holm.toml"), manifest).expect("written");
    let path = project.to_str().expect("UTF-8");
    let outcome = holm(home.path(), &["deploy", path]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    insta::assert_snapshot!(outcome.err.replace(path, "app"), @r#"
    error[H4001]: The manifest is invalid
     --> app/holm.toml:4:1
      |
    4 | memroy = "64MiB"
      | ^^^^^^ limits.memroy: unknown key; did you mean `memory`?
     --> app/holm.toml:5:11
      |
    5 | timeout = "never"
      |           ^^^^^^^ limits.timeout: `never` is not a duration: write a number with a unit, such as `500ms`, `30s` or `2m`
      more: holm explain H4001
    "#);
}

#[test]
fn nothing_to_deploy_is_told_before_any_node_is_asked() {
    let home = home();
    let outcome = holm(home.path(), &["deploy", "/nowhere"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    insta::assert_snapshot!(outcome.err, @r"
    error[H5007]: Nothing to deploy here
      /nowhere: No such file or directory (os error 2)
      more: holm explain H5007
    ");
}

#[test]
fn usage_errors_end_with_2() {
    let home = home();
    for arguments in [
        &["describe", "a.team", "--namespace", "other"][..],
        &["usage", "--since", "soon"],
        &["invoke", "a", "--data", "@/nowhere/file"],
        &["ls", "--admin", "https://example"],
    ] {
        let outcome = holm(home.path(), arguments);
        assert_eq!(
            (outcome.code, outcome.out.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(outcome.err.starts_with("error"), "{}", outcome.err);
    }
    for arguments in [
        &["describe", "Not_A_Name"][..],
        &["frobnicate"],
        &["explain", "H9999"],
    ] {
        let error = Cli::try_parse_from(["holm"].iter().chain(arguments)).expect_err("refused");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn a_configuration_file_with_an_unknown_key_is_refused() {
    let home = home();
    let dir = home.path().join(".config/holm");
    std::fs::create_dir_all(&dir).expect("made");
    std::fs::write(dir.join("config.toml"), "tokn = \"x\"\n").expect("written");
    let outcome = holm(home.path(), &["ls"]);
    assert_eq!(outcome.code, 2);
    let home_text = home.path().to_str().expect("UTF-8");
    insta::assert_snapshot!(outcome.err.replace(home_text, "HOME"), @r#"
    error[H5008]: The configuration is invalid
      HOME/.config/holm/config.toml: TOML parse error at line 1, column 1
        |
      1 | tokn = "x"
        | ^^^^
      unknown field `tokn`, expected `admin` or `token`
      more: holm explain H5008
    "#);
}

#[test]
fn every_code_is_explained() {
    let home = home();
    let list = holm(home.path(), &["explain", "--list"]);
    assert_eq!(list.code, 0);
    assert_eq!(list.out.lines().count(), model::Code::ALL.len() + 1);
    for code in model::Code::ALL {
        let page = holm(home.path(), &["explain", &code.to_string()]);
        assert_eq!((page.code, page.err.as_str()), (0, ""));
        assert!(page.out.contains(code.title()), "{code}");
    }
}

#[test]
fn setup_makes_the_directory_and_is_honest_about_other_classes() {
    let home = home();
    let all = holm(home.path(), &["setup"]);
    assert_eq!((all.code, all.err.as_str()), (0, ""));
    let engines = home.path().join(".local/share/holm/engines");
    assert!(engines.is_dir());
    insta::assert_snapshot!(all.out.replace(engines.to_str().expect("UTF-8"), "ENGINES"), @r"
    engines: ENGINES
    CLASS      ENGINE  DETAIL
    wasm       ready   wasmtime is part of this program: nothing to install
    v8         none    this release of Holm has no engine for the class
    container  none    this release of Holm has no engine for the class
    gvisor     none    this release of Holm has no engine for the class
    microvm    none    this release of Holm has no engine for the class
    ");
    assert_eq!(holm(home.path(), &["setup", "wasm"]).code, 0);
    assert_eq!(holm(home.path(), &["setup", "wasm", "v8"]).code, 2);
}

#[test]
fn doctor_looks_at_the_host_where_no_node_runs() {
    let home = home();
    let outcome = holm(
        home.path(),
        &["doctor", "--json", "--admin", &dead_address()],
    );
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    let findings: serde_json::Value = serde_json::from_str(&outcome.out).expect("JSON");
    assert_eq!(findings["classes"][0]["detail"], "as probed");
    assert!(findings["without_node"].is_string() && findings["node"].is_null());
    let tools = findings["tools"].as_array().expect("a list");
    assert!(tools.iter().all(|tool| tool["remedy"].is_string()));
}

#[test]
fn completions_know_the_commands() {
    let home = home();
    for shell in ["bash", "zsh", "fish"] {
        let outcome = holm(home.path(), &["completions", shell]);
        assert_eq!(outcome.code, 0);
        assert!(outcome.out.contains("rollback"), "{shell}");
    }
}
