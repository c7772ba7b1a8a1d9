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
        for _ in 0..random.below(8) {
            said.push(child.next().expect("it does not end by itself"));
        }
        spin(Duration::from_micros(random.below(8000)));
        said.extend(child.kill());

        let first = next_step;
        for said in said {
            match said {
                Said::Open => {}
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

/// The moment of a kill is the experiment, no condition to wait for.
fn spin(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}
