//! The suite that every isolation engine passes: what the rest of the platform relies on, as tests.
//!
//! An engine's crate implements [`Subject`] (its runtime, and one artifact per [`Guest`]) and calls
//! [`crate::conformance_suite!`], which makes one `#[tokio::test]` per case. A guest that cannot be had
//! on this machine is skipped aloud with the reason.

mod cases;
mod harness;

pub use cases::*;
pub use harness::{Guest, Harness, RecordedLog, Subject, skipped};

/// Makes one test per case of the suite for the subject that the expression builds.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::conformance_suite!(@cases $subject;
            answers_with_head_and_body
            echoes_a_streamed_body_with_back_pressure
            a_new_sandbox_starts_clean
            a_reusable_sandbox_counts_on
            a_trap_is_a_function_failure
            a_late_trap_fails_the_body
            a_dropped_invocation_frees_its_place
            cpu_time_is_limited
            logs_arrive_under_the_invocation
            log_volume_is_limited
            the_environment_is_there
            a_big_body_streams
            a_failing_init_is_told_apart
            junk_is_refused_with_a_4xx
            many_start_at_once
            usage_is_metered
            stop_is_idempotent
        );
    };
    (@cases $subject:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case(&$subject).await;
            }
        )*
    };
}
