//! Cases for [`Catalog`] over a store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::route::PathPattern;
use model::{Code, Failure, Route};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::catalog::{Change, any_change};
use super::data::{artifact, artifact_bytes, function, publish};
use super::{Harness, LONG_GRACE};
use crate::snapshot::{FunctionEntry, Snapshot};
use crate::{BlobStore, Catalog, CatalogState, CatalogStore, FunctionState, Publish};

fn state_of(snapshot: &Snapshot) -> CatalogState {
    let state_of = |entry: &Arc<FunctionEntry>| FunctionState {
        function: entry.key.clone(),
        versions: entry
            .versions
            .iter()
            .map(|live| (*live.version).clone())
            .collect(),
        live: entry.live_number(),
        previous_live: entry.previous_live,
    };
    let page = snapshot.page(None, None, usize::MAX);
    assert_eq!(page.len(), snapshot.n_functions());
    CatalogState {
        functions: page.iter().map(state_of).collect(),
    }
}

fn apply(catalog: &Catalog, change: &Change, now_unix_ms: u64) -> Result<(), Failure> {
    match *change {
        Change::Publish {
            n,
            content,
            promote,
        } => {
            let publication = catalog.publish(&publish(n, content, promote, now_unix_ms))?;
            let entry = publication.change.entry;
            let version = entry
                .version(publication.version.version.number)
                .expect("it is in");
            assert_eq!(version.uid, publication.version.uid);
            assert_eq!(*version.version, publication.published.version);
            assert_eq!(entry.live_number(), publication.published.live);
        }
        Change::Promote { n, version } => {
            let change = catalog.promote(&function(n), version)?;
            assert_eq!(
                change.new_live.map(|live| live.version.number),
                Some(version)
            );
        }
        Change::Remove { n } => drop(catalog.remove(&function(n))?),
    }
    Ok(())
}

/// After any change, and after opening anew, the snapshot has what the store has; versions keep their
/// identity as long as they exist, and no identity comes twice.
pub fn shows_what_the_store_has<H: Harness>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let changes = proptest::collection::vec(any_change(), 0..50);
    let result = runner.run(&changes, |changes| {
        let mut harness = H::new(LONG_GRACE);
        let catalog = Catalog::open(harness.shared()).expect("opens");
        let mut owners = HashMap::new();
        for (now, change) in changes.iter().enumerate() {
            let generation = catalog.snapshot().generation;
            match apply(&catalog, change, now as u64) {
                Ok(()) => prop_assert_eq!(catalog.snapshot().generation, generation + 1),
                Err(failure) => {
                    prop_assert!(matches!(
                        failure.code(),
                        Code::FunctionNotFound | Code::VersionNotFound
                    ));
                    prop_assert_eq!(catalog.snapshot().generation, generation);
                }
            }
            let snapshot = catalog.snapshot_owned();
            prop_assert_eq!(state_of(&snapshot), harness.store().load().expect("loads"));
            for live in snapshot.iter().flat_map(|entry| &entry.versions) {
                let owner = owners.entry(live.uid).or_insert_with(|| live.clone());
                prop_assert!(Arc::ptr_eq(owner, live));
            }
        }
        let before = state_of(&catalog.snapshot());
        drop(catalog);
        harness.reopen();
        let catalog = Catalog::open(harness.shared()).expect("opens");
        prop_assert_eq!(state_of(&catalog.snapshot()), before);
        Ok(())
    });
    result.expect("catalog and store agree");
}

fn with_route(n: usize, content: usize, promote: bool, path: &str) -> Publish {
    let mut publish = publish(n, content, promote, 1);
    publish.config.routes = vec![Route {
        host: Some("shop.example".to_owned()),
        path: PathPattern::Exact(path.to_owned()),
        methods: vec!["GET".to_owned()],
    }];
    publish
}

/// A route belongs to one live version at a time; refusals name the owner and store nothing.
pub fn routes_of_live_versions_exclude_each_other<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    let catalog = Catalog::open(harness.shared()).expect("opens");
    let owner = |path: &str| match catalog
        .snapshot()
        .routes
        .lookup("shop.example", path, "GET")
    {
        model::route::Match::Found(key) => Some(key.clone()),
        _ => None,
    };
    let refused = |failure: Failure| {
        assert_eq!(failure.code(), Code::RouteConflict);
        assert!(failure.detail().contains("`f0`"), "{failure}");
        assert!(failure.detail().contains("shop.example/cart"), "{failure}");
    };
    catalog
        .publish(&with_route(0, 0, true, "/cart"))
        .expect("free");
    assert_eq!(owner("/cart"), Some(function(0)));

    let before = harness.store().load().expect("loads");
    refused(
        catalog
            .publish(&with_route(2, 0, true, "/cart"))
            .expect_err("taken"),
    );
    assert_eq!(harness.store().load().expect("loads"), before);
    assert_eq!(state_of(&catalog.snapshot()), before);
    catalog
        .check_routes(&function(2), &with_route(2, 0, true, "/cart").config.routes)
        .map_or_else(refused, |()| panic!("the dry run must refuse, too"));

    // Not promoted, it is not active; so it may be there, and only promotion is refused.
    catalog
        .publish(&with_route(2, 0, false, "/cart"))
        .expect("not active");
    refused(catalog.promote(&function(2), 1).expect_err("taken"));
    assert_eq!(owner("/cart"), Some(function(0)));

    // The owner moves on; the route is free, and the owner's rollback is refused in turn.
    let moved = catalog
        .publish(&with_route(0, 1, true, "/basket"))
        .expect("free");
    assert_eq!(
        moved.change.retired().map(|live| live.version.number),
        Some(1)
    );
    assert_eq!(
        (owner("/cart"), owner("/basket")),
        (None, Some(function(0)))
    );
    catalog.promote(&function(2), 1).expect("free");
    assert_eq!(owner("/cart"), Some(function(2)));
    let failure = catalog.rollback(&function(0), None).expect_err("taken");
    assert!(failure.detail().contains("`f2`"), "{failure}");
    assert_eq!(failure.code(), Code::RouteConflict);

    // Removal frees it; routes come back with the store.
    let removed = catalog.remove(&function(2)).expect("exists");
    assert_eq!(removed.versions.len(), 1);
    let back = catalog.rollback(&function(0), None).expect("free");
    assert_eq!(back.retired().map(|live| live.version.number), Some(2));
    assert_eq!(
        (owner("/cart"), owner("/basket")),
        (Some(function(0)), None)
    );
    drop(catalog);
    harness.reopen();
    let catalog = Catalog::open(harness.shared()).expect("opens");
    assert!(catalog.route_conflicts_at_open().is_empty());
    let snapshot = catalog.snapshot();
    let found = snapshot.routes.lookup("shop.example", "/cart", "GET");
    assert_eq!(found, model::route::Match::Found(&function(0)));
}

/// Deploys, moves and removals of the same functions from many threads: memory and store end alike, and
/// each change that was reported is one generation.
pub fn racing_changes_leave_memory_and_store_alike<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    let catalog = Catalog::open(harness.shared()).expect("opens");
    let before = catalog.snapshot().generation;
    let n_changes: u64 = std::thread::scope(|scope| {
        let catalog = &catalog;
        let writers: Vec<_> = (0..4_usize)
            .map(|writer| {
                scope.spawn(move || {
                    let changes = (0..30_usize).map(|index| match (writer + index) % 6 {
                        0 => Change::Remove { n: index % 2 },
                        1 => Change::Promote {
                            n: index % 2,
                            version: 1 + index as u64 / 4,
                        },
                        _ => Change::Publish {
                            n: index % 2,
                            content: index % 5,
                            promote: true,
                        },
                    });
                    changes.filter(|change| change_it(catalog, change)).count() as u64
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("ends"))
            .sum()
    });
    assert_eq!(catalog.snapshot().generation, before + n_changes);
    let state = state_of(&catalog.snapshot());
    assert_eq!(state, harness.store().load().expect("loads"));
    drop(catalog);
    harness.reopen();
    assert_eq!(state, harness.store().load().expect("loads"));
}

/// False when something was missing; any other failure is one of the case.
fn change_it(catalog: &Catalog, change: &Change) -> bool {
    let changed = match *change {
        Change::Publish {
            n,
            content,
            promote,
        } => catalog.publish(&publish(n, content, promote, 1)).map(drop),
        Change::Promote { n, version } => catalog.promote(&function(n), version).map(drop),
        Change::Remove { n } => catalog.remove(&function(n)).map(drop),
    };
    match changed {
        Ok(()) => true,
        Err(failure) => {
            assert!(matches!(
                failure.code(),
                Code::FunctionNotFound | Code::VersionNotFound
            ));
            false
        }
    }
}

/// Garbage collection by the catalog keeps what versions need, whatever their age.
pub fn garbage_is_what_no_version_needs<H: Harness>() {
    let harness = H::new(std::time::Duration::ZERO);
    let catalog = Catalog::open(harness.shared()).expect("opens");
    for n in 0..6 {
        let (artifact, bytes) = (artifact(n), artifact_bytes(n));
        harness
            .store()
            .put(artifact.digest, &mut bytes.as_slice(), u64::MAX)
            .expect("works");
    }
    catalog.publish(&publish(0, 0, true, 1)).expect("works");
    catalog.publish(&publish(0, 1, true, 1)).expect("works");
    catalog.publish(&publish(1, 2, true, 1)).expect("works");
    catalog.publish(&publish(2, 2, true, 1)).expect("works");
    assert_eq!(catalog.collect_garbage(harness.store()).expect("works"), 3);
    harness
        .store()
        .verify(artifact(0).digest)
        .expect("an older version needs it");
    catalog.remove(&function(1)).expect("works");
    assert_eq!(catalog.collect_garbage(harness.store()).expect("works"), 0);
    catalog.remove(&function(2)).expect("works");
    assert_eq!(catalog.collect_garbage(harness.store()).expect("works"), 1);
}

/// Readers beside a writer see generations in order, each whole: `live` and `previous_live` of a moment.
pub fn readers_see_whole_snapshots_in_order<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let catalog = &Catalog::open(harness.shared()).expect("opens");
    let is_done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut last = 0;
                while !is_done.load(Ordering::Relaxed) {
                    let snapshot = catalog.snapshot();
                    assert!(snapshot.generation >= last);
                    last = snapshot.generation;
                    if let Some(entry) = snapshot.find("default", "f0") {
                        let live = entry.live.as_ref().expect("each publication promotes");
                        assert_eq!(live.version.number, entry.versions.len() as u64);
                        let previous = entry.live_number().filter(|live| *live > 1).map(|n| n - 1);
                        assert_eq!(entry.previous_live, previous);
                    }
                }
            });
        }
        for content in 0..40 {
            catalog
                .publish(&publish(0, content, true, 1))
                .expect("works");
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let needed = catalog.snapshot().artifact_digests();
    assert_eq!(
        needed,
        (0..40).map(|content| artifact(content).digest).collect()
    );
    assert!(catalog.snapshot().find("team", "f0").is_none());
    assert!(catalog.snapshot().find("", "../f0").is_none());
}
