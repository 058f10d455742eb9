//! `kith-bootstrap`: the relay that a community runs.
//!
//! Owns the command line, the configuration, the data folder and the thread
//! between the network and the service. Must never write an id or an address
//! of anybody to a log.

mod server;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = server::Args::parse();
    match server::main(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kith-bootstrap: {error:#}");
            ExitCode::FAILURE
        }
    }
}
