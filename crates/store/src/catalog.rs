//! The catalog: reads from memory, writes through to a store. Every change makes a new [`Snapshot`] and
//! swaps it in, after the store has it durably; so what a reader sees is on disk.
//!
//! All writes block: callers run them off the request path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::{Code, Failure, FunctionKey, FunctionVersion, Route, RouteTable};
use parking_lot::Mutex;

use crate::persist::{CatalogStore, FunctionState, Publish, Published};
use crate::snapshot::{FunctionEntry, Snapshot};
use crate::{BlobStore, LiveVersion, StoreError};

/// A borrowed snapshot: cheap to take, to be let go soon.
pub type SnapshotGuard = arc_swap::Guard<Arc<Snapshot>>;

/// What a change did to a function.
#[derive(Clone, Debug)]
pub struct CatalogChange {
    /// The function after it.
    pub entry: Arc<FunctionEntry>,
    /// What `live` pointed to before.
    pub old_live: Option<Arc<LiveVersion>>,
    /// What `live` points to now.
    pub new_live: Option<Arc<LiveVersion>>,
}

impl CatalogChange {
    /// The version that `live` left: its warm instances may go.
    pub fn retired(&self) -> Option<&Arc<LiveVersion>> {
        let old = self.old_live.as_ref()?;
        let stays = self.new_live.as_ref().is_some_and(|new| new.uid == old.uid);
        (!stays).then_some(old)
    }
}

/// What a publication did.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What the store says.
    pub published: Published,
    /// The version in memory.
    pub version: Arc<LiveVersion>,
    /// What changed.
    pub change: CatalogChange,
}

/// The catalog: reads from memory, writes through to a store.
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    store: Arc<dyn CatalogStore>,
    /// Held over check, store write and swap, so that all three have the same order.
    writing: Mutex<()>,
    next_uid: AtomicU64,
    route_conflicts_at_open: Vec<Failure>,
}

impl Catalog {
    /// Reads everything that `store` has.
    ///
    /// # Errors
    /// Those of [`CatalogStore::load`].
    pub fn open(store: Arc<dyn CatalogStore>) -> Result<Self, StoreError> {
        let state = store.load()?;
        let mut catalog = Self {
            current: ArcSwap::default(),
            store,
            writing: Mutex::new(()),
            next_uid: AtomicU64::new(1),
            route_conflicts_at_open: Vec::new(),
        };
        let mut routes = RouteTable::default();
        let mut snapshot = Snapshot {
            generation: 1,
            ..Snapshot::default()
        };
        for function in state.functions {
            let entry = catalog.entry_of(function)?;
            match check_routes(&routes, &entry.key, entry.routes()) {
                Ok(()) => routes.set(&entry.key, entry.routes()),
                Err(conflict) => catalog.route_conflicts_at_open.push(conflict),
            }
            snapshot.functions.insert(Arc::new(entry));
        }
        snapshot.routes = Arc::new(routes);
        catalog.current.store(Arc::new(snapshot));
        Ok(catalog)
    }

    /// The catalog now, for a short look: what the request path takes. No lock, no allocation.
    pub fn snapshot(&self) -> SnapshotGuard {
        self.current.load()
    }

    /// The catalog now, to keep over an await or a long loop.
    pub fn snapshot_owned(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Functions whose routes are not active because the store held routes in conflict: none, unless a
    /// release changed what conflicts. To be shown at start; the functions keep their own addresses.
    pub fn route_conflicts_at_open(&self) -> &[Failure] {
        &self.route_conflicts_at_open
    }

    /// Whether `function` could have `routes` now: for a dry run.
    ///
    /// # Errors
    /// [`Code::RouteConflict`], naming the other function and its route.
    pub fn check_routes(&self, function: &FunctionKey, routes: &[Route]) -> Result<(), Failure> {
        check_routes(&self.snapshot().routes, function, routes)
    }

    /// Publishes a version: durably in the store, then visibly here.
    ///
    /// # Errors
    /// [`Code::RouteConflict`] when it is to be promoted and a route of it is another function's;
    /// otherwise the store's. After a failure nothing has changed here; a store that broke in the middle
    /// of the write may show the version after a restart, wholly or not at all.
    pub fn publish(&self, publish: &Publish) -> Result<Publication, Failure> {
        let _writing = self.writing.lock();
        let before = self.snapshot_owned();
        if publish.promote {
            check_routes(&before.routes, &publish.function, &publish.config.routes)?;
        }
        let published = self.store.publish(publish)?;
        let old = before.get(&publish.function);
        let mut entry = match old {
            Some(old) => FunctionEntry::clone(old),
            None => FunctionEntry {
                key: publish.function.clone(),
                versions: Vec::new(),
                live: None,
                previous_live: None,
            },
        };
        let version = match entry.version(published.version.number) {
            Some(version) => version.clone(),
            None => {
                let version = self.live_version(published.version.clone());
                entry.versions.push(version.clone());
                version
            }
        };
        if publish.promote {
            move_live(&mut entry, &version);
        }
        let change = self.swap_in(&before, entry);
        Ok(Publication {
            published,
            version,
            change,
        })
    }

    /// Points `live` at `version`.
    ///
    /// # Errors
    /// [`Code::FunctionNotFound`], [`Code::VersionNotFound`], [`Code::RouteConflict`], or the store's.
    pub fn promote(&self, function: &FunctionKey, version: u64) -> Result<CatalogChange, Failure> {
        let _writing = self.writing.lock();
        self.promote_locked(function, version)
    }

    /// Points `live` at `version`, or at what it pointed to before.
    ///
    /// # Errors
    /// As [`Catalog::promote`]; [`Code::VersionNotFound`] too when `live` never pointed elsewhere.
    pub fn rollback(
        &self,
        function: &FunctionKey,
        version: Option<u64>,
    ) -> Result<CatalogChange, Failure> {
        let _writing = self.writing.lock();
        let version = match version {
            Some(version) => version,
            None => {
                let snapshot = self.snapshot();
                let entry = snapshot
                    .get(function)
                    .ok_or_else(|| no_function(function))?;
                entry.previous_live.ok_or_else(|| {
                    let detail = format!("`{function}` has no earlier live version to go back to");
                    Failure::new(Code::VersionNotFound, detail)
                })?
            }
        };
        self.promote_locked(function, version)
    }

    /// Removes a function with its versions. Returns what it was; none of its versions serves any more.
    ///
    /// # Errors
    /// [`Code::FunctionNotFound`], or the store's.
    pub fn remove(&self, function: &FunctionKey) -> Result<Arc<FunctionEntry>, Failure> {
        let _writing = self.writing.lock();
        let mut after = Snapshot::clone(&self.snapshot());
        let entry = after
            .functions
            .remove(function)
            .ok_or_else(|| no_function(function))?;
        self.store.remove(function)?;
        after.generation += 1;
        set_routes(&mut after, function, &[]);
        self.current.store(Arc::new(after));
        Ok(entry)
    }

    /// Removes the blobs that no version needs, but for those that were uploaded or found lately. Returns
    /// how many went.
    ///
    /// # Errors
    /// Those of [`BlobStore::collect_garbage`].
    pub fn collect_garbage(&self, blobs: &dyn BlobStore) -> Result<usize, StoreError> {
        // A version that is published meanwhile has a blob that was found just before.
        let needed = self.snapshot().artifact_digests();
        blobs.collect_garbage(&|digest| needed.contains(&digest))
    }

    fn promote_locked(
        &self,
        function: &FunctionKey,
        version: u64,
    ) -> Result<CatalogChange, Failure> {
        let before = self.snapshot_owned();
        let old = before.get(function).ok_or_else(|| no_function(function))?;
        let target = old.version(version).ok_or_else(|| {
            Failure::new(
                Code::VersionNotFound,
                format!("`{function}` has no version {version}"),
            )
        })?;
        check_routes(&before.routes, function, &target.version.config.routes)?;
        self.store.promote(function, version)?;
        let mut entry = FunctionEntry::clone(old);
        move_live(&mut entry, target);
        Ok(self.swap_in(&before, entry))
    }

    /// Makes `entry` visible in the place of what `before` has of the function.
    fn swap_in(&self, before: &Snapshot, entry: FunctionEntry) -> CatalogChange {
        let entry = Arc::new(entry);
        let old_live = before.get(&entry.key).and_then(|old| old.live.clone());
        let mut after = before.clone();
        after.generation += 1;
        after.functions.insert(entry.clone());
        set_routes(&mut after, &entry.key, entry.routes());
        self.current.store(Arc::new(after));
        let new_live = entry.live.clone();
        CatalogChange {
            entry,
            old_live,
            new_live,
        }
    }

    fn entry_of(&self, state: FunctionState) -> Result<FunctionEntry, StoreError> {
        let mut entry = FunctionEntry {
            key: state.function,
            versions: state
                .versions
                .into_iter()
                .map(|version| self.live_version(version))
                .collect(),
            live: None,
            previous_live: state.previous_live,
        };
        entry.versions.sort_by_key(|live| live.version.number);
        if let Some(number) = state.live {
            let missing =
                || StoreError::Corrupt(format!("`{}` lacks its live version {number}", entry.key));
            entry.live = Some(entry.version(number).cloned().ok_or_else(missing)?);
        }
        Ok(entry)
    }

    fn live_version(&self, version: FunctionVersion) -> Arc<LiveVersion> {
        let uid = self.next_uid.fetch_add(1, Ordering::Relaxed);
        Arc::new(LiveVersion::new(uid, Arc::new(version)))
    }
}

/// The rule that every [`CatalogStore`] follows too: moving to where it is already changes nothing.
fn move_live(entry: &mut FunctionEntry, target: &Arc<LiveVersion>) {
    let from = entry.live_number();
    if from != Some(target.version.number) {
        entry.previous_live = from;
        entry.live = Some(target.clone());
    }
}

/// Most functions have no routes, so most changes share the table.
fn set_routes(snapshot: &mut Snapshot, function: &FunctionKey, routes: &[Route]) {
    if snapshot.routes.routes(function) != routes {
        Arc::make_mut(&mut snapshot.routes).set(function, routes);
    }
}

fn check_routes(
    table: &RouteTable,
    function: &FunctionKey,
    routes: &[Route],
) -> Result<(), Failure> {
    match table.conflicts(function, routes) {
        None => Ok(()),
        Some(conflict) => {
            let (route, other) = (&conflict.route, &conflict.with);
            let detail =
                format!("the route `{route}` of `{function}` belongs to `{other}` already");
            Err(Failure::new(Code::RouteConflict, detail))
        }
    }
}

fn no_function(function: &FunctionKey) -> Failure {
    Failure::new(
        Code::FunctionNotFound,
        format!("there is no function `{function}`"),
    )
}
