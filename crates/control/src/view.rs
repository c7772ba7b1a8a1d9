//! What the API shows of functions and versions. Never the value of an environment variable.

use api::{FunctionDetail, FunctionSummary, VersionDetail};
use model::route::PathPattern;
use model::{FunctionKey, FunctionVersion, Route};
use store::{FunctionEntry, LiveVersion};

/// The version that stands for a function: the live one, else the newest.
pub(crate) fn current(entry: &FunctionEntry) -> &LiveVersion {
    let current = entry.live.as_ref().or_else(|| entry.versions.last());
    current.expect("a function is made by its first version")
}

pub(crate) fn summary(entry: &FunctionEntry, gateway_url: &str) -> FunctionSummary {
    let current = &current(entry).version;
    let newest = entry
        .versions
        .last()
        .map_or(current, |newest| &newest.version);
    FunctionSummary {
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
        live: entry.live_number(),
        digest: entry.live.as_ref().map(|live| live.version.digest),
        isolation: current.config.isolation,
        contract: current.contract,
        n_versions: entry.versions.len(),
        updated_unix_ms: newest.created_unix_ms,
        urls: urls(gateway_url, &entry.key, entry.routes()),
    }
}

pub(crate) fn detail(entry: &FunctionEntry, gateway_url: &str, n_running: usize) -> FunctionDetail {
    FunctionDetail {
        summary: summary(entry, gateway_url),
        previous_live: entry.previous_live,
        current: version(&current(entry).version, entry.live_number()),
        n_running,
    }
}

pub(crate) fn version(version: &FunctionVersion, live: Option<u64>) -> VersionDetail {
    let config = &version.config;
    VersionDetail {
        number: version.number,
        digest: version.digest,
        is_live: live == Some(version.number),
        created_unix_ms: version.created_unix_ms,
        artifact: version.artifact.clone().into(),
        contract: version.contract,
        isolation: config.isolation,
        runtime: config.runtime.clone(),
        handler: config.handler.clone(),
        main: config.main.clone(),
        image: config.image.clone(),
        env_names: config.env.keys().cloned().collect(),
        limits: config.limits.clone(),
        egress: config.egress.iter().map(ToString::to_string).collect(),
        reuse: config.reuse,
        routes: config.routes.clone(),
    }
}

/// Where a function answers: by path at the gateway, by name below `localhost` where the gateway is on
/// this machine, and at its routes.
pub(crate) fn urls(gateway_url: &str, function: &FunctionKey, routes: &[Route]) -> Vec<String> {
    let mut urls = vec![format!("{gateway_url}/function/{function}/")];
    let authority = gateway_url.strip_prefix("http://").unwrap_or(gateway_url);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, format!(":{port}")),
        _ => (authority, String::new()),
    };
    if host.starts_with("127.") || matches!(host, "localhost" | "[::1]" | "0.0.0.0" | "[::]") {
        urls.push(format!("http://{function}.localhost{port}/"));
    }
    for route in routes {
        let path = match &route.path {
            PathPattern::Exact(path) => path.clone(),
            PathPattern::Prefix(path) => format!("{}/", path.trim_end_matches('/')),
        };
        urls.push(match &route.host {
            None => format!("{gateway_url}{path}"),
            Some(host) => format!("http://{host}{port}{path}"),
        });
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_answer_by_path_by_name_and_at_their_routes() {
        let routes = [
            Route {
                host: None,
                path: PathPattern::Prefix("/cart".to_owned()),
                methods: Vec::new(),
            },
            Route {
                host: Some("shop.example".to_owned()),
                path: PathPattern::Exact("/".to_owned()),
                methods: Vec::new(),
            },
        ];
        let key = "a.team".parse().expect("a key");
        assert_eq!(
            urls("http://127.0.0.1:8080", &key, &routes),
            [
                "http://127.0.0.1:8080/function/a.team/",
                "http://a.team.localhost:8080/",
                "http://127.0.0.1:8080/cart/",
                "http://shop.example:8080/",
            ]
        );
        assert_eq!(
            urls("http://[::1]:8080", &key, &[])[1],
            "http://a.team.localhost:8080/"
        );
        assert_eq!(
            urls("http://10.0.0.1:80", &key, &[]),
            ["http://10.0.0.1:80/function/a.team/"]
        );
    }
}
