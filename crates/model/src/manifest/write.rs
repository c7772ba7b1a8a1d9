//! Writes a manifest back as text.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{LimitsWritten, Manifest};
use crate::limits::Limit;

/// The document, plain keys before tables as TOML wants them.
#[derive(Serialize)]
struct Document<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    main: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reuse: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<BTreeMap<&'static str, &'m str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'m BTreeMap<String, String>,
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    limits: toml::Table,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    egress: BTreeMap<&'static str, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteDocument<'m>>,
}

#[derive(Serialize)]
struct RouteDocument<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'m str>,
    path: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    methods: &'m [String],
}

pub(super) fn to_toml(manifest: &Manifest) -> String {
    let build = manifest.build.as_ref().map(|build| {
        [
            ("command", &build.command),
            ("output", &build.output),
            ("target", &build.target),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_deref()?)))
        .collect()
    });
    let mut egress = BTreeMap::new();
    if !manifest.egress.is_empty() {
        egress.insert(
            "allow",
            manifest.egress.iter().map(ToString::to_string).collect(),
        );
    }
    let routes = manifest.routes.iter().map(|route| RouteDocument {
        host: route.host.as_deref(),
        path: route.path.to_string(),
        methods: &route.methods,
    });
    let document = Document {
        name: manifest.name.as_ref().map(|name| name.as_str()),
        namespace: manifest
            .namespace
            .as_ref()
            .map(|namespace| namespace.as_str()),
        isolation: manifest.isolation.map(|isolation| isolation.as_str()),
        runtime: manifest.runtime.as_deref(),
        handler: manifest.handler.as_deref(),
        main: manifest.main.as_deref(),
        image: manifest.image.as_deref(),
        reuse: manifest.reuse,
        build,
        env: &manifest.env,
        limits: limits_table(&manifest.limits),
        egress,
        routes: routes.collect(),
    };
    toml::to_string(&document).expect("string keys, and no value that TOML cannot write")
}

fn limits_table(limits: &LimitsWritten) -> toml::Table {
    let values = [
        (Limit::Memory, limits.memory_bytes_max),
        (Limit::CpuMs, limits.cpu_ms_max),
        (Limit::Timeout, limits.timeout_ms),
        (Limit::StartTimeout, limits.start_timeout_ms),
        (Limit::Concurrency, limits.concurrency_max.map(u64::from)),
        (Limit::Body, limits.body_bytes_max),
        (Limit::Log, limits.log_bytes_max),
    ];
    let mut table = toml::Table::new();
    for (limit, value) in values {
        let Some(value) = value else { continue };
        let text = limit.format(value);
        // Plain numbers stay numbers.
        let written = match text.parse::<i64>() {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => toml::Value::String(text),
        };
        table.insert(limit.key().to_owned(), written);
    }
    table
}
