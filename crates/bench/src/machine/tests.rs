//! The machine is the one the test runs on; processes are real.

use std::process::Child;

use super::*;

#[test]
fn the_machine_is_described() {
    let description = describe().unwrap();
    assert!(description.kernel.starts_with("Linux "), "{description:?}");
    assert!(description.n_cores >= 1, "{description:?}");
    assert!(!description.cpu.is_empty(), "{description:?}");
}

#[test]
fn models_of_two_architectures() {
    let x86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9\n\nprocessor\t: 1\n";
    assert_eq!(cpu_model(x86), Some("AMD EPYC 9"));
    let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
    assert_eq!(cpu_model(arm), Some("0xd0c"));
    assert_eq!(cpu_model(""), None);
}

#[test]
fn a_pinned_thread_runs_on_its_core_and_so_does_what_it_starts() {
    for core in usable_cores().unwrap() {
        let (running_on, child_may) = on_core(core, || {
            let text = version_of("grep", &["Cpus_allowed_list", "/proc/self/status"]);
            (rustix::thread::sched_getcpu(), text.unwrap())
        })
        .unwrap();
        assert_eq!(running_on, core);
        assert_eq!(
            child_may.split_once(':').unwrap().1.trim(),
            core.to_string()
        );
    }
}

#[test]
fn pinning_a_thread_leaves_the_process_its_cores() {
    let before = usable_cores().unwrap();
    let within = on_core(before[0], usable_cores).unwrap().unwrap();
    assert_eq!(within, before);
}

#[test]
fn a_core_that_is_not_there_is_said() {
    for core in [CpuSet::MAX_CPU - 1, CpuSet::MAX_CPU] {
        let failure = on_core(core, || ()).unwrap_err();
        assert!(
            failure.to_string().contains(&format!("core {core}")),
            "{failure}"
        );
    }
}

#[test]
fn pressure_is_read_from_the_first_line() {
    let text = "some avg10=15.42 avg60=23.91 avg300=17.81 total=4446794800\n\
                full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    assert_eq!(some_avg10(text), Some(15.42));
    assert_eq!(some_avg10("full avg10=1.00 avg60=0.00\n"), None);
    assert_eq!(some_avg10("some avg10=nan\n"), None);
    assert_eq!(some_avg10(""), None);
    let counted = std::path::Path::new("/proc/pressure/cpu").exists();
    let percent = cpu_pressure_percent();
    assert!(!counted || percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)));
}

#[test]
fn versions_are_first_lines() {
    assert_eq!(
        version_of("sh", &["-c", "echo 1.2; echo 3"]).as_deref(),
        Some("1.2")
    );
    assert_eq!(
        version_of("sh", &["-c", "echo 1.2 >&2"]).as_deref(),
        Some("1.2")
    );
    assert_eq!(version_of("sh", &["-c", "echo 1.2; exit 1"]), None);
    assert_eq!(version_of("sh", &["-c", "true"]), None);
    assert_eq!(version_of("no-such-program-anywhere", &[]), None);
}

/// A child that burns CPU until it is dropped.
struct Burner(Child);

impl Burner {
    fn new(script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_cpu_clock_of_another_process_moves_with_its_work() {
    let busy = Burner::new("while :; do :; done");
    let idle = Burner::new("read line");
    let (busy_clock, idle_clock) = (
        CpuClock::of(busy.0.id()).unwrap(),
        CpuClock::of(idle.0.id()).unwrap(),
    );
    let first = busy_clock.now().unwrap();
    // However slow the machine: it gets there, and in steps finer than a tick of 10 ms.
    let mut fine = false;
    loop {
        let used = busy_clock.now().unwrap() - first;
        fine |= used.as_nanos() % 10_000_000 != 0;
        if used > Duration::from_millis(50) {
            break;
        }
    }
    assert!(fine);
    assert!(idle_clock.now().unwrap() < Duration::from_millis(40));
}

#[test]
fn a_process_that_is_gone_has_no_clock() {
    let mut child = Command::new("true").spawn().unwrap();
    let clock = CpuClock::of(child.id()).unwrap();
    child.wait().unwrap();
    assert!(matches!(clock.now(), Err(MachineError::Clock { .. })));
    assert!(CpuClock::of(0).is_err());
    assert!(CpuClock::of(u32::MAX).is_err());
    assert!(CpuClock::of(std::process::id()).unwrap().now().unwrap() > Duration::ZERO);
}

#[test]
fn a_thread_knows_what_it_used() {
    let first = thread_cpu_time();
    while thread_cpu_time() == first {}
    assert!(thread_cpu_time() > first);
}
