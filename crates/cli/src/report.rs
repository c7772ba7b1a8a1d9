//! How a command that did not succeed says so, and with which exit code it ends. One place for all of
//! them: problem documents of the node, failures of the command line, usage errors.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | refused or failed for a reason on the user's side: the function, the manifest, the build, a name |
//! | 2 | wrong usage, or the platform's doing: no node, no token, no space, an internal error |
//!
//! `invoke` is stricter: 1 means that the function failed, everything else is 2.

use std::fmt::Write as _;

use client::ClientError;
use model::failure::Position;
use model::{Code, Failure, Problem, Side};

use crate::console::{Console, is_reader_gone};
use crate::text::Style;
use crate::text::escape::{Escaped, escaped_lines};

/// Done.
pub const EXIT_DONE: u8 = 0;
/// Refused or failed on the user's side.
pub const EXIT_REFUSED: u8 = 1;
/// Wrong usage, or the platform's doing.
pub const EXIT_PLATFORM: u8 = 2;

/// A file whose text is at hand, for messages that point into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Its name in messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A problem with everything that helps to show it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}", .problem.code, .problem.detail)]
pub struct Refusal {
    /// What happened.
    pub problem: Problem,
    /// The files that its positions point into.
    pub sources: Vec<SourceText>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            sources: Vec::new(),
            hints: Vec::new(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        failure.to_problem(None).into()
    }
}

/// The command line was used wrongly; clap tells most of these itself.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Whose exit codes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitRule {
    /// Those of most commands.
    Usual,
    /// Those of `invoke`: what is not the function's own doing is 2.
    Invoke,
}

impl ExitRule {
    /// The exit code of a problem.
    pub fn code(self, problem: &Problem) -> u8 {
        let is_own_usage = matches!(
            problem.code,
            Code::Unauthorized | Code::Forbidden | Code::InvalidArgument | Code::ConfigInvalid
        );
        match (problem.side, self) {
            (Side::Function, _) => EXIT_REFUSED,
            (Side::Caller, ExitRule::Usual) if !is_own_usage => EXIT_REFUSED,
            (Side::Caller | Side::Platform, _) => EXIT_PLATFORM,
        }
    }
}

/// Tells why a command failed, and returns the exit code. `as_json` puts the problem document on
/// stderr, on one line.
pub fn tell(error: &anyhow::Error, console: &mut Console, as_json: bool, rule: ExitRule) -> u8 {
    if error.chain().any(is_reader_gone) {
        return EXIT_DONE;
    }
    if let Some(UsageError(text)) = error.downcast_ref() {
        let style = console.err_style();
        console.note(format_args!("{} {}", style.red("error:"), Escaped(text)));
        return EXIT_PLATFORM;
    }
    let refusal = refusal_of(error);
    tell_refusal(&refusal, console, as_json);
    rule.code(&refusal.problem)
}

/// Tells a problem.
pub fn tell_refusal(refusal: &Refusal, console: &mut Console, as_json: bool) {
    if as_json {
        let line = serde_json::to_string(&refusal.problem).expect("a problem is plain data");
        console.note(line);
    } else {
        let text = render(refusal, console.err_style());
        console.note(text.trim_end());
    }
}

/// What is told of any error.
pub fn refusal_of(error: &anyhow::Error) -> Refusal {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        refusal.clone()
    } else if let Some(failure) = error.downcast_ref::<Failure>() {
        failure.clone().into()
    } else if let Some(client_error) = error.downcast_ref::<ClientError>() {
        client_error.to_problem().into()
    } else {
        Failure::new(Code::Internal, format!("{error:#}")).into()
    }
}

/// A problem as text for people, each line ended.
pub fn render(refusal: &Refusal, style: Style) -> String {
    let problem = &refusal.problem;
    let mut text = String::new();
    let label = format!("error[{}]:", problem.code);
    put(
        &mut text,
        format_args!(
            "{} {}",
            style.red(label),
            style.bold(Escaped(&problem.title))
        ),
    );
    if problem.positions.is_empty() {
        for line in escaped_lines(&problem.detail).lines() {
            put(&mut text, format_args!("  {line}"));
        }
    }
    for position in &problem.positions {
        let source = refusal
            .sources
            .iter()
            .find(|source| source.name == position.file);
        text.push_str(&snippet(position, source, style));
    }
    if let Some(limit) = &problem.limit {
        put(
            &mut text,
            format_args!(
                "  {} {} = {}; to change it: {}",
                style.dim("limit:"),
                Escaped(&limit.name),
                Escaped(&limit.value),
                Escaped(&limit.knob)
            ),
        );
    }
    if let Some(instance) = &problem.instance {
        let id = instance.strip_prefix("urn:uuid:").unwrap_or(instance);
        put(
            &mut text,
            format_args!("  {} {}", style.dim("invocation:"), Escaped(id)),
        );
    }
    for hint in &refusal.hints {
        put(
            &mut text,
            format_args!("  {} {}", style.dim("hint:"), Escaped(hint)),
        );
    }
    put(
        &mut text,
        format_args!("  {} holm explain {}", style.dim("more:"), problem.code),
    );
    text
}

/// The place of a fault, as compilers show it.
fn snippet(position: &Position, source: Option<&SourceText>, style: Style) -> String {
    let mut text = String::new();
    let (file, line, column) = (Escaped(&position.file), position.line, position.column);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let arrow = format!("{margin}-->");
    put(
        &mut text,
        format_args!("{} {file}:{line}:{column}", style.dim(arrow)),
    );
    let message = if position.field.is_empty() {
        position.message.clone()
    } else {
        format!("{}: {}", position.field, position.message)
    };
    let message = Escaped(&message);
    let bar = format!("{margin} |");
    let Some(shown) = source.and_then(|source| nth_line(&source.text, line)) else {
        put(&mut text, format_args!("{} {message}", style.dim(bar)));
        return text;
    };
    put(&mut text, style.dim(&bar));
    let numbered = format!("{number} |");
    put(
        &mut text,
        format_args!("{} {}", style.dim(numbered), Escaped(shown)),
    );
    let before: String = shown
        .chars()
        .take(column.saturating_sub(1) as usize)
        .collect();
    // Escaping may have made the line before the fault longer; tabs stay tabs to keep their width.
    let padding: String = Escaped(&before)
        .to_string()
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = "^".repeat(word_length(shown, column));
    put(
        &mut text,
        format_args!(
            "{} {padding}{} {message}",
            style.dim(&bar),
            style.red(carets)
        ),
    );
    text
}

fn nth_line(text: &str, line: u32) -> Option<&str> {
    let index = line.checked_sub(1)?;
    text.lines().nth(index as usize)
}

/// How much to underline: the word, or quoted text, that begins at `column`.
fn word_length(line: &str, column: u32) -> usize {
    let mut rest = line.chars().skip(column.saturating_sub(1) as usize);
    let Some(first) = rest.next() else {
        return 1;
    };
    let n_more = if first == '"' || first == '\'' {
        let text: Vec<char> = rest.collect();
        text.iter()
            .position(|c| *c == first)
            .map_or(text.len(), |at| at + 1)
    } else {
        rest.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
            .count()
    };
    1 + n_more
}

fn put(text: &mut String, line: impl std::fmt::Display) {
    writeln!(text, "{line}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use model::InvocationId;

    use super::*;

    fn rendered(refusal: &Refusal) -> String {
        render(refusal, Style::PLAIN)
    }

    #[test]
    fn a_limit_comes_with_its_value_and_its_knob() {
        let failure = Failure::new(Code::CpuExhausted, "it computed for 100 ms\u{1b}[31m")
            .with_limit("limits.cpu_ms", "100 ms", "`[limits] cpu_ms` in holm.toml");
        let problem = failure.to_problem(Some(InvocationId::from_bytes([7; 16])));
        let mut refusal = Refusal::from(problem);
        refusal.hints.push("look at its log".to_owned());
        insta::assert_snapshot!(rendered(&refusal), @r"
        error[H2003]: The function used up its CPU time
          it computed for 100 ms\x1b[31m
          limit: limits.cpu_ms = 100 ms; to change it: `[limits] cpu_ms` in holm.toml
          invocation: 07070707-0707-0707-0707-070707070707
          hint: look at its log
          more: holm explain H2003
        ");
    }

    #[test]
    fn faults_point_into_the_text() {
        let text = "name = \"x\"\n\tmemroy = \"64MiB\"\n";
        let position = |line, column, field: &str| Position {
            file: "holm.toml".to_owned(),
            line,
            column,
            field: field.to_owned(),
            message: "why".to_owned(),
        };
        let mut problem = Failure::new(Code::ManifestInvalid, "not shown").to_problem(None);
        problem.positions = vec![
            position(2, 2, "memroy"),
            position(1, 8, ""),
            position(9, 1, "beyond.the.end"),
        ];
        let refusal = Refusal {
            problem,
            sources: vec![SourceText {
                name: "holm.toml".to_owned(),
                text: text.to_owned(),
            }],
            hints: Vec::new(),
        };
        insta::assert_snapshot!(rendered(&refusal), @r#"
        error[H4001]: The manifest is invalid
         --> holm.toml:2:2
          |
        2 | 	memroy = "64MiB"
          | 	^^^^^^ memroy: why
         --> holm.toml:1:8
          |
        1 | name = "x"
          |        ^^^ why
         --> holm.toml:9:1
          | beyond.the.end: why
          more: holm explain H4001
        "#);
    }

    #[test]
    fn odd_positions_do_no_harm() {
        for (line, column) in [(0, 0), (1, 0), (1, 99), (u32::MAX, u32::MAX)] {
            let position = Position {
                file: "f".to_owned(),
                line,
                column,
                field: String::new(),
                message: "why".to_owned(),
            };
            let source = SourceText {
                name: "f".to_owned(),
                text: "ä".to_owned(),
            };
            assert!(snippet(&position, Some(&source), Style::PLAIN).contains("why"));
        }
    }

    #[test]
    fn exit_codes_follow_the_side() {
        let code = |code, rule: ExitRule| rule.code(&Failure::new(code, "").to_problem(None));
        for (problem, usual, invoke) in [
            (Code::Trap, 1, 1),
            (Code::FunctionNotFound, 1, 2),
            (Code::ManifestInvalid, 1, 2),
            (Code::BuildFailed, 1, 2),
            (Code::Unauthorized, 2, 2),
            (Code::NodeNotRunning, 2, 2),
            (Code::NodeAtCapacity, 2, 2),
            (Code::Internal, 2, 2),
        ] {
            assert_eq!(code(problem, ExitRule::Usual), usual, "{problem}");
            assert_eq!(code(problem, ExitRule::Invoke), invoke, "{problem}");
        }
    }

    #[test]
    fn errors_of_every_kind_are_told() {
        let told = |error: anyhow::Error| refusal_of(&error).problem.code;
        assert_eq!(
            told(Failure::new(Code::StoreFull, "x").into()),
            Code::StoreFull
        );
        assert_eq!(told(anyhow::anyhow!("x")), Code::Internal);
        let problem = Failure::new(Code::Draining, "x").to_problem(None);
        let error = client::ClientError::Problem(Box::new(problem));
        assert_eq!(told(error.into()), Code::Draining);
    }
}
