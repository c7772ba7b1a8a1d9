//! `holm deploy`: read the project, build it, upload what the node does not have, publish.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::{ClassState, NodeInfo, PublishRequest, PublishResponse};
use clap::Args;
use client::{Client, ClientError};
use model::{Code, Failure, FunctionKey, FunctionName, Isolation, Namespace};

use crate::args::NodeArgs;
use crate::console::Console;
use crate::environment::Environment;
use crate::progress::Progress;
use crate::project::{Builder, Built, LocalArtifact, Source, Step};
use crate::report::{EXIT_DONE, Refusal};
use crate::session::Session;
use crate::text::table::fields;
use crate::text::{Style, quantity};

/// Publishing a function.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm deploy                             the project in this directory
  holm deploy examples/hello-rust --name hello
  holm deploy build/function.wasm --env GREETING=hi
  holm deploy . --no-promote              publish, but leave `live` where it is
  holm deploy . --dry-run                 say what would change

PATH is a directory with holm.toml or with source whose build step is known (Cargo.toml, go.mod,
build.zig, package.json, pyproject.toml, *.c, or `[build] command` in holm.toml), or a .wasm file.
It is built here, with your tools; the node gets the artifact only.
Exit codes: 0 published; 1 the project, its build or the function is at fault; 2 wrong usage, no
node, no token, or the node cannot run it.")]
pub struct DeployArgs {
    /// What to deploy
    #[arg(value_name = "PATH", default_value = ".")]
    pub path: PathBuf,
    /// The function's name [default: the manifest's, else the directory's or file's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<FunctionName>,
    /// The function's namespace [default: the manifest's, else default]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<Namespace>,
    /// Set an environment variable, before the manifest's; repeatable
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// Do not move `live` to the new version
    #[arg(long)]
    pub no_promote: bool,
    /// Build, upload and check, but publish nothing: say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE is needed".to_owned()),
    }
}

/// Builds and publishes.
pub async fn run(
    args: &DeployArgs,
    session: &Session,
    environment: &Environment,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let source = Source::open(&args.path)?;
    let function = FunctionKey {
        namespace: args
            .namespace
            .clone()
            .or_else(|| source.manifest.namespace.clone())
            .unwrap_or_default(),
        name: source.name(args.name.as_ref())?,
    };
    // Asked before a build of minutes: is there a node, may we, and can it run this?
    let client = &session.client;
    let node = client.node().await?;
    refuse_unusable_class(&node, source.isolation())?;
    let built = build(&source, environment, console)?;
    let artifact = LocalArtifact::wasm(&built.file)?;
    refuse_too_large(&artifact, &node)?;
    upload(client, &artifact, console).await?;
    let request = PublishRequest {
        manifest: source
            .manifest_text
            .as_ref()
            .map(|source| source.text.clone()),
        manifest_file: source
            .manifest_text
            .as_ref()
            .map(|source| source.name.clone()),
        artifact: artifact.artifact.clone(),
        env: args.env.iter().cloned().collect::<BTreeMap<_, _>>(),
        promote: !args.no_promote,
        dry_run: args.dry_run,
    };
    let progress = Progress::spinner(console, "publishing");
    let published = client.publish(&function, &request).await;
    drop(progress);
    let published = published.map_err(|error| with_source(error, &source))?;
    for warning in &published.warnings {
        console.warn(crate::text::Escaped(warning));
    }
    if args.node.json {
        console.json(&published)?;
    } else {
        console.result(&text(&published, console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn build(
    source: &Source,
    environment: &Environment,
    console: &Console,
) -> Result<Built, anyhow::Error> {
    let step = source.step()?;
    let progress = Progress::spinner(console, &step.describe());
    let is_building = !matches!(step, Step::Ready(_));
    let on_message = |line: &str| {
        if is_building {
            progress.tell(line);
        }
    };
    let options = source.manifest.build.clone().unwrap_or_default();
    let builder = Builder {
        dir: &source.dir,
        options: &options,
        main: source.manifest.main.as_deref(),
        environment,
        on_message: &on_message,
    };
    Ok(builder.run(&step)?)
}

/// The classes of later releases are packed differently: nothing is built for a node without them.
fn refuse_unusable_class(node: &NodeInfo, isolation: Isolation) -> Result<(), Failure> {
    let class = node
        .classes
        .iter()
        .find(|class| class.isolation == isolation);
    let unavailable = |why: &str| {
        Err(Failure::new(
            Code::ClassUnavailable,
            format!("this node cannot run functions of the class `{isolation}`: {why}"),
        ))
    };
    match class {
        None => unavailable("it has no engine for the class"),
        Some(class) if class.state == ClassState::Unavailable => unavailable(&class.detail),
        Some(_) if isolation == Isolation::Wasm => Ok(()),
        Some(_) => Err(Failure::new(
            Code::ArtifactUnfit,
            format!(
                "the node can run the class `{isolation}`, but this release of the command line \
                 packs functions of the class `wasm` only"
            ),
        )),
    }
}

fn refuse_too_large(artifact: &LocalArtifact, node: &NodeInfo) -> Result<(), Failure> {
    let (size_bytes, max) = (artifact.artifact.size_bytes, node.artifact_bytes_max);
    if size_bytes <= max {
        return Ok(());
    }
    let path = artifact.path.display();
    let (size, max) = (quantity::bytes(size_bytes), quantity::bytes(max));
    Err(
        Failure::new(Code::ArtifactTooLarge, format!("{path} has {size}")).with_limit(
            "artifact_bytes_max",
            max,
            "the node's configuration",
        ),
    )
}

async fn upload(
    client: &Client,
    local: &LocalArtifact,
    console: &Console,
) -> Result<(), ClientError> {
    let artifact = &local.artifact;
    if client.find_artifact(artifact.digest).await?.is_present {
        return Ok(());
    }
    let progress = Progress::bytes(console, "uploading", artifact.size_bytes);
    let bar = progress.clone();
    client
        .put_artifact_file(artifact.digest, &local.path, move |n_sent| {
            bar.set_done(n_sent)
        })
        .await?;
    Ok(())
}

/// The node's verdict on the manifest points into the text that was sent.
fn with_source(error: ClientError, source: &Source) -> anyhow::Error {
    match (error, &source.manifest_text) {
        (ClientError::Problem(problem), Some(text)) if !problem.positions.is_empty() => {
            let mut refusal = Refusal::from(*problem);
            refusal.sources.push(text.clone());
            refusal.into()
        }
        (error, _) => error.into(),
    }
}

fn text(published: &PublishResponse, style: Style) -> String {
    let key = FunctionKey {
        namespace: published.namespace.clone(),
        name: published.name.clone(),
    };
    let mut rows: Vec<(&str, String)> = Vec::new();
    rows.extend(published.urls.iter().map(|url| ("url", url.clone())));
    rows.push(("class", published.isolation.to_string()));
    rows.push(("contract", published.contract.as_str().to_owned()));
    rows.push(("digest", published.digest.short()));
    for change in &published.changes {
        let field = &change.field;
        let change = match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("~ {field}: {from} -> {to}"),
            (None, Some(to)) => format!("+ {field}: {to}"),
            (Some(from), None) => format!("- {field}: {from}"),
            (None, None) => format!("~ {field}"),
        };
        rows.push(("changed", change));
    }
    let headline = style.bold(headline(&key, published));
    format!("{headline}\n{}", fields(&rows, style))
}

fn headline(key: &FunctionKey, published: &PublishResponse) -> String {
    let version = published
        .version
        .map_or("the next version".to_owned(), |n| format!("v{n}"));
    let is_live = published.version.is_some() && published.live == published.version;
    let live = published
        .live
        .map_or("none".to_owned(), |n| format!("v{n}"));
    if published.dry_run {
        let live = published.live.or(published.previous_live);
        let live = live.map_or("none".to_owned(), |n| format!("v{n}"));
        return if published.is_new {
            format!("{key}: this would be {version}; nothing was published, live is {live}")
        } else {
            format!("{key}: this is {version} already; nothing was published, live is {live}")
        };
    }
    match (published.is_new, is_live) {
        (true, true) => format!("{key} {version} is live"),
        (true, false) => format!("{key} {version} is published, live is {live}"),
        (false, true) if published.previous_live == published.live => {
            format!("{key} {version} was live already: nothing changed")
        }
        (false, true) => format!("{key} {version} is live again: the same content as before"),
        (false, false) => format!("{key} {version} was published before, live is {live}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(fields: serde_json::Value) -> PublishResponse {
        let mut value = serde_json::json!({
            "namespace": "default", "name": "hello", "version": 3,
            "digest": model::Digest::of(b"x"), "is_new": true, "dry_run": false, "live": 3,
            "previous_live": 2, "urls": ["http://127.0.0.1:8080/function/hello/"],
            "isolation": "wasm", "contract": "wasi:http/0.2", "changes": [], "warnings": [],
        });
        for (key, field) in fields.as_object().expect("an object") {
            value[key] = field.clone();
        }
        serde_json::from_value(value).expect("a response")
    }

    #[test]
    fn a_publication_says_what_changed() {
        let published = published(serde_json::json!({"changes": [
            {"field": "artifact", "from": "aa", "to": "bb"},
            {"field": "env.B", "from": null, "to": null},
            {"field": "reuse", "from": null, "to": "8"},
            {"field": "egress", "from": "x:443", "to": null},
        ]}));
        insta::assert_snapshot!(text(&published, Style::PLAIN), @r"
        hello v3 is live
          url       http://127.0.0.1:8080/function/hello/
          class     wasm
          contract  wasi:http/0.2
          digest    2d711642b726
          changed   ~ artifact: aa -> bb
                    ~ env.B
                    + reuse: 8
                    - egress: x:443
        ");
    }

    #[test]
    fn every_outcome_has_its_headline() {
        let key: FunctionKey = "hello".parse().expect("a key");
        let line = |fields| headline(&key, &published(fields));
        assert_eq!(line(serde_json::json!({})), "hello v3 is live");
        assert_eq!(
            line(serde_json::json!({"live": 2})),
            "hello v3 is published, live is v2"
        );
        assert_eq!(
            line(serde_json::json!({"is_new": false, "previous_live": 3})),
            "hello v3 was live already: nothing changed"
        );
        assert_eq!(
            line(serde_json::json!({"is_new": false})),
            "hello v3 is live again: the same content as before"
        );
        assert_eq!(
            line(serde_json::json!({"dry_run": true, "version": null, "live": null})),
            "hello: this would be the next version; nothing was published, live is v2"
        );
    }

    #[test]
    fn a_class_without_an_engine_is_refused_with_the_nodes_reason() {
        let limits = model::Limits::defaults(Isolation::Wasm);
        let node: NodeInfo = serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "started_unix_ms": 0, "is_ready": true, "is_production": false,
            "gateway_url": "http://g", "admin_url": "http://a", "data_dir": "/d",
            "classes": [
                {"isolation": "wasm", "state": "available", "detail": "wasmtime"},
                {"isolation": "v8", "state": "unavailable", "detail": "no Deno here"},
            ],
            "ceilings": limits, "artifact_bytes_max": 10, "prices": {}, "n_functions": 0,
            "n_running": 0,
        }))
        .expect("a node");
        assert_eq!(refuse_unusable_class(&node, Isolation::Wasm), Ok(()));
        for (isolation, reason) in [
            (Isolation::V8, "no Deno here"),
            (Isolation::Gvisor, "gvisor"),
        ] {
            let failure = refuse_unusable_class(&node, isolation).expect_err("unavailable");
            assert_eq!(failure.code(), Code::ClassUnavailable);
            assert!(failure.detail().contains(reason), "{failure}");
        }
    }

    #[test]
    fn variables_need_a_name_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(parse_variable("A="), pair("A", ""));
        assert!(parse_variable("A").is_err());
        assert!(parse_variable("=b").is_err());
    }
}
