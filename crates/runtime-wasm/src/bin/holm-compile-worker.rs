//! The compile worker by itself, for tests: the `holm` binary carries it as a hidden command.

fn main() -> std::process::ExitCode {
    runtime_wasm::compile_worker::main()
}
