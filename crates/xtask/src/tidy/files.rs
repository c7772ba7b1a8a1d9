//! Rust files: each says what it owns, and neither files nor functions grow without a recorded reason.
//! The reason is a comment `tidy: long, because ...` in the file, or on the line above the function.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 80;
const REASON: &str = "tidy: long, because";

pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in rust_files(&root.join("crates"))? {
        let text = std::fs::read_to_string(&path)?;
        let shown = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let lines: Vec<&str> = text.lines().collect();
        if !text.starts_with("//!") {
            faults.push(format!("{shown} does not open with `//!`"));
        }
        if lines.len() > FILE_LINES_MAX && !text.contains(REASON) {
            faults.push(format!("{shown} has {} lines", lines.len()));
        }
        faults.extend(
            long_functions(&lines)
                .into_iter()
                .map(|(line, length)| format!("{shown}:{line}: a function of {length} lines")),
        );
    }
    Ok(faults)
}

/// Every Rust file below `directory`, sorted.
pub fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in
            std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?
        {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Functions over the limit: rustfmt closes each with a brace at its own indentation.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut long = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !is_function(code) || line.ends_with(';') {
            continue;
        }
        let indent = line.len() - code.len();
        let close = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[index..].iter().position(|line| *line == close) else {
            continue;
        };
        let excused = lines[..index]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with(['/', '#']))
            .any(|line| line.contains(REASON));
        if length >= FUNCTION_LINES_MAX && !excused {
            long.push((index + 1, length + 1));
        }
    }
    long
}

fn is_function(code: &str) -> bool {
    let words = code.split(['(', '<', ' ']);
    let mut words = words.skip_while(|word| {
        matches!(
            *word,
            "pub" | "crate)" | "super)" | "const" | "async" | "unsafe" | "extern" | "\"C\""
        )
    });
    words.next() == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_other_lines() {
        for code in [
            "fn a() {",
            "pub(crate) async fn b<T>(",
            "unsafe extern \"C\" fn c() {",
        ] {
            assert!(is_function(code), "{code}");
        }
        for code in ["let fn_name = 1;", "// fn a() {", "impl Fn() for X {"] {
            assert!(!is_function(code), "{code}");
        }
    }

    #[test]
    fn long_functions_are_found_unless_excused() {
        let body = "    call();\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("fn long() {{\n{body}}}\nfn short() {{\n}}\n");
        assert_eq!(long_functions(&text.lines().collect::<Vec<_>>()), [(1, 82)]);
        let excused = format!("// {REASON} it is a table.\n{text}");
        assert_eq!(long_functions(&excused.lines().collect::<Vec<_>>()), []);
    }
}
