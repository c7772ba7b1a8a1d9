//! Small file systems to fill up. Mounting needs root; without it the tests say that they are skipped.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs; unmounted when dropped.
pub struct Tmpfs {
    at: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `size` (`4m`) at a directory; `Err` says why it cannot be.
    pub fn mount(at: &Path, size: &str) -> Result<Self, String> {
        let options = format!("size={size},mode=700");
        let command = ["-t", "tmpfs", "-o", &options, "holm-test"];
        match Command::new("mount").args(command).arg(at).output() {
            Ok(output) if output.status.success() => Ok(Self { at: at.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    /// Makes it read-only.
    pub fn make_read_only(&self) {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&self.at)
            .status();
        assert!(remounted.expect("mount ran before").success());
    }

    /// Takes all space that is left, to the byte; given back when dropped.
    pub fn fill(&self) -> Filler {
        let path = self.at.join("filler");
        let mut file = File::create(&path).expect("a file can be made");
        for size_bytes in [1 << 16, 1 << 12, 1] {
            while file.write(&vec![b'x'; size_bytes]).is_ok() {}
        }
        Filler { path }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// A file that fills a file system.
pub struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).expect("it is there");
    }
}
