//! One call of an example by `curl`, and what has to come back.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use toml::{Table, Value};

use super::examples::{pairs_of, text_of};

/// A request and the expected answer.
pub struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    send: Option<String>,
    status: u16,
    body: Option<String>,
    body_contains: Option<String>,
    expected_headers: Vec<(String, String)>,
}

impl Call {
    /// Reads an `[[example.call]]`.
    pub fn parse(table: &Table) -> Result<Self> {
        const KNOWN: &[&str] = &[
            "method",
            "path",
            "headers",
            "send",
            "status",
            "body",
            "body_contains",
            "header",
        ];
        if let Some(key) = table.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            anyhow::bail!("unknown key `{key}` in a call");
        }
        let status = table
            .get("status")
            .and_then(Value::as_integer)
            .unwrap_or(200);
        Ok(Self {
            method: text_of(table, "method").unwrap_or_else(|| "GET".to_owned()),
            path: text_of(table, "path").unwrap_or_else(|| "/".to_owned()),
            headers: pairs_of(table, "headers"),
            send: text_of(table, "send"),
            status: u16::try_from(status)?,
            body: text_of(table, "body"),
            body_contains: text_of(table, "body_contains"),
            expected_headers: pairs_of(table, "header"),
        })
    }

    fn url(&self, gateway: &str, name: &str) -> String {
        format!("{gateway}/function/{name}{}", self.path)
    }

    /// The line that a person would type.
    pub fn curl(&self, gateway: &str, name: &str) -> String {
        let mut line = "curl".to_owned();
        if self.method != "GET" && !(self.method == "POST" && self.send.is_some()) {
            line.push_str(&format!(" -X {}", self.method));
        }
        for (header, value) in &self.headers {
            line.push_str(&format!(" -H {}", quoted(&format!("{header}: {value}"))));
        }
        if let Some(body) = &self.send {
            line.push_str(&format!(" --data-binary {}", quoted(body)));
        }
        format!("{line} {}", quoted(&self.url(gateway, name)))
    }

    /// Calls and compares.
    pub fn check(&self, gateway: &str, name: &str) -> Result<()> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--include"]);
        command.args(["--http1.1", "--path-as-is", "--request", &self.method]);
        for (header, value) in &self.headers {
            command.args(["--header", &format!("{header}: {value}")]);
        }
        if let Some(body) = &self.send {
            command.args(["--data-binary", body]);
        }
        let output = super::stdout_of(command.arg(self.url(gateway, name)))?;
        self.compare(&output)
            .with_context(|| self.curl(gateway, name))
    }

    fn compare(&self, output: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(output);
        let mut rest: &str = &text;
        // Interim answers (100 Continue) come first.
        let (head, body) = loop {
            let (head, after) = rest
                .split_once("\r\n\r\n")
                .context("no head in the answer")?;
            if !head.starts_with("HTTP/1.1 1") {
                break (head, after);
            }
            rest = after;
        };
        let mut lines = head.lines();
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).unwrap_or_default();
        ensure!(
            status == self.status.to_string(),
            "expected {}, got {status_line}: {body}",
            self.status
        );
        for (name, value) in &self.expected_headers {
            let found = lines.clone().any(|line| {
                line.split_once(": ")
                    .is_some_and(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
            });
            ensure!(found, "header `{name}: {value}` is missing in:\n{head}");
        }
        if let Some(expected) = &self.body {
            ensure!(
                body == expected,
                "expected the body {expected:?}, got {body:?}"
            );
        }
        if let Some(part) = &self.body_contains {
            ensure!(
                body.contains(part),
                "expected {part:?} in the body, got {body:?}"
            );
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Call {
        Call::parse(&text.parse().expect("TOML")).expect("a call")
    }

    #[test]
    fn answers_are_compared_in_every_part() {
        let expected = call("status = 201\nbody = \"hi\"\nheader = { x-a = \"1\" }");
        let answer = |text: &str| expected.compare(text.as_bytes());
        assert!(answer("HTTP/1.1 201 Created\r\nX-A: 1\r\n\r\nhi").is_ok());
        assert!(answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 C\r\nx-a: 1\r\n\r\nhi").is_ok());
        assert!(answer("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhi").is_err());
        assert!(answer("HTTP/1.1 201 Created\r\nX-A: 2\r\n\r\nhi").is_err());
        assert!(answer("HTTP/1.1 201 Created\r\nX-A: 1\r\n\r\nho").is_err());
        assert!(answer("").is_err());
    }

    #[test]
    fn the_line_to_type_is_quoted() {
        let line = call("method = \"POST\"\nsend = \"it's\"").curl("http://h", "f");
        assert_eq!(line, r"curl --data-binary 'it'\''s' 'http://h/function/f/'");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(Call::parse(&"stats = 200".parse().expect("TOML")).is_err());
    }
}
