//! The catalog at one moment, as the request path reads it: immutable, complete, in memory.

use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use model::{Digest, FunctionKey, Namespace, Route, RouteTable};

use crate::LiveVersion;
use crate::functions::Functions;

/// A function in memory.
#[derive(Clone, Debug)]
pub struct FunctionEntry {
    /// The function.
    pub key: FunctionKey,
    /// All versions, by number.
    pub versions: Vec<Arc<LiveVersion>>,
    /// Where `live` points.
    pub live: Option<Arc<LiveVersion>>,
    /// Where it pointed before.
    pub previous_live: Option<u64>,
}

impl FunctionEntry {
    /// The version with this number.
    pub fn version(&self, number: u64) -> Option<&Arc<LiveVersion>> {
        let index = self
            .versions
            .binary_search_by_key(&number, |live| live.version.number);
        index.ok().map(|index| &self.versions[index])
    }

    /// The version with this content digest.
    pub fn version_with_digest(&self, digest: Digest) -> Option<&Arc<LiveVersion>> {
        self.versions
            .iter()
            .find(|live| live.version.digest == digest)
    }

    /// The versions whose digest begins with `prefix` (hexadecimal, lower-case), as users type them.
    pub fn versions_with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<LiveVersion>> {
        let matches =
            move |live: &&Arc<LiveVersion>| live.version.digest.to_string().starts_with(prefix);
        self.versions.iter().filter(matches)
    }

    /// The routes that are active: those of the live version.
    pub fn routes(&self) -> &[Route] {
        self.live
            .as_ref()
            .map_or(&[], |live| &live.version.config.routes)
    }

    /// The number that `live` points to.
    pub fn live_number(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.version.number)
    }
}

/// The catalog at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts changes; a later snapshot has a higher one.
    pub generation: u64,
    /// The routes of all live versions.
    pub routes: Arc<RouteTable>,
    pub(crate) functions: Functions,
}

impl Snapshot {
    /// A function, by the text of namespace and name as they came with a request. Allocates nothing;
    /// texts that are no names find nothing.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Arc<FunctionEntry>> {
        self.functions.find(namespace, name)
    }

    /// A function by key.
    pub fn get(&self, key: &FunctionKey) -> Option<&Arc<FunctionEntry>> {
        self.find(key.namespace.as_str(), key.name.as_str())
    }

    /// How many functions there are.
    pub fn n_functions(&self) -> usize {
        self.functions.len()
    }

    /// All functions, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.functions.iter()
    }

    /// A page of a listing by key (namespace, then name): at most `n_max` functions after `after`, of
    /// `namespace` or of all. Looks at every function once and keeps `n_max`.
    pub fn page(
        &self,
        namespace: Option<&Namespace>,
        after: Option<&FunctionKey>,
        n_max: usize,
    ) -> Vec<Arc<FunctionEntry>> {
        let mut smallest = BinaryHeap::with_capacity(n_max.min(self.n_functions()) + 1);
        let wanted = self.iter().filter(|entry| {
            namespace.is_none_or(|namespace| entry.key.namespace == *namespace)
                && after.is_none_or(|after| entry.key > *after)
        });
        for entry in wanted {
            smallest.push(ByKey(entry));
            if smallest.len() > n_max {
                smallest.pop();
            }
        }
        let sorted = smallest.into_sorted_vec().into_iter();
        sorted.map(|ByKey(entry)| entry.clone()).collect()
    }

    /// The artifacts that some version needs: what garbage collection of blobs keeps.
    pub fn artifact_digests(&self) -> HashSet<Digest> {
        let versions = self.iter().flat_map(|entry| &entry.versions);
        versions.map(|live| live.version.artifact.digest).collect()
    }
}

/// Orders entries by key.
struct ByKey<'a>(&'a Arc<FunctionEntry>);

impl PartialEq for ByKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey<'_> {}

impl PartialOrd for ByKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
