//! The epoch ticker: one thread that advances the epoch of every engine once a millisecond while guest
//! code runs anywhere, and sleeps otherwise: an idle node must not wake a thousand times a second.
//!
//! Whoever polls a guest holds an [`InGuest`] meanwhile. Entering and leaving touches one counter that no
//! other thread writes, so the hot path shares no cache line between cores.
//!
//! ```text
//! ticking --no thread seen in a guest for IDLE_TICKS--> parked --a thread enters--> ticking
//! ```

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::Engine;

/// How often the epoch advances. A little under the promised millisecond, as a timer fires late.
pub(crate) const TICK: Duration = Duration::from_micros(950);
/// Ticks without any guest after which the thread sleeps.
const IDLE_TICKS: u32 = 64;

/// The handle that stops the thread when dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engines: Mutex<Vec<Engine>>,
    threads: Mutex<Vec<Weak<Slot>>>,
    ticker: OnceLock<Thread>,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// How many polls of guests one thread is inside of. Only that thread writes it.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    depth: AtomicU32,
}

thread_local! {
    /// This thread's slots, one per ticker it ever met: one in a node, some in a test.
    static SLOTS: RefCell<Vec<(Weak<Shared>, Arc<Slot>)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the epoch advancing while a guest is polled.
pub(crate) struct InGuest(Arc<Slot>);

impl Drop for InGuest {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Ordering::Release);
    }
}

impl Ticker {
    /// Starts the thread for `engine`.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            engines: Mutex::new(vec![engine]),
            threads: Mutex::new(Vec::new()),
            ticker: OnceLock::new(),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new()
            .name("wasm-epoch".to_owned())
            .stack_size(64 << 10)
            .spawn({
                let shared = shared.clone();
                move || run(&shared)
            })?;
        let _ = shared.ticker.set(thread.thread().clone());
        Ok(Arc::new(Self {
            shared,
            thread: Some(thread),
        }))
    }

    /// Advances another engine's epoch, too.
    pub(crate) fn add(&self, engine: Engine) {
        self.shared.engines.lock().push(engine);
    }

    /// Marks this thread as running guest code.
    pub(crate) fn enter(&self) -> InGuest {
        let slot = SLOTS.with_borrow_mut(|slots| {
            let known = slots
                .iter()
                .find(|(shared, _)| std::ptr::eq(shared.as_ptr(), Arc::as_ptr(&self.shared)));
            match known {
                Some((_, slot)) => slot.clone(),
                None => self.register(slots),
            }
        });
        // Sequentially consistent against the store to `parked` in `run`: either this thread sees that
        // the ticker sleeps, or the ticker sees this thread.
        slot.depth.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.wake();
        }
        InGuest(slot)
    }

    #[cold]
    fn register(&self, slots: &mut Vec<(Weak<Shared>, Arc<Slot>)>) -> Arc<Slot> {
        // The weak reference keeps the address from being reused, so comparing addresses is sound.
        slots.retain(|(shared, _)| shared.strong_count() > 0);
        let slot = Arc::new(Slot::default());
        slots.push((Arc::downgrade(&self.shared), slot.clone()));
        self.shared.threads.lock().push(Arc::downgrade(&slot));
        slot
    }

    #[cold]
    fn wake(&self) {
        if self.shared.parked.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(ticker) = self.shared.ticker.get() {
            ticker.unpark();
        }
    }

    /// Whether the thread sleeps.
    #[cfg(test)]
    fn is_parked(&self) -> bool {
        self.shared.parked.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    let mut n_idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
        for engine in shared.engines.lock().iter() {
            engine.increment_epoch();
        }
        if any_in_guest(shared) {
            n_idle = 0;
            continue;
        }
        n_idle += 1;
        if n_idle >= IDLE_TICKS {
            sleep_until_entered(shared);
            n_idle = 0;
        }
    }
}

fn sleep_until_entered(shared: &Shared) {
    shared.parked.store(true, Ordering::SeqCst);
    while shared.parked.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
        if any_in_guest(shared) {
            shared.parked.store(false, Ordering::SeqCst);
            return;
        }
        std::thread::park();
    }
}

fn any_in_guest(shared: &Shared) -> bool {
    let mut any = false;
    shared.threads.lock().retain(|slot| match slot.upgrade() {
        Some(slot) => {
            any |= slot.depth.load(Ordering::SeqCst) > 0;
            true
        }
        None => false,
    });
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until(mut condition: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(std::time::Instant::now() < end, "the condition never held");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_thread_sleeps_when_idle_and_wakes_when_a_guest_runs() {
        let engine = Engine::default();
        let ticker = Ticker::start(engine).expect("a thread can be started");
        wait_until(|| ticker.is_parked());
        let guest = ticker.enter();
        assert!(!ticker.is_parked(), "entering wakes it");
        let nested = ticker.enter();
        drop(guest);
        // Far longer than the idle time: the nested guest must keep it awake.
        let until = std::time::Instant::now() + 3 * IDLE_TICKS * TICK;
        wait_until(|| std::time::Instant::now() > until);
        assert!(!ticker.is_parked());
        drop(nested);
        wait_until(|| ticker.is_parked());
    }

    #[test]
    fn dropping_the_handle_ends_a_sleeping_thread() {
        let ticker = Ticker::start(Engine::default()).expect("a thread can be started");
        wait_until(|| ticker.is_parked());
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(shared.upgrade().is_none(), "the thread is joined and gone");
    }
}
