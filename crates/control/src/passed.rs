//! Which headers of a call through the admin API reach the function. Most headers of such a request are
//! for this API (its token, its host name), so the function's own travel as `holm-pass-NAME`; only what
//! describes the bodies goes as it is. Refuses to know where a request comes from.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use model::{Code, Failure};

/// Adds to `event` what the function may see of `headers`.
///
/// # Errors
/// `InvalidArgument` for a `holm-pass-NAME` whose NAME concerns a connection, frames the body, or is the
/// platform's to set: the gateway drops these, but whoever writes one here means it and is told.
pub(crate) fn copy(headers: &HeaderMap, event: &mut HeaderMap) -> Result<(), Failure> {
    for name in [CONTENT_TYPE, CONTENT_LENGTH, ACCEPT] {
        if let Some(value) = headers.get(&name) {
            event.insert(name, value.clone());
        }
    }
    for (name, value) in headers {
        let Some(passed) = name.as_str().strip_prefix(api::header::PASS_PREFIX) else {
            continue;
        };
        let passed = check(passed).map_err(|why| {
            Failure::new(
                Code::InvalidArgument,
                format!("the header `{passed}` cannot be sent to a function: {why}"),
            )
        })?;
        event.append(passed, value.clone());
    }
    Ok(())
}

fn check(name: &str) -> Result<HeaderName, &'static str> {
    // CGI makes names with underscores and names with hyphens into the same variable.
    let hyphened = name.replace('_', "-");
    match hyphened.as_str() {
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "http2-settings"
        | "expect" => Err("it concerns one connection only"),
        "content-length" | "transfer-encoding" => Err("the body's length is told from the body"),
        "host" => Err("the function sees the gateway's; call its URL with the host instead"),
        "content-type" | "accept" => Err("it is passed under its own name"),
        "forwarded" | "x-real-ip" | "x-function-error" | "traceparent" => {
            Err("the platform sets it")
        }
        other => {
            let is_platforms = ["holm-", "x-forwarded-", "x-amz", "proxy"]
                .into_iter()
                .any(|prefix| other.starts_with(prefix));
            if is_platforms {
                return Err("the platform sets it, or drops it from every request");
            }
            HeaderName::try_from(name).map_err(|_| "it is no name of a header")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn copied(pairs: &[(&'static str, &'static str)]) -> Result<Vec<String>, Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        let mut event = HeaderMap::new();
        copy(&headers, &mut event)?;
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        Ok(event.iter().map(line).collect())
    }

    #[test]
    fn functions_see_what_was_meant_for_them() {
        let seen = copied(&[
            ("authorization", "Bearer of-the-node"),
            ("host", "127.0.0.1:8081"),
            ("accept", "text/plain"),
            ("user-agent", "holm"),
            ("holm-pass-authorization", "Bearer of-the-function"),
            ("holm-pass-cookie", "a=1"),
            ("holm-pass-cookie", "b=2"),
            ("holm-pass-x-custom_name", "stays"),
        ]);
        let expected = [
            "accept: text/plain",
            "authorization: Bearer of-the-function",
            "cookie: a=1",
            "cookie: b=2",
            "x-custom_name: stays",
        ];
        assert_eq!(seen.expect("all may pass"), expected);
    }

    #[test]
    fn what_no_caller_may_set_is_refused() {
        for name in [
            "holm-pass-connection",
            "holm-pass-transfer-encoding",
            "holm-pass-content_length",
            "holm-pass-host",
            "holm-pass-x-forwarded-for",
            "holm-pass-x_forwarded_for",
            "holm-pass-holm-invocation-id",
            "holm-pass-proxy",
            "holm-pass-traceparent",
            "holm-pass-",
        ] {
            let failure = copied(&[(name, "x")]).expect_err(name);
            assert_eq!(failure.code(), Code::InvalidArgument, "{name}");
            let shown = name.strip_prefix("holm-pass-").expect("all begin so");
            assert!(
                failure.detail().contains(&format!("`{shown}`")),
                "{failure}"
            );
        }
    }
}
