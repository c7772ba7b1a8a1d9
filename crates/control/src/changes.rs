//! What differs between two versions, for people. Never the value of an environment variable.

use std::collections::BTreeSet;

use api::Change;
use model::limits::Limit;
use model::{Artifact, Contract, FunctionConfig, FunctionVersion};

/// What a variable reads as that has a value.
const SET: &str = "(set)";

/// What a variable reads as that has another value than before.
const CHANGED: &str = "(changed)";

/// What differs from `old`, in the order of the manifest's keys.
pub(crate) fn changes(
    old: &FunctionVersion,
    artifact: &Artifact,
    contract: Contract,
    config: &FunctionConfig,
) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let describe = |artifact: &Artifact| {
        Some(format!(
            "{} ({} bytes)",
            artifact.digest.short(),
            artifact.size_bytes
        ))
    };
    if old.artifact.digest != artifact.digest {
        changes.push("artifact", describe(&old.artifact), describe(artifact));
    }
    changes.text(
        "contract",
        Some(old.contract.as_str()),
        Some(contract.as_str()),
    );
    let was = &old.config;
    changes.text(
        "isolation",
        Some(was.isolation.as_str()),
        Some(config.isolation.as_str()),
    );
    changes.text("runtime", was.runtime.as_deref(), config.runtime.as_deref());
    changes.text("handler", was.handler.as_deref(), config.handler.as_deref());
    changes.text("main", was.main.as_deref(), config.main.as_deref());
    changes.text("image", was.image.as_deref(), config.image.as_deref());
    changes.env(was, config);
    for limit in Limit::ALL {
        let (from, to) = (was.limits.get(limit), config.limits.get(limit));
        if from != to {
            let field = format!("limits.{}", limit.key());
            changes.push(&field, Some(limit.format(from)), Some(limit.format(to)));
        }
    }
    changes.set("egress.allow", &was.egress, &config.egress);
    if was.reuse != config.reuse {
        changes.push(
            "reuse",
            Some(was.reuse.to_string()),
            Some(config.reuse.to_string()),
        );
    }
    changes.set("routes", &was.routes, &config.routes);
    changes.0
}

struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, field: &str, from: Option<String>, to: Option<String>) {
        self.0.push(Change {
            field: field.to_owned(),
            from,
            to,
        });
    }

    fn text(&mut self, field: &str, from: Option<&str>, to: Option<&str>) {
        if from != to {
            self.push(field, from.map(str::to_owned), to.map(str::to_owned));
        }
    }

    fn env(&mut self, was: &FunctionConfig, config: &FunctionConfig) {
        let names: BTreeSet<&String> = was.env.keys().chain(config.env.keys()).collect();
        for name in names {
            let field = format!("env.{name}");
            match (was.env.get(name), config.env.get(name)) {
                (Some(from), Some(to)) if from != to => {
                    self.text(&field, Some(SET), Some(CHANGED));
                }
                (from, to) => self.text(&field, from.map(|_| SET), to.map(|_| SET)),
            }
        }
    }

    /// What left a list and what joined it; the order says nothing.
    fn set<T: ToString>(&mut self, field: &str, was: &[T], is: &[T]) {
        let was: BTreeSet<String> = was.iter().map(ToString::to_string).collect();
        let is: BTreeSet<String> = is.iter().map(ToString::to_string).collect();
        for gone in was.difference(&is) {
            self.push(field, Some(gone.clone()), None);
        }
        for new in is.difference(&was) {
            self.push(field, None, Some(new.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{ArtifactKind, Digest, Isolation, manifest};

    use super::*;

    fn config(text: &str) -> FunctionConfig {
        let manifest = manifest::parse(text, "holm.toml").expect("valid");
        manifest.resolve(Isolation::Wasm)
    }

    fn artifact(bytes: &[u8]) -> Artifact {
        let size_bytes = bytes.len() as u64;
        Artifact {
            digest: Digest::of(bytes),
            size_bytes,
            kind: ArtifactKind::Wasm,
        }
    }

    fn version(text: &str) -> FunctionVersion {
        FunctionVersion {
            function: "f".parse().expect("a key"),
            number: 1,
            digest: Digest::of(b""),
            artifact: artifact(b"old"),
            contract: Contract::Sim,
            config: config(text),
            created_unix_ms: 0,
        }
    }

    #[test]
    fn every_kind_of_difference_is_named_and_no_value_of_the_environment_shown() {
        let old = version(
            "env = { A = 'secret-1', B = 'secret-2', C = 'secret-3' }\nreuse = 2\n\
             [egress]\nallow = ['a.example', 'b.example']\n[[routes]]\npath = '/a/*'\n",
        );
        let new = config(
            "env = { A = 'secret-1', B = 'secret-4', D = 'secret-5' }\n\
             [limits]\nmemory = '64MiB'\n[egress]\nallow = ['b.example', 'c.example']\n\
             [[routes]]\npath = '/b'\nmethods = ['GET']\n",
        );
        let changes = changes(&old, &artifact(b"new!"), Contract::HolmCore1, &new);
        let text: Vec<String> = changes
            .iter()
            .map(|change| {
                let show = |side: &Option<String>| side.clone().unwrap_or("-".to_owned());
                format!(
                    "{}: {} > {}",
                    change.field,
                    show(&change.from),
                    show(&change.to)
                )
            })
            .collect();
        let artifacts = format!(
            "artifact: {} (3 bytes) > {} (4 bytes)",
            Digest::of(b"old").short(),
            Digest::of(b"new!").short()
        );
        assert_eq!(
            text,
            [
                &artifacts,
                "contract: sim > holm:core/1",
                "env.B: (set) > (changed)",
                "env.C: (set) > -",
                "env.D: - > (set)",
                "limits.memory: 128MiB > 64MiB",
                "egress.allow: a.example > -",
                "egress.allow: - > c.example",
                "reuse: 2 > 1",
                "routes: /a/* > -",
                "routes: - > GET /b",
            ]
        );
        assert!(!text.concat().contains("secret"));
    }

    #[test]
    fn the_same_content_has_no_differences() {
        let old = version("[limits]\ntimeout = '5s'\n");
        let same = old.config.clone();
        assert_eq!(changes(&old, &old.artifact, old.contract, &same), []);
    }
}
