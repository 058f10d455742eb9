//! `kith`: one node and the commands that talk to it.
//!
//! The composition root: puts store, state machine, overlay and HTTP side
//! together, and owns their clocks, threads and randomness. Must never decide
//! anything that the state machine should.

mod cli;
mod client;
mod commands;
mod config;
mod data;
mod driver;
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
    cli::main()
}
