//! The name of a function that nobody named: made from its directory or file.

use model::{Code, Failure, FunctionName};

/// Makes a name of a directory's or a file's: lower case, and a hyphen for every run of characters that
/// names do not have. Letters outside ASCII are not guessed at.
///
/// # Errors
/// `NameInvalid` where nothing is left or it is too long; it says to name the function.
pub fn derive(text: &str) -> Result<FunctionName, Failure> {
    let refuse = |why: &str| {
        Failure::new(
            Code::NameInvalid,
            format!(
                "cannot make a function name of `{}`: {why}; give one with --name, or with `name` \
                 in holm.toml",
                text.escape_default()
            ),
        )
    };
    if !text.is_ascii() {
        return Err(refuse("names have no letters outside ASCII"));
    }
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    FunctionName::new(name).map_err(|error| refuse(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_files_are_called() {
        let cases = [
            ("hello", "hello"),
            ("Hello_World", "hello-world"),
            ("my.app v2", "my-app-v2"),
            ("__init__", "init"),
            ("a - b", "a-b"),
        ];
        for (text, name) in cases {
            assert_eq!(derive(text).expect(text).as_str(), name);
        }
    }

    #[test]
    fn what_gives_no_name_is_refused_with_the_remedy() {
        for text in ["", "___", "größe", &"a".repeat(64)] {
            let failure = derive(text).expect_err(text);
            assert_eq!(failure.code(), Code::NameInvalid);
            assert!(failure.detail().contains("--name"), "{failure}");
        }
    }
}
