//! Which node to talk to and with which token: flags, variables, the user's configuration file, the
//! node's own token file. Reads files; knows nothing of HTTP.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use model::{Code, Failure};
use serde::Deserialize;

use crate::environment::Environment;

/// Where a node's admin API is when nobody says otherwise.
pub const ADMIN_DEFAULT: &str = "http://127.0.0.1:8081";

/// The name of the token's file in a node's data directory.
pub const TOKEN_FILE: &str = "admin.token";

/// The most bytes of a configuration or token file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// `~/.config/holm/config.toml`: what the user does not want to say every time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The address of the admin API.
    pub admin: Option<String>,
    /// The admin token.
    pub token: Option<String>,
}

impl UserConfig {
    /// Reads the file; a missing one is an empty one.
    ///
    /// # Errors
    /// `ConfigInvalid` where it cannot be read or says something unknown.
    pub fn load(environment: &Environment) -> Result<Self, Failure> {
        let Some(file) = environment.user_config_file() else {
            return Ok(Self::default());
        };
        let invalid = |why: &dyn std::fmt::Display| {
            Failure::new(Code::ConfigInvalid, format!("{}: {why}", file.display()))
        };
        match read_small(&file) {
            Ok(text) => toml::from_str(&text).map_err(|error| invalid(&error)),
            Err(error) if is_absent(&error) => Ok(Self::default()),
            Err(error) => Err(invalid(&error)),
        }
    }
}

/// Which node, and how to show that one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address of the admin API, as it was written.
    pub admin: String,
    /// The token, where one was found.
    pub token: Option<String>,
    /// Where a token was looked for and why there was none: for the message when one is needed.
    pub looked_in: Vec<String>,
}

impl Target {
    /// Finds address and token. The address: `flag` (which clap fills from `HOLM_ADMIN` too), else the
    /// configuration file's, else [`ADMIN_DEFAULT`]. The token: `HOLM_TOKEN`, else the configuration
    /// file's, else `admin.token` in `HOLM_DATA_DIR`, else in the default data directory.
    ///
    /// # Errors
    /// `ConfigInvalid` for a configuration file that cannot be used.
    pub fn resolve(flag: Option<&str>, environment: &Environment) -> Result<Self, Failure> {
        let config = UserConfig::load(environment)?;
        let admin = flag.or(config.admin.as_deref()).unwrap_or(ADMIN_DEFAULT);
        let mut looked_in = Vec::new();
        let token = find_token(&config, environment, &mut looked_in);
        Ok(Self {
            admin: admin.to_owned(),
            token,
            looked_in,
        })
    }
}

fn find_token(
    config: &UserConfig,
    environment: &Environment,
    looked_in: &mut Vec<String>,
) -> Option<String> {
    let named = environment
        .variable("HOLM_TOKEN")
        .and_then(|token| token.to_str())
        .or(config.token.as_deref())
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty());
    if named.is_some() {
        return named;
    }
    looked_in.push("HOLM_TOKEN is not set".to_owned());
    if let Some(file) = environment.user_config_file() {
        looked_in.push(format!("{} has no `token`", file.display()));
    }
    let data_dirs = [
        environment.path("HOLM_DATA_DIR"),
        environment.default_data_dir(),
    ];
    data_dirs
        .into_iter()
        .flatten()
        .find_map(|dir| read_token(&dir.join(TOKEN_FILE), looked_in))
}

fn read_token(file: &Path, looked_in: &mut Vec<String>) -> Option<String> {
    match read_small(file) {
        Ok(text) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
        Ok(_) => looked_in.push(format!("{} is empty", file.display())),
        Err(error) if is_absent(&error) => {
            looked_in.push(format!("{} does not exist", file.display()));
        }
        Err(error) => looked_in.push(format!("{}: {error}", file.display())),
    }
    None
}

fn read_small(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let n_read = fs::File::open(file)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if n_read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    /// A home with a token at every place where one is looked for.
    struct Home {
        dir: tempfile::TempDir,
    }

    impl Home {
        fn new() -> Self {
            let home = Self {
                dir: tempfile::tempdir().expect("a directory"),
            };
            home.write(
                "config/holm/config.toml",
                "token = 'of-config'\nadmin = 'config:1'\n",
            );
            home.write("chosen/admin.token", "of-chosen\n");
            home.write("data/holm/admin.token", "of-default\n");
            home
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.dir.path().join(file);
            fs::create_dir_all(file.parent().expect("it has one")).expect("made");
            fs::write(file, text).expect("written");
        }

        fn remove(&self, file: &str) {
            fs::remove_file(self.dir.path().join(file)).expect("removed");
        }

        fn environment(&self, token: &str) -> Environment {
            let dir = |name: &str| self.dir.path().join(name).into_os_string();
            let variables = [
                ("HOLM_TOKEN", token.into()),
                ("HOLM_DATA_DIR", dir("chosen")),
                ("XDG_CONFIG_HOME", dir("config")),
                ("XDG_DATA_HOME", dir("data")),
            ];
            Environment::with_variables(
                variables
                    .iter()
                    .map(|(name, value)| (*name, OsStr::new(value))),
            )
        }

        fn token(&self, variable: &str) -> Option<String> {
            Target::resolve(None, &self.environment(variable))
                .expect("resolvable")
                .token
        }
    }

    #[test]
    fn tokens_are_looked_for_in_order() {
        let home = Home::new();
        assert_eq!(home.token("of-variable").as_deref(), Some("of-variable"));
        assert_eq!(home.token("").as_deref(), Some("of-config"));
        home.remove("config/holm/config.toml");
        assert_eq!(home.token("").as_deref(), Some("of-chosen"));
        home.write("chosen/admin.token", "  \n");
        assert_eq!(home.token("").as_deref(), Some("of-default"));
        home.remove("data/holm/admin.token");
        let target = Target::resolve(None, &home.environment("")).expect("resolvable");
        assert_eq!(target.token, None);
        assert_eq!(target.looked_in.len(), 4, "{:?}", target.looked_in);
    }

    #[test]
    fn the_flag_goes_before_the_file_and_the_file_before_the_default() {
        let home = Home::new();
        let admin = |flag: Option<&str>| {
            Target::resolve(flag, &home.environment(""))
                .expect("resolvable")
                .admin
        };
        assert_eq!(admin(Some("http://10.0.0.1:9")), "http://10.0.0.1:9");
        assert_eq!(admin(None), "config:1");
        home.remove("config/holm/config.toml");
        assert_eq!(admin(None), ADMIN_DEFAULT);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let home = Home::new();
        home.write("config/holm/config.toml", "tokn = 'x'\n");
        let failure = Target::resolve(None, &home.environment("")).expect_err("unknown key");
        assert_eq!(failure.code(), Code::ConfigInvalid);
        assert!(failure.detail().contains("tokn"), "{failure}");
        assert!(failure.detail().contains("line 1"), "{failure}");
    }
}
