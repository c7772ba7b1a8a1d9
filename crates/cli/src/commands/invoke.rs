//! `holm invoke`: stdout is the answer's body and nothing else.

use std::os::fd::AsFd as _;
use std::path::Path;

use api::{InvokeQuery, VersionRef};
use clap::Args;
use client::{Called, ClientError, Invocation, InvocationBody};
use model::{Failure, FunctionKey, Side};
use tokio::fs::File;

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::{EXIT_DONE, EXIT_REFUSED, Refusal, UsageError};
use crate::session::Session;
use crate::text::Escaped;

/// Calling a function.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm invoke hello
  holm invoke hello --data '{\"name\":\"Ada\"}'
  holm invoke hello --data @picture.png --path /resize?width=100 > small.png
  cat big.json | holm invoke hello --data - -H 'content-type: application/json'
  holm invoke hello --path /missing -i

Without --data it is a GET, with it a POST. JSON text is sent as application/json, other text as
text/plain, a .json file as application/json, other files and stdin as application/octet-stream; -H
says otherwise. stdout is the body of the answer as it is, also with --json.
Exit codes: 0 the function answered with a status below 400; 1 it answered with a higher one, or
failed: its error is on stderr; 2 wrong usage or the platform's doing, such as no such function.")]
pub struct InvokeArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// The body: text, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// The path, and query, that the function sees
    #[arg(long, short, value_name = "/x", default_value = "/")]
    pub path: String,
    /// The method [default: GET without --data, POST with it]
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub method: Option<String>,
    /// A header of the request; repeatable
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub header: Vec<(String, String)>,
    /// Call this version instead of the live one
    #[arg(long, value_name = "VERSION")]
    pub version: Option<VersionRef>,
    /// Show status and headers of the answer on stderr
    #[arg(long, short)]
    pub include: bool,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("NAME: VALUE is needed")?;
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() {
        return Err("NAME: VALUE is needed".to_owned());
    }
    Ok((name, value.trim().to_owned()))
}

/// Calls the function and copies its answer to stdout as it comes.
pub async fn run(
    args: &InvokeArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let function = args.function.key()?;
    let invocation = invocation(args).await?;
    let called = session.client.invoke(&function, invocation).await;
    let mut called = called.map_err(|error| with_log(error, &function))?;
    if args.include {
        show_head(&called, console);
    }
    loop {
        match called.chunk().await {
            Ok(Some(chunk)) => console.result_bytes(&chunk)?,
            Ok(None) => break,
            Err(error) => return Err(broken_off(error, &called, &function, session).await),
        }
    }
    let status = called.status;
    if status.as_u16() < 400 {
        return Ok(EXIT_DONE);
    }
    tell_refused(&called, &function, console);
    Ok(EXIT_REFUSED)
}

async fn invocation(args: &InvokeArgs) -> Result<Invocation, anyhow::Error> {
    let (body, content_type) = match args.data.as_deref() {
        None => (InvocationBody::Empty, None),
        Some("-") => (stdin()?, Some("application/octet-stream")),
        Some(data) => match data.strip_prefix('@') {
            Some(path) => file(Path::new(path)).await?,
            None => text(data),
        },
    };
    let header = |name: &str| {
        let mut values = args.header.iter().filter(|(given, _)| given == name);
        values.next_back().map(|(_, value)| value.clone())
    };
    let own_field = |name: &str| matches!(name, "content-type" | "accept");
    let further = args.header.iter().filter(|(name, _)| !own_field(name));
    let further = further.cloned().collect();
    let method = match (&args.method, &args.data) {
        (Some(method), _) => method.to_ascii_uppercase(),
        (None, None) => "GET".to_owned(),
        (None, Some(_)) => "POST".to_owned(),
    };
    Ok(Invocation {
        query: InvokeQuery {
            path: Some(rooted(&args.path)),
            method: Some(method),
            version: args.version.clone(),
        },
        content_type: header("content-type").or_else(|| content_type.map(str::to_owned)),
        accept: header("accept"),
        headers: further,
        body,
    })
}

/// `x` is taken for `/x`.
fn rooted(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn text(data: &str) -> (InvocationBody, Option<&'static str>) {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
    let content_type = if is_json {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let body = InvocationBody::Bytes(data.as_bytes().to_vec().into());
    (body, Some(content_type))
}

async fn file(path: &Path) -> Result<(InvocationBody, Option<&'static str>), UsageError> {
    let refuse = |error| UsageError(format!("--data @{}: {error}", path.display()));
    let file = File::open(path).await.map_err(refuse)?;
    let meta = file.metadata().await.map_err(refuse)?;
    if meta.is_dir() {
        return Err(refuse(std::io::ErrorKind::IsADirectory.into()));
    }
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let content_type = if is_json {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let body = InvocationBody::Reader {
        reader: Box::new(file),
        // A pipe or a device has no length that could be announced.
        length: meta.is_file().then_some(meta.len()),
    };
    Ok((body, Some(content_type)))
}

fn stdin() -> Result<InvocationBody, UsageError> {
    let stdin = std::io::stdin();
    let descriptor = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| UsageError(format!("--data -: {error}")))?;
    Ok(InvocationBody::Reader {
        reader: Box::new(File::from_std(descriptor.into())),
        length: None,
    })
}

fn show_head(called: &Called, console: &mut Console) {
    console.note(format_args!("HTTP/1.1 {}", called.status));
    for (name, value) in &called.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        console.note(format_args!("{name}: {}", Escaped(&value)));
    }
    console.note("");
}

fn tell_refused(called: &Called, function: &FunctionKey, console: &mut Console) {
    let label = console.err_style().red("error:");
    console.note(format_args!(
        "{label} {function} answered {}",
        called.status
    ));
    if let Some(id) = called.invocation() {
        console.note(format_args!(
            "  its log: holm logs {function} --invocation {id}"
        ));
    }
}

/// A function's own failure left more in its log than callers are told.
fn with_log(error: ClientError, function: &FunctionKey) -> anyhow::Error {
    match error {
        ClientError::Problem(problem) if problem.side == Side::Function => {
            let id = problem
                .instance
                .as_deref()
                .and_then(|instance| instance.strip_prefix("urn:uuid:"))
                .map(|id| format!("holm logs {function} --invocation {id}"));
            let mut refusal = Refusal::from(*problem);
            refusal.hints.extend(id);
            refusal.into()
        }
        other => other.into(),
    }
}

/// An answer that broke off: the receipt says whether the function failed or the connection did.
async fn broken_off(
    error: ClientError,
    called: &Called,
    function: &FunctionKey,
    session: &Session,
) -> anyhow::Error {
    let Some(id) = called.invocation() else {
        return error.into();
    };
    let Ok(found) = session.client.receipt(id).await else {
        return error.into();
    };
    let Some(code) = found
        .receipt
        .error
        .filter(|code| code.side() == Side::Function)
    else {
        return error.into();
    };
    let failure = Failure::new(code, "the answer broke off: the function failed meanwhile");
    let problem = Box::new(failure.to_problem(Some(id)));
    with_log(ClientError::Problem(problem), function)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, NodeCommand, OtherCommand};

    fn parse(arguments: &[&str]) -> Result<InvokeArgs, clap::Error> {
        let arguments = ["holm", "invoke", "hello"].iter().chain(arguments);
        match Cli::try_parse_from(arguments)?.command {
            Command::Other(OtherCommand::Node(NodeCommand::Invoke(args))) => Ok(args),
            other => panic!("invoke was typed, not {other:?}"),
        }
    }

    async fn typed(arguments: &[&str]) -> Invocation {
        let args = parse(arguments).expect("valid arguments");
        invocation(&args).await.expect("an invocation")
    }

    #[tokio::test]
    async fn data_decides_method_and_content_type() {
        let plain = typed(&[]).await;
        assert_eq!(plain.query.method.as_deref(), Some("GET"));
        assert_eq!(plain.query.path.as_deref(), Some("/"));
        assert_eq!(plain.content_type, None);
        let json = typed(&["--data", r#"{"a":1}"#, "--path", "x?y=1"]).await;
        assert_eq!(json.query.method.as_deref(), Some("POST"));
        assert_eq!(json.query.path.as_deref(), Some("/x?y=1"));
        assert_eq!(json.content_type.as_deref(), Some("application/json"));
        let text = typed(&["--data", "-5x", "--method", "put"]).await;
        assert_eq!(text.query.method.as_deref(), Some("PUT"));
        let plain_text = Some("text/plain; charset=utf-8");
        assert_eq!(text.content_type.as_deref(), plain_text);
        let header = ["-d", "a,b", "-H", "Content-Type: text/csv"];
        assert_eq!(
            typed(&header).await.content_type.as_deref(),
            Some("text/csv")
        );
    }

    #[tokio::test]
    async fn files_stream_with_their_length() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.json");
        std::fs::write(&path, "[1]").expect("written");
        let data = format!("@{}", path.display());
        let invocation = typed(&["--data", &data]).await;
        let content_type = invocation.content_type.as_deref();
        assert_eq!(content_type, Some("application/json"));
        let InvocationBody::Reader { length, .. } = invocation.body else {
            panic!("files stream");
        };
        assert_eq!(length, Some(3));
        for absent in ["@/nowhere/x", &format!("@{}", dir.path().display())] {
            let args = parse(&["--data", absent]).expect("valid arguments");
            let error = super::invocation(&args).await.expect_err("unreadable");
            assert!(error.is::<UsageError>(), "{error}");
        }
    }

    #[tokio::test]
    async fn headers_are_names_and_values() {
        let typed = typed(&[
            "-H",
            "X-Key: a:b",
            "-H",
            "accept: text/plain",
            "-H",
            "x-key:c",
        ])
        .await;
        assert_eq!(typed.accept.as_deref(), Some("text/plain"));
        let header = |value: &str| ("x-key".to_owned(), value.to_owned());
        assert_eq!(typed.headers, [header("a:b"), header("c")]);
        for bad in ["no colon", ": x"] {
            assert!(parse(&["-H", bad]).is_err(), "{bad}");
        }
    }
}
