//! What each section of the manifest holds, and which values are valid.

use std::collections::BTreeMap;
use std::ops::Range;

use super::read::{Reader, Section};
use super::{
    Build, COMMAND_BYTES_MAX, EGRESS_RULES_MAX, LimitsWritten, Manifest, REUSE_MAX, TEXT_BYTES_MAX,
};
use crate::egress::EgressRule;
use crate::env;
use crate::limits::{Limit, LimitUnit};
use crate::route::{PathPattern, ROUTE_METHODS_MAX, ROUTES_MAX, Route, check_host, check_method};
use crate::units::{UnitError, parse_duration_ms, parse_size, shown};

const KEYS: [&str; 13] = [
    "name",
    "namespace",
    "isolation",
    "runtime",
    "handler",
    "main",
    "image",
    "reuse",
    "build",
    "env",
    "limits",
    "egress",
    "routes",
];
const BUILD_KEYS: [&str; 3] = ["command", "output", "target"];
const LIMIT_KEYS: [&str; 7] = [
    "memory",
    "cpu_ms",
    "timeout",
    "start_timeout",
    "concurrency",
    "body",
    "log",
];
const EGRESS_KEYS: [&str; 1] = ["allow"];
const ROUTE_KEYS: [&str; 3] = ["host", "path", "methods"];

/// Where a key that was written at the top level belongs.
const HOMES: [(&str, &[&str]); 4] = [
    ("under `[limits]`", &LIMIT_KEYS),
    ("under `[build]`", &BUILD_KEYS),
    ("under `[egress]`", &EGRESS_KEYS),
    ("under `[[routes]]`", &ROUTE_KEYS),
];

/// The whole document.
pub(super) fn manifest(reader: &mut Reader<'_>, root: &Section<'_>) -> Manifest {
    // A key that was meant for the top level but was written after a `[section]` ends up in there.
    reader.refuse_unknown(root, &KEYS, &HOMES);
    Manifest {
        name: reader.parsed(root, "name", str::parse),
        namespace: reader.parsed(root, "namespace", str::parse),
        isolation: reader.parsed(root, "isolation", str::parse),
        runtime: plain_text(reader, root, "runtime", TEXT_BYTES_MAX),
        handler: plain_text(reader, root, "handler", TEXT_BYTES_MAX),
        main: reader.parsed(root, "main", main_file),
        image: plain_text(reader, root, "image", TEXT_BYTES_MAX),
        build: reader
            .section(root, "build")
            .map(|section| build(reader, &section)),
        env: match reader.section(root, "env") {
            Some(section) => environment(reader, &section),
            None => BTreeMap::new(),
        },
        limits: match reader.section(root, "limits") {
            Some(section) => limits(reader, &section),
            None => LimitsWritten::default(),
        },
        egress: match reader.section(root, "egress") {
            Some(section) => egress(reader, &section),
            None => Vec::new(),
        },
        reuse: reuse(reader, root),
        routes: routes(reader, root),
    }
}

const TOP_LEVEL: &str = "at the top of the file, before the first `[section]`";

fn build(reader: &mut Reader<'_>, section: &Section<'_>) -> Build {
    reader.refuse_unknown(section, &BUILD_KEYS, &[(TOP_LEVEL, &KEYS)]);
    Build {
        command: plain_text(reader, section, "command", COMMAND_BYTES_MAX),
        output: plain_text(reader, section, "output", TEXT_BYTES_MAX),
        target: plain_text(reader, section, "target", TEXT_BYTES_MAX),
    }
}

fn environment(reader: &mut Reader<'_>, section: &Section<'_>) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    for (key_span, name, value) in section.entries() {
        let field = section.field(&shown(name));
        let Some((span, value)) = reader.expect_text(value, &field) else {
            continue;
        };
        match env::check_var(name, value) {
            Ok(()) => {
                vars.insert(name.to_owned(), value.to_owned());
            }
            Err(error @ env::EnvError::Nul(_)) => reader.fault(span, &field, error.to_string()),
            Err(error) => reader.fault(key_span, &field, error.to_string()),
        }
    }
    if let Err(error) = env::check_total(&vars) {
        reader.fault(section.span.clone(), "env", error.to_string());
    }
    vars
}

fn limits(reader: &mut Reader<'_>, section: &Section<'_>) -> LimitsWritten {
    reader.refuse_unknown(section, &LIMIT_KEYS, &[(TOP_LEVEL, &KEYS)]);
    let mut read = |limit| read_limit(reader, section, limit);
    // The maximum of `concurrency` fits 32 bits.
    let concurrency = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    LimitsWritten {
        memory_bytes_max: read(Limit::Memory),
        cpu_ms_max: read(Limit::CpuMs),
        timeout_ms: read(Limit::Timeout),
        start_timeout_ms: read(Limit::StartTimeout),
        concurrency_max: read(Limit::Concurrency).map(concurrency),
        body_bytes_max: read(Limit::Body),
        log_bytes_max: read(Limit::Log),
    }
}

fn read_limit(reader: &mut Reader<'_>, section: &Section<'_>, limit: Limit) -> Option<u64> {
    let key = limit.key();
    let (span, value) = match limit.unit() {
        LimitUnit::Size => {
            let expected = "a size such as \"128MiB\", or a number of bytes";
            reader.number(section, key, expected, true, Some(parse_size))
        }
        LimitUnit::Duration => {
            let expected = "a duration such as \"30s\" or \"500ms\"";
            reader.number(section, key, expected, false, Some(parse_duration_ms))
        }
        LimitUnit::Number => reader.number::<UnitError>(section, key, "a whole number", true, None),
    }?;
    let (min, max) = (limit.value_min(), limit.value_max());
    check_range(reader, span, &section.field(key), value, (min, max), |v| {
        limit.format(v)
    })
}

fn check_range(
    reader: &mut Reader<'_>,
    span: Range<usize>,
    field: &str,
    value: u64,
    (min, max): (u64, u64),
    format: impl Fn(u64) -> String,
) -> Option<u64> {
    if (min..=max).contains(&value) {
        return Some(value);
    }
    let message = format!(
        "{} is not between {} and {}",
        format(value),
        format(min),
        format(max)
    );
    reader.fault(span, field, message);
    None
}

fn egress(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<EgressRule> {
    reader.refuse_unknown(section, &EGRESS_KEYS, &[(TOP_LEVEL, &KEYS)]);
    let expected = "an array such as [\"api.example.com\"]";
    let mut rules = Vec::new();
    for (field, value) in reader.array(section, "allow", expected, EGRESS_RULES_MAX) {
        let Some((span, text)) = reader.expect_text(value, &field) else {
            continue;
        };
        match text.parse() {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                let error: crate::egress::EgressRuleError = error;
                reader.fault(span, &field, error.to_string());
            }
        }
    }
    rules
}

fn reuse(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<u32> {
    let (span, value) = reader.number::<UnitError>(root, "reuse", "a whole number", true, None)?;
    let range = (1, u64::from(REUSE_MAX));
    let value = check_range(reader, span, "reuse", value, range, |value| {
        value.to_string()
    })?;
    u32::try_from(value).ok()
}

fn routes(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<Route> {
    let expected = "an array of tables: `[[routes]]`";
    let mut routes = Vec::new();
    for (field, value) in reader.array(root, "routes", expected, ROUTES_MAX) {
        let whole = "a table: `[[routes]]`";
        let Some(section) = reader.expect_section(value, field.clone(), whole) else {
            continue;
        };
        let Some(route) = route(reader, &section) else {
            continue;
        };
        if routes.contains(&route) {
            let message = "this route is there twice".to_owned();
            reader.fault(section.span.clone(), &field, message);
        }
        routes.push(route);
    }
    routes
}

fn route(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Route> {
    reader.refuse_unknown(section, &ROUTE_KEYS, &[(TOP_LEVEL, &KEYS)]);
    let host = reader.parsed(section, "host", |host| {
        check_host(host).map(|()| host.to_owned())
    });
    let path = match reader.text(section, "path") {
        Some((span, text)) => match text.parse::<PathPattern>() {
            Ok(path) => Some((span, path)),
            Err(error) => {
                reader.fault(span, &section.field("path"), error.to_string());
                None
            }
        },
        None => {
            if !section.entries().any(|(_, key, _)| key == "path") {
                let message = "missing: a route needs a path, such as `/shop/*`".to_owned();
                reader.fault(section.span.clone(), &section.field("path"), message);
            }
            None
        }
    };
    let mut methods = Vec::new();
    let expected = "an array such as [\"GET\", \"POST\"]";
    for (field, value) in reader.array(section, "methods", expected, ROUTE_METHODS_MAX) {
        let Some((span, method)) = reader.expect_text(value, &field) else {
            continue;
        };
        match check_method(method) {
            Ok(()) if methods.iter().any(|known| known == method) => {
                reader.fault(span, &field, format!("`{method}` is there twice"));
            }
            Ok(()) => methods.push(method.to_owned()),
            Err(error) => reader.fault(span, &field, error.to_string()),
        }
    }
    let (span, path) = path?;
    let route = Route {
        host,
        path,
        methods,
    };
    // A host that was given but is malformed has its own fault already.
    let has_host = section.entries().any(|(_, key, _)| key == "host");
    if !has_host && let Err(error) = route.check_reserved() {
        reader.fault(span, &section.field("path"), error.to_string());
        return None;
    }
    Some(route)
}

/// A text that is not empty, not too long, and holds no control characters but line ends and tabs.
fn plain_text(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    bytes_max: usize,
) -> Option<String> {
    reader.parsed(section, key, |text| {
        check_text(text, bytes_max).map(|()| text.to_owned())
    })
}

fn check_text(text: &str, bytes_max: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty: leave the key out instead".to_owned());
    }
    if text.len() > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes"));
    }
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err("holds a control character".to_owned());
    }
    Ok(())
}

/// A file inside the artifact: relative, and not out of it.
fn main_file(text: &str) -> Result<String, String> {
    check_text(text, TEXT_BYTES_MAX)?;
    let leaves = text.starts_with('/') || text.contains('\\') || text.split('/').any(|s| s == "..");
    if leaves {
        return Err(format!(
            "`{}` is not a file of the artifact: write its path relative to the artifact's root",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}
