//! Takes secrets out of a configuration before it is shown.

use serde_json::Value;

/// What is shown in a secret's place.
pub(crate) const REDACTED: &str = "[redacted]";

/// Parts of a key's name that make its value a secret. Rather one too many: what is shown wrongly cannot
/// be taken back.
const SECRET_WORDS: [&str; 8] = [
    "secret",
    "token",
    "password",
    "passphrase",
    "credential",
    "private",
    "authorization",
    "cookie",
];

/// Whether a key's value is a secret; `key` alone or at the end is one too (`api_key`).
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) || key == "key" || key.ends_with("_key")
}

/// `value` with every secret replaced, also the password of a URL.
pub(crate) fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let is_empty = matches!(value, Value::Null | Value::Bool(_));
                let value = if is_secret(&key) && !is_empty {
                    REDACTED.into()
                } else {
                    redacted(value)
                };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(redacted).collect()),
        Value::String(text) => Value::String(without_user(text)),
        other => other,
    }
}

/// A URL without user name and password.
fn without_user(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let config = json!({
            "admin": {"address": "127.0.0.1:1", "token": "canary", "hosts": ["a"]},
            "store": {"url": "nats://user:canary@host/x?y", "api_key": "canary", "keys_max": 3},
            "list": [{"clientSecret": {"a": "canary"}, "password": "canary"}],
            "tls": {"private_key_file": "canary", "private": false, "key": "canary"},
        });
        let shown = redacted(config);
        assert!(!shown.to_string().contains("canary"), "{shown}");
        assert_eq!(shown["admin"]["address"], "127.0.0.1:1");
        assert_eq!(shown["store"]["keys_max"], 3);
        assert_eq!(shown["store"]["url"], "nats://[redacted]@host/x?y");
        assert_eq!(shown["tls"]["private"], false);
        assert_eq!(shown["admin"]["token"], REDACTED);
    }
}
