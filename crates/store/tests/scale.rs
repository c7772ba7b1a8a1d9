//! Ten thousand functions: lookups allocate nothing, changes stay cheap, listings come in pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Route;
use model::route::PathPattern;
use store::conformance::data::{function, publish};
use store::memory::MemoryStore;
use store::{Catalog, CatalogStore};

mod counting_allocator {
    //! Counts the allocations of each thread, so that tests beside each other do not disturb.

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    // SAFETY: every call goes to the system's allocator unchanged; the counter is a thread-local cell
    // without destructor, which neither allocates nor unwinds.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
            // SAFETY: the caller keeps the contract of `GlobalAlloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the contract of `GlobalAlloc`.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// Allocations of this thread while `work` runs.
    pub fn count(work: impl FnOnce()) -> usize {
        let before = N_ALLOCATIONS.get();
        work();
        N_ALLOCATIONS.get() - before
    }
}

const N_FUNCTIONS: usize = 10_000;

/// A catalog where each function has a route of its own.
fn full_catalog() -> Catalog {
    let store = MemoryStore::new(Duration::ZERO).expect("a temporary directory can be made");
    for n in 0..N_FUNCTIONS {
        store.publish(&routed(n, 0, "shop")).expect("works");
    }
    Catalog::open(Arc::new(store)).expect("opens")
}

fn routed(n: usize, content: usize, below: &str) -> store::Publish {
    let mut publish = publish(n, content, true, 1);
    publish.config.routes = vec![Route {
        host: n.is_multiple_of(2).then(|| format!("h{}.example", n % 100)),
        path: PathPattern::Prefix(format!("/{below}/f{n}")),
        methods: Vec::new(),
    }];
    publish
}

#[test]
fn lookups_allocate_nothing() {
    let catalog = full_catalog();
    let n_allocations = counting_allocator::count(|| {
        for _ in 0..100 {
            let snapshot = catalog.snapshot();
            assert!(snapshot.find("default", "f4242").is_some());
            assert!(snapshot.find("team", "f4243").is_some());
            assert!(snapshot.find("team", "f4242").is_none());
            let live = snapshot
                .get(&function(0))
                .and_then(|entry| entry.live.clone());
            assert!(live.is_some());
            let found = snapshot
                .routes
                .lookup("h42.example", "/shop/f42/cart", "GET");
            assert!(matches!(found, model::route::Match::Found(_)));
        }
    });
    // `function(0)` makes a key: two names each time.
    let of_the_test = counting_allocator::count(|| {
        (0..100).for_each(|_| drop(std::hint::black_box(function(0))));
    });
    assert_eq!(n_allocations - of_the_test, 0);
}

#[test]
fn a_deploy_among_ten_thousand_is_cheap() {
    let catalog = full_catalog();
    let median_of = |content: usize, below: &str| {
        let mut took: Vec<Duration> = (0..101)
            .map(|n| {
                let publish = routed(n * 97 % N_FUNCTIONS, content, below);
                let started = Instant::now();
                catalog.publish(&publish).expect("works");
                started.elapsed()
            })
            .collect();
        took.sort();
        took[50]
    };
    let with_same_routes = median_of(1, "shop");
    let with_new_routes = median_of(2, "basket");
    println!(
        "a deploy among {N_FUNCTIONS} functions takes {with_same_routes:?} at the median, \
         {with_new_routes:?} where its routes change"
    );
    // Generous: an unoptimised build on a busy machine.
    assert!(with_same_routes < Duration::from_millis(20));
    assert!(with_new_routes < Duration::from_millis(100));
}

#[test]
fn listings_come_in_pages() {
    let catalog = full_catalog();
    let snapshot = catalog.snapshot();
    let mut n_seen = 0;
    let mut after = None;
    loop {
        let page = snapshot.page(None, after.as_ref(), 999);
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 999);
        assert!(page.is_sorted_by(|a, b| a.key < b.key));
        assert!(after.is_none_or(|after| page[0].key > after));
        n_seen += page.len();
        after = Some(last.key.clone());
    }
    assert_eq!(n_seen, N_FUNCTIONS);

    let team = "team".parse().expect("a name");
    let page = snapshot.page(Some(&team), Some(&function(1)), 10);
    assert_eq!(page.len(), 10);
    assert!(
        page.iter()
            .all(|entry| entry.key.namespace == team && entry.key > function(1))
    );
    assert!(snapshot.page(None, None, 0).is_empty());
}
