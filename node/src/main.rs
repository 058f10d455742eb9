//! `kith`: one node and the commands that talk to it.
//!
//! The composition root: puts store, state machine, overlay and HTTP side
//! together, and owns their clocks, threads and randomness. Must never decide
//! anything that the state machine should.

mod calls;
mod cli;
mod client;
mod commands;
mod config;
mod data;
mod driver;
mod files;
mod host;
mod init;
mod logs;
mod network;
mod passphrase;
mod probe;
mod run;
mod show;
mod system;
mod vault;

use std::process::ExitCode;

fn main() -> ExitCode {
    controls();
    cli::main()
}

/// Switches on what test builds hold for negative controls.
fn controls() {
    #[cfg(any(feature = "test-early-send", feature = "test-unsealed"))]
    let wanted = |name: &str| std::env::var_os(name).is_some();
    #[cfg(feature = "test-early-send")]
    kith_core::node::EARLY_SEND.store(wanted("KITH_TEST_EARLY_SEND"), std::sync::atomic::Ordering::Relaxed);
    #[cfg(feature = "test-unsealed")]
    {
        let off = wanted("KITH_TEST_UNSEALED");
        kith_store::UNSEALED.store(off, std::sync::atomic::Ordering::Relaxed);
        kith_wire::blob::UNSEALED.store(off, std::sync::atomic::Ordering::Relaxed);
    }
}
