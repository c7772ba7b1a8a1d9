//! What the store promises when things go wrong, tried on real files, processes and file systems:
//! kills, full disks, IO errors, damage, two nodes on one directory, and ten thousand functions.
//!
//! Random choices come from a seed that is printed; `HOLM_TEST_SEED` repeats a run.

mod child;
mod damage;
mod faults;
mod full_disk;
mod kill;
mod load;
mod lock;
mod random;
mod tmpfs;
mod verify;
