//! Finding the version that somebody means.

use std::sync::Arc;

use api::VersionRef;
use model::{Code, Failure};
use store::{FunctionEntry, LiveVersion};

/// The version with this number, else the one whose digest begins like this.
///
/// # Errors
/// `VersionNotFound`; `InvalidArgument` where a digest's beginning fits several versions, naming them.
pub(crate) fn resolve(
    entry: &FunctionEntry,
    wanted: &VersionRef,
) -> Result<Arc<LiveVersion>, Failure> {
    if let Some(version) = wanted.number().and_then(|number| entry.version(number)) {
        return Ok(Arc::clone(version));
    }
    let mut found = match wanted.digest_prefix() {
        Some(prefix) => entry.versions_with_prefix(prefix).collect(),
        None => Vec::new(),
    };
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(Arc::clone(only)),
        (Some(last), false) => {
            found.push(last);
            let candidates: Vec<String> = found
                .iter()
                .take(5)
                .map(|live| format!("{} ({})", live.version.number, live.version.digest.short()))
                .collect();
            let detail = format!(
                "`{wanted}` is the beginning of {} digests: {}",
                found.len(),
                candidates.join(", ")
            );
            Err(Failure::new(Code::InvalidArgument, detail))
        }
        (None, _) => {
            let detail = format!("`{}` has no version `{wanted}`", entry.key);
            Err(Failure::new(Code::VersionNotFound, detail))
        }
    }
}

/// What `live` points to.
///
/// # Errors
/// `VersionNotFound` where versions were published and none promoted.
pub(crate) fn live(entry: &FunctionEntry) -> Result<Arc<LiveVersion>, Failure> {
    entry.live.clone().ok_or_else(|| {
        let detail = format!(
            "`{}` has no live version: promote one of its versions first",
            entry.key
        );
        Failure::new(Code::VersionNotFound, detail)
    })
}

#[cfg(test)]
mod tests {
    use model::{
        Artifact, ArtifactKind, Contract, Digest, FunctionConfig, FunctionVersion, Isolation,
    };

    use super::*;

    /// Versions 1, 2, ... with these beginnings of digests.
    fn entry(prefixes: &[[u8; 3]]) -> FunctionEntry {
        let versions = prefixes.iter().zip(1..).map(|(prefix, number)| {
            let mut bytes = [0; 32];
            bytes[..3].copy_from_slice(prefix);
            let artifact = Artifact {
                digest: Digest::of(b""),
                size_bytes: 0,
                kind: ArtifactKind::Wasm,
            };
            let version = FunctionVersion {
                function: "f".parse().expect("a key"),
                number,
                digest: Digest::from_bytes(bytes),
                artifact,
                contract: Contract::Sim,
                config: FunctionConfig::defaults(Isolation::Wasm),
                created_unix_ms: 0,
            };
            Arc::new(LiveVersion::new(number, Arc::new(version)))
        });
        FunctionEntry {
            key: "f".parse().expect("a key"),
            versions: versions.collect(),
            live: None,
            previous_live: None,
        }
    }

    fn find(entry: &FunctionEntry, text: &str) -> Result<u64, Code> {
        let wanted = text.parse().expect("a reference");
        resolve(entry, &wanted)
            .map(|live| live.version.number)
            .map_err(|failure| failure.code())
    }

    #[test]
    fn versions_are_found_by_number_and_by_the_beginning_of_a_digest() {
        let entry = entry(&[[0xab, 0xcd, 0x01], [0xab, 0xcd, 0x02], [0x12, 0x34, 0x56]]);
        assert_eq!(find(&entry, "2"), Ok(2));
        assert_eq!(find(&entry, "ABCD02"), Ok(2));
        assert_eq!(
            find(&entry, "123456"),
            Ok(3),
            "digits alone, and no version has the number"
        );
        assert_eq!(find(&entry, "4"), Err(Code::VersionNotFound));
        assert_eq!(find(&entry, "abcd03"), Err(Code::VersionNotFound));
        assert_eq!(find(&entry, "abcd"), Err(Code::InvalidArgument), "fits two");
        let wanted = "abcd".parse().expect("a reference");
        let failure = resolve(&entry, &wanted).expect_err("ambiguous");
        assert!(failure.detail().contains("1 (abcd01") && failure.detail().contains("2 (abcd02"));
    }
}
