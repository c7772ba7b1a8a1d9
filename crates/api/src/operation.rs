//! The one table of operations: method, path, who may call it, what goes in and out. Server, client and
//! the tests of the OpenAPI document all read it, so that none of them can know a route that another
//! does not; a new operation without a rule does not compile.

/// An HTTP method of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads. Answers HEAD too.
    Get,
    /// Does something.
    Post,
    /// Sets something; the same call twice does the same as once.
    Put,
    /// Removes something.
    Delete,
}

impl Method {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Everybody who reaches the port: says nothing but that the node lives.
    Anonymous,
    /// Whoever has the node's admin token.
    Token,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing; a body is refused.
    None,
    /// A JSON document of at most [`crate::JSON_BODY_BYTES_MAX`] bytes.
    Json,
    /// An artifact's bytes, with `content-length`, at most the node's `artifact_bytes_max` of them.
    Artifact,
    /// The body of an invocation: whatever the function takes, at most the function's body limit.
    Invocation,
}

/// What a successful answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A JSON document.
    Json,
    /// Prometheus text exposition format 0.0.4.
    Metrics,
    /// JSON values, one per line, for as long as there are any.
    JsonLines,
    /// Whatever the function answers.
    Invocation,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $ident:ident = $id:literal: $method:ident $path:literal, $auth:ident, $payload:ident -> $answer:ident;)*) => {
        /// Something that the admin API does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $ident,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &'static [Operation] = &[$(Operation::$ident,)*];

            /// The `operationId` in the OpenAPI document.
            pub fn id(self) -> &'static str {
                match self { $(Operation::$ident => $id,)* }
            }

            /// The method.
            pub fn method(self) -> Method {
                match self { $(Operation::$ident => Method::$method,)* }
            }

            /// The path with its parameters in braces.
            pub fn path(self) -> &'static str {
                match self { $(Operation::$ident => $path,)* }
            }

            /// Who may call it.
            pub fn auth(self) -> Auth {
                match self { $(Operation::$ident => Auth::$auth,)* }
            }

            /// What the request carries.
            pub fn payload(self) -> Payload {
                match self { $(Operation::$ident => Payload::$payload,)* }
            }

            /// What a successful answer carries.
            pub fn answer(self) -> Answer {
                match self { $(Operation::$ident => Answer::$answer,)* }
            }
        }
    };
}

operations! {
    /// Whether the process runs.
    Live = "live": Get "/live", Anonymous, None -> Json;
    /// Whether the node takes requests: false while it starts and drains.
    Ready = "ready": Get "/ready", Anonymous, None -> Json;
    /// Metrics for Prometheus.
    Metrics = "metrics": Get "/metrics", Token, None -> Metrics;
    /// The OpenAPI document.
    OpenApi = "openApi": Get "/v1/openapi.json", Token, None -> Json;
    /// What the node is and can run.
    Node = "node": Get "/v1/node", Token, None -> Json;
    /// The node's configuration, secrets redacted.
    Config = "config": Get "/v1/config", Token, None -> Json;
    /// The instances that live now.
    Instances = "instances": Get "/v1/instances", Token, None -> Json;
    /// Functions, a page at a time.
    ListFunctions = "listFunctions": Get "/v1/functions", Token, None -> Json;
    /// One function.
    DescribeFunction = "describeFunction": Get "/v1/namespaces/{namespace}/functions/{name}", Token, None -> Json;
    /// Removes a function with its versions. Receipts stay.
    RemoveFunction = "removeFunction": Delete "/v1/namespaces/{namespace}/functions/{name}", Token, None -> Json;
    /// A function's versions.
    ListVersions = "listVersions": Get "/v1/namespaces/{namespace}/functions/{name}/versions", Token, None -> Json;
    /// Publishes a version.
    Publish = "publish": Post "/v1/namespaces/{namespace}/functions/{name}/versions", Token, Json -> Json;
    /// Points the alias `live` at a version.
    SetLive = "setLive": Put "/v1/namespaces/{namespace}/functions/{name}/aliases/live", Token, Json -> Json;
    /// Points `live` at what it pointed to before, or at a version.
    Rollback = "rollback": Post "/v1/namespaces/{namespace}/functions/{name}/rollback", Token, Json -> Json;
    /// Calls a function.
    Invoke = "invoke": Post "/v1/namespaces/{namespace}/functions/{name}/invoke", Token, Invocation -> Invocation;
    /// A function's log lines, one JSON value per line.
    Logs = "logs": Get "/v1/namespaces/{namespace}/functions/{name}/logs", Token, None -> JsonLines;
    /// Whether an artifact is there.
    FindArtifact = "findArtifact": Get "/v1/artifacts/{digest}", Token, None -> Json;
    /// Uploads an artifact under its digest.
    PutArtifact = "putArtifact": Put "/v1/artifacts/{digest}", Token, Artifact -> Json;
    /// The receipt of an invocation.
    FindReceipt = "findReceipt": Get "/v1/receipts/{id}", Token, None -> Json;
    /// Sums over receipts.
    Usage = "usage": Get "/v1/usage", Token, None -> Json;
}

impl Operation {
    /// The path with `parameters` in place of its braces, in their order. Their text is percent-encoded
    /// (RFC 3986), so that none can reach another path.
    pub fn path_with(self, parameters: &[&str]) -> String {
        let mut parameters = parameters.iter();
        let mut path = String::new();
        for segment in self.path().split('/').skip(1) {
            path.push('/');
            if segment.starts_with('{') {
                let value = parameters
                    .next()
                    .expect("one parameter for each pair of braces");
                percent_encode(value, &mut path);
            } else {
                path.push_str(segment);
            }
        }
        assert!(
            parameters.next().is_none(),
            "more parameters than braces in {}",
            self.path()
        );
        path
    }
}

/// Appends `text` to `out`, everything but the unreserved characters of RFC 3986 percent-encoded.
pub fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn operations_are_unique() {
        let ids: BTreeSet<_> = Operation::ALL
            .iter()
            .map(|operation| operation.id())
            .collect();
        let routes: BTreeSet<_> = Operation::ALL
            .iter()
            .map(|operation| (operation.path(), operation.method().as_str()))
            .collect();
        assert_eq!(ids.len(), Operation::ALL.len());
        assert_eq!(routes.len(), Operation::ALL.len());
    }

    #[test]
    fn only_the_health_checks_are_anonymous() {
        let anonymous: Vec<_> = Operation::ALL
            .iter()
            .filter(|operation| operation.auth() == Auth::Anonymous)
            .map(|operation| operation.path())
            .collect();
        assert_eq!(anonymous, ["/live", "/ready"]);
    }

    #[test]
    fn parameters_cannot_leave_their_segment() {
        assert_eq!(
            Operation::FindReceipt.path_with(&["../../live?x#y"]),
            "/v1/receipts/..%2F..%2Flive%3Fx%23y"
        );
        assert_eq!(
            Operation::ListVersions.path_with(&["default", "hello"]),
            "/v1/namespaces/default/functions/hello/versions"
        );
    }
}
