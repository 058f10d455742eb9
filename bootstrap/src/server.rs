//! The program around the service.

mod chunks;
mod config;
mod folder;
mod run;
mod show;
mod turn;

use anyhow::Context as _;

pub(crate) use config::Args;
use config::{Config, Subcommand};
use folder::Folder;

/// Runs the command that the arguments name.
#[expect(clippy::needless_pass_by_value, reason = "the program's arguments end here")]
pub(crate) fn main(args: Args) -> anyhow::Result<()> {
    if let Some(Subcommand::Link { no_qr }) = args.command {
        let data = config::data_folder(&args)?;
        let link = folder::read_link(&data)?;
        return show::link(&link, !no_qr).context("writing to the terminal");
    }
    let config = Config::load(&args)?;
    run::log_to_stderr();
    let folder = Folder::open(&config)?;
    run::run(config, folder)
}
