//! What the command line reads from its surroundings: variables, home, user id. Passed in everywhere,
//! so that no code below depends on the process it runs in and tests need no global state.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The surroundings of one run.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    is_root: bool,
}

impl Environment {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// Surroundings with just these variables.
    pub fn with_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a OsStr)>) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            is_root: false,
        }
    }

    /// Whether the process runs as root.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// A variable; an empty one counts as unset.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }

    /// The data directory of a node that was told none: `XDG_DATA_HOME/holm`, else
    /// `~/.local/share/holm`. `None` where neither variable is set. (XDG Base Directory Specification
    /// 0.8; relative values are to be ignored.)
    pub fn default_data_dir(&self) -> Option<PathBuf> {
        self.xdg_dir("XDG_DATA_HOME", ".local/share")
    }

    /// The user's configuration file of the command line.
    pub fn user_config_file(&self) -> Option<PathBuf> {
        self.xdg_dir("XDG_CONFIG_HOME", ".config")
            .map(|dir| dir.join("config.toml"))
    }

    /// The directory of engine files, shared by all nodes of the host.
    pub fn default_engines_dir(&self) -> Option<PathBuf> {
        if self.is_root {
            Some(PathBuf::from("/var/lib/holm/engines"))
        } else {
            self.default_data_dir().map(|dir| dir.join("engines"))
        }
    }

    /// Finds an executable of this name in `PATH`.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.variable("PATH")?;
        std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(|file| is_executable(file))
    }

    fn xdg_dir(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.path(variable)
            .filter(|dir| dir.is_absolute())
            .or_else(|| self.path("HOME").map(|home| home.join(below_home)))
            .map(|dir| dir.join("holm"))
    }
}

fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::with_variables(
            variables
                .iter()
                .map(|(name, value)| (*name, OsStr::new(*value))),
        )
    }

    #[test]
    fn directories_follow_xdg() {
        let home = environment(&[("HOME", "/home/ada")]);
        assert_eq!(
            home.default_data_dir(),
            Some("/home/ada/.local/share/holm".into())
        );
        assert_eq!(
            home.user_config_file(),
            Some("/home/ada/.config/holm/config.toml".into())
        );
        let xdg = environment(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(xdg.default_data_dir(), Some("/data/holm".into()));
        assert_eq!(xdg.default_engines_dir(), Some("/data/holm/engines".into()));
        let relative = environment(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "data")]);
        assert_eq!(
            relative.default_data_dir(),
            Some("/home/ada/.local/share/holm".into())
        );
        assert_eq!(environment(&[("HOME", "")]).default_data_dir(), None);
    }

    #[test]
    fn root_shares_one_engines_directory() {
        let root = Environment {
            is_root: true,
            ..environment(&[("HOME", "/root")])
        };
        assert_eq!(
            root.default_engines_dir(),
            Some("/var/lib/holm/engines".into())
        );
    }

    #[test]
    fn programs_are_found_by_permission_and_order() {
        let first = tempfile::tempdir().expect("a directory");
        let second = tempfile::tempdir().expect("a directory");
        std::fs::write(first.path().join("tool"), "not executable").expect("written");
        let tool = second.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&tool, mode).expect("permitted");
        let path = std::env::join_paths([first.path(), second.path()]).expect("joinable");
        let environment = Environment::with_variables([("PATH", path.as_os_str())]);
        assert_eq!(environment.find_program("tool"), Some(tool));
        assert_eq!(environment.find_program("other"), None);
    }
}
