//! The threads of a process by their names, from proc(5).

use super::error::CountError;
use super::tracee::Tid;

/// The thread of process `pid` with that name; none where there is none.
pub(super) fn find(pid: u32, name: &str) -> Result<Option<Tid>, CountError> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        // One that ended meanwhile has no name.
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            let tid = entry.file_name().to_string_lossy().parse().ok();
            return Ok(tid.and_then(Tid::new));
        }
    }
    Ok(None)
}
