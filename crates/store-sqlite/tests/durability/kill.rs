//! SIGKILL at random moments: of opening, uploading, publishing, appending, collecting garbage.

use std::time::{Duration, Instant};

use store::conformance::catalog::apply;
use store::memory::MemoryStore;

use crate::child::{Child, Plan, Said, change_of};
use crate::random::Random;
use crate::verify::{check_receipts, verify};

const N_KILLS: usize = 60;

#[test]
fn what_was_acknowledged_survives_kills_and_nothing_is_there_in_part() {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let model = MemoryStore::new(Duration::ZERO).expect("a temporary directory");
    let (mut next_step, mut n_done_in_doubt) = (0, 0);
    for _ in 0..N_KILLS {
        let plan = Plan {
            from: next_step,
            until: u64::MAX,
            reopen_before: u64::MAX,
        };
        let mut child = Child::start(directory.path(), plan, &[]);
        // Zero kills while it opens.
        let mut said = Vec::new();
        for _ in 0..random.below(12) {
            said.push(child.next().expect("it does not end by itself"));
        }
        spin(Duration::from_micros(random.below(8000)));
        said.extend(child.kill());

        let first = next_step;
        for said in said {
            match said {
                Said::Open | Said::Kept(_) => {}
                Said::Done(step) => {
                    assert_eq!(step, next_step);
                    apply(&model, &change_of(step), step).expect("memory does not fail");
                    next_step += 1;
                }
                other => panic!("nothing but kills disturbed it, but it said {other:?}"),
            }
        }
        let (store, was_done) = verify(directory.path(), &model, Some(next_step));
        check_receipts(&store, first..next_step, Some(next_step));
        // A step in doubt is not repeated: it may or may not have its receipts.
        next_step += 1;
        n_done_in_doubt += usize::from(was_done);
    }
    println!("{N_KILLS} kills, {next_step} steps, {n_done_in_doubt} done and not acknowledged");
    assert!(next_step > N_KILLS as u64, "some steps were acknowledged");
}

#[test]
fn a_first_start_that_is_killed_does_not_stand_in_the_way_of_the_next() {
    let mut random = Random::seeded();
    let mut n_begun = 0;
    for _ in 0..N_KILLS / 2 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let plan = Plan {
            from: 0,
            until: 1,
            reopen_before: u64::MAX,
        };
        let mut child = Child::start(directory.path(), plan, &[]);
        // It begins with the lock; from then on any moment will do.
        while !directory.path().join("lock").exists() && !child.has_ended() {
            std::hint::spin_loop();
        }
        spin(Duration::from_micros(random.below(10_000)));
        let said = child.kill();
        n_begun += usize::from(!said.contains(&Said::Open));

        let model = MemoryStore::new(Duration::ZERO).expect("a temporary directory");
        let is_done = said.contains(&Said::Done(0));
        if is_done {
            apply(&model, &change_of(0), 0).expect("memory does not fail");
        }
        verify(directory.path(), &model, (!is_done).then_some(0));
    }
    println!(
        "{n_begun} of {} first starts were killed before they were done",
        N_KILLS / 2
    );
}

/// The moment of a kill is the experiment, no condition to wait for.
fn spin(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}
