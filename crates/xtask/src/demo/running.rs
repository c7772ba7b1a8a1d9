//! The node that the demo works with: one that runs already, or one of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// A node to deploy to.
pub struct RunningNode {
    holm: PathBuf,
    /// The node's process, where the demo started it.
    child: Option<Child>,
    /// Held open: a node that cannot write its stdout is no longer a healthy one.
    _stdout: Option<BufReader<ChildStdout>>,
    /// A data directory that goes with the node.
    scratch: Option<PathBuf>,
    /// Where functions answer.
    pub gateway: String,
    /// Where the admin API answers.
    pub admin: String,
    data_dir: Option<String>,
}

impl RunningNode {
    /// For a check always a node of its own on free ports; else the one at the default addresses, started
    /// where there is none.
    pub fn start(holm: &Path, check: bool) -> Result<Self> {
        if !check && let Some(node) = Self::already_there(holm) {
            println!("A node answers at {} already: deploying to it.", node.admin);
            return Ok(node);
        }
        let scratch =
            check.then(|| std::env::temp_dir().join(format!("holm-demo-{}", std::process::id())));
        // The node ends with the demo, also when the demo is killed.
        let mut command = Command::new("setpriv");
        if std::env::var_os("HOLM_LOG").is_none() {
            // The demo tells what happens; the node speaks up only when something is wrong.
            command.env("HOLM_LOG", "warn");
        }
        command
            .args(["--pdeathsig", "TERM"])
            .arg(holm)
            .args(["up", "--json"]);
        if let Some(scratch) = &scratch {
            command.args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
            command.arg("--data-dir").arg(scratch);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("holm up")?;
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let status = child.wait()?;
            bail!("the node did not start ({status}); it says why above");
        };
        let text = |key: &str| -> Result<String> {
            Ok(ready[key]
                .as_str()
                .with_context(|| format!("no {key} in {line}"))?
                .to_owned())
        };
        Ok(Self {
            holm: holm.to_owned(),
            gateway: text("gateway")?,
            admin: text("admin")?,
            data_dir: Some(text("data_dir")?),
            child: Some(child),
            _stdout: Some(stdout),
            scratch,
        })
    }

    fn already_there(holm: &Path) -> Option<Self> {
        let admin = "http://127.0.0.1:8081".to_owned();
        let mut node = Self {
            holm: holm.to_owned(),
            child: None,
            _stdout: None,
            scratch: None,
            gateway: String::new(),
            admin,
            data_dir: None,
        };
        let info = node.info().ok()?;
        node.gateway = info["gateway_url"].as_str()?.to_owned();
        Some(node)
    }

    /// A `holm` command against this node.
    pub fn holm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.holm);
        command.args(arguments).env("HOLM_ADMIN", &self.admin);
        if let Some(data_dir) = &self.data_dir {
            command.env("HOLM_DATA_DIR", data_dir);
            // Before any token that the user has for another node, in the environment or in a file.
            if let Ok(token) = std::fs::read_to_string(Path::new(data_dir).join("admin.token")) {
                command.env("HOLM_TOKEN", token.trim());
            }
        }
        command
    }

    /// What the node says of itself.
    fn info(&self) -> Result<Value> {
        let stdout = super::stdout_of(&mut self.holm(&["doctor", "--json"]))?;
        let info: Value = serde_json::from_slice(&stdout)?;
        let node = &info["node"];
        if node.is_null() {
            bail!("no node answers");
        }
        Ok(node.clone())
    }

    /// Class, state and detail of every isolation class.
    pub fn classes(&self) -> Result<Vec<(String, String, String)>> {
        let info = self.info()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(info["classes"]
            .as_array()
            .context("classes")?
            .iter()
            .map(|class| {
                (
                    text(&class["isolation"]),
                    text(&class["state"]),
                    text(&class["detail"]),
                )
            })
            .collect())
    }

    /// Waits until the node ends by itself.
    pub fn wait(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child {
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the node as an operator would, and says so when it did not end well.
    pub fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = child.id().to_string();
        stop_signal(&pid)?;
        let status = child.wait()?;
        if !status.success() {
            bail!("the node ended with {status}");
        }
        Ok(())
    }
}

/// `kill` by number of a child that is ours and not yet waited for.
fn stop_signal(pid: &str) -> Result<()> {
    super::stdout_of(Command::new("kill").args(["-TERM", pid])).map(|_| ())
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(scratch) = &self.scratch {
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}
