//! Makes text of strangers harmless to a terminal. A function's log line may hold escape sequences that
//! move the cursor, retitle the window or forge what stands above; a name or a message may too.

use std::fmt::{self, Write as _};

/// Shows text with everything escaped that could act on a terminal or reorder what is read: C0 and C1
/// control characters (ECMA-48), DEL, and the Unicode characters that break lines or change direction.
/// A tab stays. Also valid in a pipe: what is piped ends on a terminal sooner or later.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clean_from = 0;
        for (at, character) in self.0.char_indices() {
            if !is_harmful(character) {
                continue;
            }
            f.write_str(&self.0[clean_from..at])?;
            clean_from = at + character.len_utf8();
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                control if u32::from(control) < 0x100 => {
                    write!(f, "\\x{:02x}", u32::from(control))?
                }
                other => write!(f, "\\u{{{:x}}}", u32::from(other))?,
            }
        }
        f.write_str(&self.0[clean_from..])
    }
}

/// Escapes `text` but keeps its lines apart: for messages that have several.
pub fn escaped_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        write!(out, "{}", Escaped(line)).expect("writing to a String does not fail");
    }
    out
}

fn is_harmful(character: char) -> bool {
    match character {
        '\t' => false,
        // Line and paragraph separators; marks, embeddings, overrides and isolates of direction.
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        Escaped(text).to_string()
    }

    #[test]
    fn plain_text_of_any_script_is_kept() {
        for text in ["", "plain\twith tab", "Grüße, 世界 🙂", r"back\slash"] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_spelled_out() {
        assert_eq!(
            escaped("\u{1b}[2J\u{1b}]0;owned\u{7}"),
            r"\x1b[2J\x1b]0;owned\x07"
        );
        assert_eq!(escaped("safe\rforged"), r"safe\rforged");
        assert_eq!(escaped("a\nb\0c\u{7f}"), r"a\nb\x00c\x7f");
        // The one-character forms of C1: CSI and OSC.
        assert_eq!(escaped("\u{9b}31m\u{9d}"), r"\x9b31m\x9d");
        assert_eq!(
            escaped("a\u{202e}b\u{2066}c\u{2028}"),
            r"a\u{202e}b\u{2066}c\u{2028}"
        );
    }

    #[test]
    fn no_control_character_survives() {
        let all: String = (0..=0x2100u32).filter_map(char::from_u32).collect();
        let text = escaped(&all);
        assert!(text.chars().all(|c| c == '\t' || !c.is_control()));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(
            escaped_lines("one\ntwo\u{1b}[m\r\nthree"),
            "one\ntwo\\x1b[m\nthree"
        );
    }
}
