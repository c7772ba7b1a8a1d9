//! Functions, versions and receipts to test with: made of small numbers, the same for the same number.

use model::{
    Artifact, Code, Contract, Digest, FunctionConfig, FunctionKey, InvocationId, Isolation,
    Receipt, StartKind, function::ArtifactKind,
};
use proptest::prelude::*;

use crate::Publish;

/// Function number `n`; the odd ones live in a namespace of their own.
pub fn function(n: usize) -> FunctionKey {
    let text = if n.is_multiple_of(2) {
        format!("f{n}")
    } else {
        format!("f{n}.team")
    };
    text.parse().expect("letters, digits and a dot make a key")
}

/// The bytes of artifact number `n`.
pub fn artifact_bytes(n: usize) -> Vec<u8> {
    format!("artifact {n} ").repeat(100 + n % 50).into_bytes()
}

/// Artifact number `n`.
pub fn artifact(n: usize) -> Artifact {
    let bytes = artifact_bytes(n);
    Artifact {
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        kind: ArtifactKind::Wasm,
    }
}

/// Content number `content` for function number `n`.
pub fn publish(n: usize, content: usize, promote: bool, now_unix_ms: u64) -> Publish {
    let mut config = FunctionConfig::defaults(Isolation::Wasm);
    config.env.insert(
        "CONTENT".to_owned(),
        format!("{content} \u{1f980} 'quoted'\n"),
    );
    Publish {
        function: function(n),
        config,
        artifact: artifact(content),
        contract: Contract::WasiHttp02,
        promote,
        now_unix_ms,
    }
}

/// Numbers small, middling and at the edge of their type.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..10_u64,
        any::<u64>(),
        Just(u64::MAX),
        Just(i64::MAX as u64 + 1)
    ]
}

/// Receipts of a few functions in a few days, any values else.
pub fn any_receipt() -> impl Strategy<Value = Receipt> {
    let starts = prop_oneof![
        Just(StartKind::None),
        Just(StartKind::Warm),
        Just(StartKind::Fresh),
        Just(StartKind::Cold)
    ];
    let who = (
        any::<[u8; 10]>(),
        0..4_usize,
        any_number(),
        0..Isolation::ALL.len(),
        starts,
    );
    let when = prop_oneof![
        0..400_000_000_u64,
        Just(0),
        Just(86_400_000),
        0..(1_u64 << 45)
    ];
    let errors = proptest::option::of(0..Code::ALL.len());
    let numbers = proptest::array::uniform11(any_number());
    (who, when, errors, numbers, any::<u16>()).prop_map(|(who, when, error, numbers, status)| {
        let (random, n, version, isolation, start) = who;
        let [
            queue,
            start_ns,
            init,
            run,
            cpu,
            memory,
            bytes_in,
            bytes_out,
            log,
            dropped,
            price,
        ] = numbers;
        Receipt {
            id: InvocationId::new(when, random),
            function: function(n),
            version,
            isolation: Isolation::ALL[isolation],
            start,
            accepted_unix_ms: when,
            queue_ns: queue,
            start_ns,
            init_ns: init,
            run_ns: run,
            cpu_ns: cpu,
            memory_peak_bytes: memory,
            bytes_in,
            bytes_out,
            log_bytes: log,
            log_dropped_bytes: dropped,
            status,
            error: error.map(|index| Code::ALL[index]),
            price_nano: price,
        }
    })
}
