//! Removing compiled modules that no version needs any more. Knows the layout of the cache directory and
//! nothing else: a file that goes too early is compiled again.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use model::Digest;

/// A compiled module younger than this stays: its version may be about to be published.
const GRACE: Duration = Duration::from_secs(3_600);

/// Removes the compiled modules below `cache_dir` whose artifact is not in `keep`, for every engine that
/// ever compiled there. Returns how many went. Blocks on file IO.
///
/// # Errors
/// The directory cannot be read. A file that cannot be removed stays for the next time.
pub fn collect_garbage(cache_dir: &Path, keep: &dyn Fn(Digest) -> bool) -> io::Result<usize> {
    collect_older_than(GRACE, cache_dir, keep)
}

fn collect_older_than(
    grace: Duration,
    cache_dir: &Path,
    keep: &dyn Fn(Digest) -> bool,
) -> io::Result<usize> {
    let mut n_removed = 0;
    for engine in std::fs::read_dir(cache_dir)? {
        let engine = engine?;
        if !engine.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(engine.path())? {
            let path = file?.path();
            let is_module = path
                .extension()
                .is_some_and(|extension| extension == "cwasm");
            if !is_module || is_kept(&path, keep) || is_young(&path, grace) {
                continue;
            }
            // The description first: a module without one is not found.
            let _ = std::fs::remove_file(path.with_extension("json"));
            if std::fs::remove_file(&path).is_ok() {
                n_removed += 1;
            }
        }
    }
    Ok(n_removed)
}

fn is_kept(path: &Path, keep: &dyn Fn(Digest) -> bool) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    match stem.map(str::parse::<Digest>) {
        Some(Ok(digest)) => keep(digest),
        // Not a name of ours: not ours to remove.
        _ => true,
    }
}

fn is_young(path: &Path, grace: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    match modified.map(|modified| SystemTime::now().duration_since(modified)) {
        Ok(Ok(age)) => age < grace,
        // From the future, or unreadable.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_version_needs_goes_and_nothing_else() {
        let cache = tempfile::tempdir().expect("a directory");
        let engine = cache.path().join("engine");
        std::fs::create_dir(&engine).expect("writable");
        let (needed, unneeded) = (Digest::of(b"needed"), Digest::of(b"unneeded"));
        for name in [
            format!("{needed}.cwasm"),
            format!("{needed}.json"),
            format!("{unneeded}.cwasm"),
            format!("{unneeded}.json"),
            "notes.cwasm".to_owned(),
        ] {
            std::fs::write(engine.join(name), "x").expect("writable");
        }
        let keep = |digest: Digest| digest == needed;
        let young = collect_garbage(cache.path(), &keep).expect("readable");
        assert_eq!(young, 0, "a young module stays");
        let removed = collect_older_than(Duration::ZERO, cache.path(), &keep).expect("readable");
        assert_eq!(removed, 1);
        let mut left: Vec<String> = std::fs::read_dir(&engine)
            .expect("readable")
            .map(|file| {
                file.expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        left.sort();
        let mut expected = [
            format!("{needed}.cwasm"),
            format!("{needed}.json"),
            "notes.cwasm".to_owned(),
        ];
        expected.sort();
        assert_eq!(left, expected);
    }
}
