//! `holm describe`.

use api::FunctionDetail;
use clap::Args;
use model::route::PathPattern;
use model::{FunctionKey, Limits, Route};

use crate::args::{FunctionArgs, NodeArgs};
use crate::console::Console;
use crate::report::EXIT_DONE;
use crate::session::Session;
use crate::text::table::fields;
use crate::text::{Style, quantity};

/// Showing a function.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holm describe hello
  holm describe hello --json | jq .current.limits

Exit codes: 0 shown; 1 no such function; 2 no node, no token.")]
pub struct DescribeArgs {
    /// Which function.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Which node, and how the result is printed.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Shows a function: the live version, its limits, where it answers.
pub async fn run(
    args: &DescribeArgs,
    session: &Session,
    console: &mut Console,
) -> Result<u8, anyhow::Error> {
    let detail = session.client.describe(&args.function.key()?).await?;
    if args.node.json {
        console.json(&detail)?;
    } else {
        console.result(&text(&detail, console.style()))?;
    }
    Ok(EXIT_DONE)
}

fn text(detail: &FunctionDetail, style: Style) -> String {
    let (summary, current) = (&detail.summary, &detail.current);
    let key = FunctionKey {
        namespace: summary.namespace.clone(),
        name: summary.name.clone(),
    };
    let mut rows: Vec<(&str, String)> = Vec::new();
    rows.extend(summary.urls.iter().map(|url| ("url", url.clone())));
    let state = if current.is_live { "live" } else { "not live" };
    let (number, digest) = (current.number, current.digest.short());
    rows.push(("version", format!("{number} ({state}), digest {digest}")));
    rows.push(("versions", summary.n_versions.to_string()));
    if let Some(previous) = detail.previous_live {
        rows.push(("before", format!("{previous}: where a rollback goes")));
    }
    rows.push(("published", quantity::moment(current.created_unix_ms)));
    rows.push(("class", current.isolation.to_string()));
    rows.push(("contract", current.contract.as_str().to_owned()));
    for (label, value) in [
        ("runtime", &current.runtime),
        ("handler", &current.handler),
        ("main", &current.main),
        ("image", &current.image),
    ] {
        rows.extend(value.iter().map(|value| (label, value.clone())));
    }
    let artifact = &current.artifact;
    let size = quantity::bytes(artifact.size_bytes);
    rows.push((
        "artifact",
        format!("{size}, digest {}", artifact.digest.short()),
    ));
    rows.push(("reuse", reuse(current.reuse)));
    rows.push(("running", format!("{} now", detail.n_running)));
    rows.extend(limit_rows(&current.limits));
    rows.extend(
        current
            .routes
            .iter()
            .map(|route| ("route", route_text(route))),
    );
    rows.push(("egress", list_or(&current.egress, "nothing is allowed")));
    rows.push(("env", list_or(&current.env_names, "empty")));
    format!("{}\n{}", style.bold(key), fields(&rows, style))
}

fn limit_rows(limits: &Limits) -> Vec<(&'static str, String)> {
    let in_bytes = |n_bytes| quantity::bytes(n_bytes);
    let in_ms = |ms| quantity::duration_ms(ms);
    vec![
        ("limits.memory", in_bytes(limits.memory_bytes_max)),
        ("limits.cpu_ms", in_ms(limits.cpu_ms_max)),
        ("limits.timeout", in_ms(limits.timeout_ms)),
        ("limits.start_timeout", in_ms(limits.start_timeout_ms)),
        ("limits.concurrency", limits.concurrency_max.to_string()),
        ("limits.body", in_bytes(limits.body_bytes_max)),
        ("limits.log", in_bytes(limits.log_bytes_max)),
    ]
}

fn reuse(n_requests: u32) -> String {
    match n_requests {
        0 | 1 => "a fresh instance for every request".to_owned(),
        n => format!("an instance serves {n} requests, one at a time"),
    }
}

fn route_text(route: &Route) -> String {
    let methods = if route.methods.is_empty() {
        "any method".to_owned()
    } else {
        route.methods.join(", ")
    };
    let host = route.host.as_deref().unwrap_or("any host");
    let path = match &route.path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(path) => format!("{}/*", path.trim_end_matches('/')),
    };
    format!("{methods} {host} {path}")
}

fn list_or(items: &[String], none: &str) -> String {
    if items.is_empty() {
        none.to_owned()
    } else {
        items.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_shown_whole() {
        let digest = model::Digest::of(b"x");
        let detail = serde_json::from_value(serde_json::json!({
            "namespace": "default", "name": "hello", "live": 3, "digest": digest,
            "isolation": "wasm", "contract": "wasi:http/0.2", "n_versions": 3,
            "updated_unix_ms": 1_795_449_600_000_u64,
            "urls": ["http://127.0.0.1:8080/function/hello/", "http://hello.localhost:8080/"],
            "previous_live": 2, "n_running": 1,
            "current": {
                "number": 3, "digest": digest, "is_live": true,
                "created_unix_ms": 1_795_449_600_000_u64,
                "artifact": {"digest": digest, "size_bytes": 45_056, "kind": "wasm"},
                "contract": "wasi:http/0.2", "isolation": "wasm", "env_names": ["A", "B\u{1b}[m"],
                "limits": Limits::defaults(model::Isolation::Wasm),
                "egress": [], "reuse": 8,
                "routes": [{"host": null, "path": {"prefix": "/api"}, "methods": ["GET", "PUT"]}],
            },
        }))
        .expect("a detail");
        insta::assert_snapshot!(text(&detail, Style::PLAIN), @r"
        hello
          url                   http://127.0.0.1:8080/function/hello/
                                http://hello.localhost:8080/
          version               3 (live), digest 2d711642b726
          versions              3
          before                2: where a rollback goes
          published             2026-11-23T16:00:00.000Z
          class                 wasm
          contract              wasi:http/0.2
          artifact              44 KiB, digest 2d711642b726
          reuse                 an instance serves 8 requests, one at a time
          running               1 now
          limits.memory         128 MiB
          limits.cpu_ms         30 s
          limits.timeout        30 s
          limits.start_timeout  10 s
          limits.concurrency    250
          limits.body           100 MiB
          limits.log            1 MiB
          route                 GET, PUT any host /api/*
          egress                nothing is allowed
          env                   A, B\x1b[m
        ");
    }
}
