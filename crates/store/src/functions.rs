//! The map from function to entry that snapshots share. Refuses to know what an entry means.
//!
//! A change must not copy ten thousand functions, and a lookup on the request path must neither allocate
//! nor walk a tree: so the map is a fixed number of shards behind `Arc`s, each a hash table. A change
//! copies the list of shards (a few KiB) and the one shard it touches. A persistent trie was weighed and
//! lost: slower lookups, a dependency, and no gain below a hundred thousand functions.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use model::FunctionKey;

use crate::snapshot::FunctionEntry;

/// Shards of the map; a power of two, as the low bits of the hash choose one. The table inside uses the
/// high bits first, so both stay well spread.
const N_SHARDS: usize = 256;

type Shard = HashTable<Arc<FunctionEntry>>;

/// A persistent map: cheap to copy with one change.
#[derive(Clone, Debug)]
pub(crate) struct Functions {
    shards: Box<[Arc<Shard>]>,
    /// Seeded per process: who chooses the names of functions cannot choose their hashes. Not the standard
    /// library's: that one takes three times the instructions, on every request.
    hasher: RandomState,
    len: usize,
}

impl Default for Functions {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Self {
            shards: (0..N_SHARDS).map(|_| empty.clone()).collect(),
            hasher: RandomState::default(),
            len: 0,
        }
    }
}

impl Functions {
    /// The entry of a function, by borrowed parts: no allocation.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<&Arc<FunctionEntry>> {
        let hash = self.hash(namespace, name);
        self.shards[shard_index(hash)].find(hash, |entry| is(entry, namespace, name))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Puts an entry in the place of the one with its key.
    pub(crate) fn insert(&mut self, entry: Arc<FunctionEntry>) {
        let (namespace, name) = parts(&entry.key);
        let hash = self.hash(namespace, name);
        let hasher = &self.hasher;
        let shard = Arc::make_mut(&mut self.shards[shard_index(hash)]);
        match shard.find_mut(hash, |old| is(old, namespace, name)) {
            Some(old) => *old = entry,
            None => {
                shard.insert_unique(hash, entry, |entry| {
                    let (namespace, name) = parts(&entry.key);
                    hash_parts(hasher, namespace, name)
                });
                self.len += 1;
            }
        }
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &FunctionKey) -> Option<Arc<FunctionEntry>> {
        let (namespace, name) = parts(key);
        let hash = self.hash(namespace, name);
        let shard = Arc::make_mut(&mut self.shards[shard_index(hash)]);
        let found = shard.find_entry(hash, |entry| is(entry, namespace, name));
        let (entry, _) = found.ok()?.remove();
        self.len -= 1;
        Some(entry)
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        hash_parts(&self.hasher, namespace, name)
    }
}

fn hash_parts(hasher: &RandomState, namespace: &str, name: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(namespace.as_bytes());
    // A byte that no name holds: "a" + "bc" and "ab" + "c" differ.
    hasher.write_u8(0xff);
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn shard_index(hash: u64) -> usize {
    (hash as usize) & (N_SHARDS - 1)
}

fn parts(key: &FunctionKey) -> (&str, &str) {
    (key.namespace.as_str(), key.name.as_str())
}

fn is(entry: &FunctionEntry, namespace: &str, name: &str) -> bool {
    parts(&entry.key) == (namespace, name)
}
