//! Cases for [`CatalogStore`].

use std::collections::BTreeMap;

use model::{FunctionKey, FunctionVersion};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::data::{function, publish};
use super::{Harness, LONG_GRACE};
use crate::{CatalogState, CatalogStore, FunctionState, Publish, StoreError};

/// One change, by numbers of [`super::data`].
#[derive(Clone, Debug)]
pub enum Change {
    /// Publish content for a function.
    Publish {
        /// The function.
        n: usize,
        /// The content.
        content: usize,
        /// Whether `live` moves.
        promote: bool,
    },
    /// Move `live`.
    Promote {
        /// The function.
        n: usize,
        /// The version's number.
        version: u64,
    },
    /// Remove a function.
    Remove {
        /// The function.
        n: usize,
    },
}

/// Changes to a handful of functions, such that most are valid.
pub fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..4_usize, 0..5_usize, any::<bool>())
            .prop_map(|(n, content, promote)| Change::Publish { n, content, promote }),
        3 => (0..4_usize, 0..8_u64).prop_map(|(n, version)| Change::Promote { n, version }),
        1 => (0..4_usize).prop_map(|n| Change::Remove { n }),
    ]
}

/// What the catalog must be: the list of valid changes, read back each time. Slow and plain on purpose.
#[derive(Clone, Debug, Default)]
pub struct Model(Vec<(u64, Change)>);

impl Model {
    /// Applies a change that happened at `now_unix_ms`; false when it must be refused.
    pub fn apply(&mut self, change: &Change, now_unix_ms: u64) -> bool {
        let is_valid = match change {
            Change::Publish { .. } => true,
            Change::Promote { n, version } => self
                .state_of(*n)
                .is_some_and(|state| state.versions.iter().any(|known| known.number == *version)),
            Change::Remove { n } => self.state_of(*n).is_some(),
        };
        if is_valid {
            self.0.push((now_unix_ms, change.clone()));
        }
        is_valid
    }

    /// What a store must load.
    pub fn state(&self) -> CatalogState {
        let mut functions = BTreeMap::new();
        for (_, change) in &self.0 {
            let (Change::Publish { n, .. } | Change::Promote { n, .. } | Change::Remove { n }) =
                change;
            functions.insert(function(*n), *n);
        }
        let states = functions.values().filter_map(|n| self.state_of(*n));
        CatalogState {
            functions: states.collect(),
        }
    }

    fn state_of(&self, wanted: usize) -> Option<FunctionState> {
        let mut state: Option<FunctionState> = None;
        let mut n_published = 0;
        for (now_unix_ms, change) in &self.0 {
            match *change {
                Change::Publish {
                    n,
                    content,
                    promote,
                } if n == wanted => {
                    let publish = publish(n, content, promote, *now_unix_ms);
                    let state = state.get_or_insert_with(|| empty(publish.function.clone()));
                    let digest = publish.config.version_digest(&publish.artifact);
                    let known = state.versions.iter().find(|known| known.digest == digest);
                    let number = known.map_or_else(|| n_published + 1, |known| known.number);
                    if known.is_none() {
                        n_published += 1;
                        state.versions.push(version(publish, number));
                    }
                    if promote {
                        move_live(state, number);
                    }
                }
                Change::Promote { n, version } if n == wanted => {
                    move_live(
                        state.as_mut().expect("only valid changes are kept"),
                        version,
                    );
                }
                Change::Remove { n } if n == wanted => state = None,
                _ => {}
            }
        }
        state
    }
}

fn empty(function: FunctionKey) -> FunctionState {
    FunctionState {
        function,
        versions: Vec::new(),
        live: None,
        previous_live: None,
    }
}

fn version(publish: Publish, number: u64) -> FunctionVersion {
    FunctionVersion {
        digest: publish.config.version_digest(&publish.artifact),
        function: publish.function,
        number,
        artifact: publish.artifact,
        contract: publish.contract,
        config: publish.config,
        created_unix_ms: publish.now_unix_ms,
    }
}

fn move_live(state: &mut FunctionState, to: u64) {
    if state.live != Some(to) {
        state.previous_live = state.live;
        state.live = Some(to);
    }
}

/// Applies a change to a store; false when it says that something does not exist.
///
/// # Errors
/// The store's, but for [`StoreError::NotFound`].
pub fn apply(
    store: &impl CatalogStore,
    change: &Change,
    now_unix_ms: u64,
) -> Result<bool, StoreError> {
    let result = match *change {
        Change::Publish {
            n,
            content,
            promote,
        } => store
            .publish(&publish(n, content, promote, now_unix_ms))
            .map(drop),
        Change::Promote { n, version } => store.promote(&function(n), version).map(drop),
        Change::Remove { n } => store.remove(&function(n)),
    };
    match result {
        Ok(()) => Ok(true),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Any changes leave what the model says, also after reopening.
pub fn follows_the_model<H: Harness>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let changes = proptest::collection::vec((any_change(), prop::bool::weighted(0.05)), 0..60);
    let result = runner.run(&changes, |changes| {
        let mut harness = H::new(LONG_GRACE);
        let mut model = Model::default();
        for (now, (change, reopen)) in changes.iter().enumerate() {
            let was_applied = apply(harness.store(), change, now as u64).expect("works");
            prop_assert_eq!(was_applied, model.apply(change, now as u64), "{:?}", change);
            if *reopen {
                harness.reopen();
            }
            prop_assert_eq!(harness.store().load().expect("loads"), model.state());
        }
        harness.reopen();
        prop_assert_eq!(harness.store().load().expect("loads"), model.state());
        Ok(())
    });
    result.expect("the store and the model agree");
}

/// Publishing again what is there gives the version that is there, unchanged.
pub fn same_content_is_one_version<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let first = harness
        .store()
        .publish(&publish(0, 7, true, 1))
        .expect("works");
    assert!(first.is_new);
    assert_eq!(
        (first.version.number, first.live, first.previous_live),
        (1, Some(1), None)
    );
    assert_eq!(first.version.created_unix_ms, 1);

    let again = harness
        .store()
        .publish(&publish(0, 7, true, 2))
        .expect("works");
    assert!(!again.is_new);
    assert_eq!(again.version, first.version);
    assert_eq!((again.live, again.previous_live), (Some(1), Some(1)));

    // The same content of another function is another version.
    let other = harness
        .store()
        .publish(&publish(1, 7, false, 3))
        .expect("works");
    assert!(other.is_new);
    assert_eq!((other.version.number, other.live), (1, None));
}

/// A number names one content for ever.
pub fn numbers_are_never_used_twice<H: Harness>() {
    let mut harness = H::new(LONG_GRACE);
    for content in 0..3 {
        harness
            .store()
            .publish(&publish(0, content, true, 1))
            .expect("works");
    }
    harness.store().remove(&function(0)).expect("works");
    harness.reopen();
    assert_eq!(
        harness.store().load().expect("loads"),
        CatalogState::default()
    );
    let again = harness
        .store()
        .publish(&publish(0, 0, false, 2))
        .expect("works");
    assert!(again.is_new);
    assert_eq!(
        (again.version.number, again.live, again.previous_live),
        (4, None, None)
    );
}

/// `live` and where rollback goes.
pub fn live_moves_and_remembers<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let store = harness.store();
    let state = || store.load().expect("loads").functions.remove(0);
    store.publish(&publish(0, 0, true, 1)).expect("works");
    store.publish(&publish(0, 1, true, 1)).expect("works");
    assert_eq!((state().live, state().previous_live), (Some(2), Some(1)));
    let back = store.promote(&function(0), 1).expect("works");
    assert_eq!((back.from, back.to), (Some(2), 1));
    assert_eq!((state().live, state().previous_live), (Some(1), Some(2)));
    // Where it is already: nothing is forgotten.
    let stay = store.promote(&function(0), 1).expect("works");
    assert_eq!((stay.from, stay.to), (Some(1), 1));
    assert_eq!((state().live, state().previous_live), (Some(1), Some(2)));
}

/// Missing things give an error that names them, and change nothing.
pub fn what_is_missing_is_named<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let store = harness.store();
    let named = |error: StoreError| match error {
        StoreError::NotFound(what) => what,
        other => panic!("expected NotFound, got {other}"),
    };
    assert!(named(store.remove(&function(0)).expect_err("missing")).contains("f0"));
    assert!(named(store.promote(&function(0), 1).expect_err("missing")).contains("f0"));
    store.publish(&publish(0, 0, true, 1)).expect("works");
    let what = named(store.promote(&function(0), 9).expect_err("missing"));
    assert!(what.contains("f0") && what.contains('9'), "{what}");
    // Numbers beyond what a store may use for them.
    assert!(store.promote(&function(0), u64::MAX).is_err());
    assert_eq!(store.load().expect("loads").functions[0].live, Some(1));
}

/// Fifty deploys of one name at once: all have their number, and the last writer is `live`.
pub fn racing_publications_all_count<H: Harness>() {
    let harness = H::new(LONG_GRACE);
    let store = harness.store();
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..50)
            .map(|content| scope.spawn(move || store.publish(&publish(0, content, true, 1))))
            .collect();
        let publishers = publishers.into_iter();
        publishers
            .map(|thread| thread.join().expect("ends").expect("works").version.number)
            .collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    let state = store.load().expect("loads").functions.remove(0);
    assert_eq!((state.live, state.previous_live), (Some(50), Some(49)));
}
