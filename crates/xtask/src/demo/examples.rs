//! `examples/checks.toml`: which examples there are, what they need, what is asked of them.

use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::call::Call;

/// One example.
pub struct Example {
    /// Its name, also the function's.
    pub name: String,
    /// Its folder below `examples/`.
    pub dir: String,
    /// The isolation class.
    pub class: String,
    /// Programs in PATH that building it takes.
    pub needs: Vec<String>,
    /// What it is written in, for people.
    pub shows: String,
    /// What the check asks.
    pub calls: Vec<Call>,
}

impl Example {
    /// Where it answers.
    pub fn url(&self, gateway: &str) -> String {
        format!("{gateway}/function/{}/", self.name)
    }
}

/// All examples, in the file's order.
pub fn read(root: &Path) -> Result<Vec<Example>> {
    let text = std::fs::read_to_string(root.join("examples/checks.toml"))?;
    let file: Table = text.parse().context("examples/checks.toml")?;
    let examples = file
        .get("example")
        .and_then(Value::as_array)
        .context("no [[example]]")?;
    examples
        .iter()
        .map(|example| {
            let table = example.as_table().context("[[example]] is a table")?;
            let name = text_of(table, "name").context("an example without name")?;
            parse(table, &name).with_context(|| format!("example {name}"))
        })
        .collect()
}

fn parse(table: &Table, name: &str) -> Result<Example> {
    let calls = table
        .get("call")
        .and_then(Value::as_array)
        .context("no [[example.call]]")?;
    let calls = calls
        .iter()
        .map(|call| Call::parse(call.as_table().context("[[example.call]] is a table")?));
    Ok(Example {
        name: name.to_owned(),
        dir: text_of(table, "dir").context("no dir")?,
        class: text_of(table, "class").context("no class")?,
        needs: list_of(table, "needs"),
        shows: list_of(table, "languages").join(", "),
        calls: calls.collect::<Result<_>>()?,
    })
}

/// A text under `key`.
pub fn text_of(table: &Table, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(str::to_owned)
}

fn list_of(table: &Table, key: &str) -> Vec<String> {
    let list = table.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Name and value of every entry of the table under `key`.
pub fn pairs_of(table: &Table, key: &str) -> Vec<(String, String)> {
    let pairs = table.get(key).and_then(Value::as_table);
    pairs
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
