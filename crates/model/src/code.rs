//! The stable error codes: number, side, HTTP status, whether a retry may help, title. `docs/errors/`
//! holds a page per code, which `holm explain` prints; a test holds both lists equal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The request was wrong, or too much.
    Caller,
    /// The function failed by itself or hit its own limit.
    Function,
    /// The platform could not do its part.
    Platform,
}

macro_rules! codes {
    ($($ident:ident = $number:literal, $side:ident, $status:literal, $retryable:literal, $title:literal;)*) => {
        /// A stable error code. Its text is `H` and four digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $ident = $number,)*
        }

        impl Code {
            /// All codes, in order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$ident,)*];

            /// Whose doing it is.
            pub fn side(self) -> Side {
                match self { $(Code::$ident => Side::$side,)* }
            }

            /// The HTTP status of the answer.
            pub fn status(self) -> u16 {
                match self { $(Code::$ident => $status,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Code::$ident => $retryable,)* }
            }

            /// A short title, the same for every failure with this code.
            pub fn title(self) -> &'static str {
                match self { $(Code::$ident => $title,)* }
            }

            /// The page that explains the code, Markdown from `docs/errors/`: meaning, causes, remedy,
            /// an example. A code without a page does not compile.
            pub fn page(self) -> &'static str {
                match self {
                    $(Code::$ident => {
                        include_str!(concat!("../../../docs/errors/H", $number, ".md"))
                    })*
                }
            }
        }
    };
}

codes! {
    // What a caller of a function, or of the admin API, did.
    FunctionNotFound = 1001, Caller, 404, false, "No such function";
    NoRoute = 1002, Caller, 404, false, "No function answers at this address";
    MethodNotAllowed = 1003, Caller, 405, false, "The route does not allow this method";
    BadRequest = 1004, Caller, 400, false, "Malformed HTTP request";
    BodyTooLarge = 1005, Caller, 413, false, "Request body too large";
    HeadersTooLarge = 1006, Caller, 431, false, "Request headers too large";
    UriTooLong = 1007, Caller, 414, false, "Request URI too long";
    RequestTimeout = 1008, Caller, 408, true, "The request did not arrive in time";
    TooManyConcurrent = 1009, Caller, 429, true, "Too many concurrent invocations";
    ExpectationFailed = 1010, Caller, 417, false, "Unknown expectation";
    BodyMalformed = 1011, Caller, 400, false, "Malformed request body";
    CallerGone = 1012, Caller, 499, false, "The caller went away";
    Unauthorized = 1013, Caller, 401, false, "A valid token is needed";
    Forbidden = 1014, Caller, 403, false, "The token does not allow this";
    VersionNotFound = 1015, Caller, 404, false, "No such version";
    ReceiptNotFound = 1016, Caller, 404, false, "No such receipt";
    HostNotAllowed = 1017, Caller, 421, false, "This host name is not served here";
    InvalidArgument = 1018, Caller, 400, false, "Invalid argument";
    ApiNotFound = 1019, Caller, 404, false, "No such API route";
    // What a function did.
    Trap = 2001, Function, 502, false, "The function trapped";
    DeadlineExceeded = 2002, Function, 504, false, "The function did not finish in time";
    CpuExhausted = 2003, Function, 504, false, "The function used up its CPU time";
    MemoryExhausted = 2004, Function, 502, false, "The function used up its memory";
    Exited = 2005, Function, 502, false, "The function exited with an error";
    NoResponse = 2006, Function, 502, false, "The function gave no response";
    BadResponse = 2007, Function, 502, false, "The function gave an invalid response";
    ResponseTooLarge = 2008, Function, 502, false, "The function's response is too large";
    InitFailed = 2009, Function, 502, false, "The function failed while starting";
    FunctionError = 2010, Function, 502, false, "The function reported an error";
    HostcallLimit = 2011, Function, 502, false, "The function exceeded a limit on host calls";
    // What the platform could not do.
    StartTimeout = 3001, Platform, 503, true, "No instance was ready in time";
    NodeAtCapacity = 3002, Platform, 503, true, "The node is at capacity";
    ClassUnavailable = 3003, Platform, 503, false, "The isolation class is unavailable on this node";
    Internal = 3004, Platform, 500, true, "Internal error";
    Draining = 3005, Platform, 503, true, "The node is shutting down";
    StoreFull = 3006, Platform, 507, true, "The node's storage is full";
    StoreFailed = 3007, Platform, 503, true, "The node's storage failed";
    ArtifactMissing = 3008, Platform, 500, false, "The version's artifact is missing or damaged";
    // What was wrong with a deploy.
    ManifestInvalid = 4001, Caller, 400, false, "The manifest is invalid";
    WasmInvalid = 4002, Caller, 400, false, "The WebAssembly file is invalid";
    WasmUnsupported = 4003, Caller, 400, false, "The WebAssembly file is not a function that Holm can run";
    CompileLimit = 4004, Caller, 422, false, "Compilation exceeded its limits";
    RouteConflict = 4005, Caller, 409, false, "The route belongs to another function";
    ArtifactTooLarge = 4006, Caller, 413, false, "The artifact is too large";
    DigestMismatch = 4007, Caller, 400, false, "The upload does not match its digest";
    EnvInvalid = 4008, Caller, 400, false, "The environment is invalid";
    NameInvalid = 4009, Caller, 400, false, "The name is invalid";
    ArtifactUnknown = 4010, Caller, 409, true, "The artifact has not been uploaded";
    LimitAboveCeiling = 4011, Caller, 400, false, "A limit is above the operator's ceiling";
    ArtifactUnfit = 4012, Caller, 400, false, "The artifact does not fit the isolation class";
    EngineRefused = 4013, Caller, 403, false, "The operator does not allow this engine";
    // What the command line or the start of a node met.
    NodeNotRunning = 5001, Platform, 503, true, "No node answers";
    ToolMissing = 5002, Caller, 400, false, "A build tool is missing";
    BuildFailed = 5003, Caller, 400, false, "The build failed";
    PortInUse = 5004, Platform, 503, false, "The address is in use";
    DataDirLocked = 5005, Platform, 503, false, "Another node uses this data directory";
    SchemaTooNew = 5006, Platform, 503, false, "The data directory belongs to a newer version";
    NothingToDeploy = 5007, Caller, 400, false, "Nothing to deploy here";
    ConfigInvalid = 5008, Caller, 400, false, "The configuration is invalid";
    StoreCorrupt = 5009, Platform, 503, false, "The data directory is damaged";
    MachineUnfit = 5010, Platform, 503, true, "The machine cannot be measured on now";
}

/// What `holm explain` prints: the page of `code`.
pub fn explain(code: Code) -> &'static str {
    code.page()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H{:04}", *self as u16)
    }
}

/// The text is not a known code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an error code: codes look like H1001")]
pub struct CodeError(String);

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| CodeError(text.escape_default().to_string()))
    }
}

crate::serde_text::serde_as_text!(Code);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_round_trip() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| *code as u16).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
            assert!((400..600).contains(&code.status()), "{code}");
        }
    }

    #[test]
    fn every_code_has_a_page_that_agrees_with_it() {
        for code in Code::ALL {
            let page = explain(*code);
            let side = format!("{:?}", code.side()).to_lowercase();
            let again = match code.retryable() {
                true => "a retry may help",
                false => "a retry does not help",
            };
            let head = format!(
                "# {code}: {}\n\nHTTP {}, side: {side}, {again}.\n\n## Meaning\n\n",
                code.title(),
                code.status()
            );
            assert!(page.starts_with(&head), "{code}: expected\n{head}");
            for section in [
                "\n## Causes\n\n- ",
                "\n## Remedy\n\n- ",
                "\n## Example\n\n```",
            ] {
                assert!(page.contains(section), "{code}: {section}");
            }
            assert!(
                page.ends_with("```\n") && page.lines().count() < 60,
                "{code}"
            );
        }
    }

    #[test]
    fn every_page_has_a_code() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        let mut pages: Vec<String> = std::fs::read_dir(directory)
            .expect("the directory is part of the repository")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        pages.sort();
        let codes: Vec<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
        assert_eq!(pages, codes);
    }
}
