//! The command line: what can be asked, and how refusals are told.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, Out};
use crate::config::{Config, Flags, ProcessEnvironment};
use crate::{calls, init, run};

/// A private messenger that runs on your own machine.
#[derive(Debug, Parser)]
#[command(name = "kith", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Data folder [default: by the XDG rules]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Config file [default: config.toml in the data folder if that was named, else by the XDG rules]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// How much is logged to standard error: off, error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an account in the data folder and print its 24 recovery words
    Init(InitArgs),
    /// Run the node; prints a link that signs a browser in
    Run(RunArgs),
    /// Where the node, its relays and its links stand
    Status,
    /// Print a fresh sign-in link (one use, five minutes)
    Link,
    /// Unlock the running node
    Unlock(PassphraseArgs),
    /// Lock the running node: its keys leave the memory
    Lock,
    /// Invite links: to become a contact, or to join a group
    Invite {
        #[command(subcommand)]
        action: Option<InviteAction>,
    },
    /// People
    Contacts {
        #[command(subcommand)]
        action: Option<ContactAction>,
    },
    /// Groups
    Groups {
        #[command(subcommand)]
        action: Option<GroupAction>,
    },
    /// Send a text or files to a person or group, by name or id; without either, standard input is sent
    Send {
        /// Name or id
        to: String,
        /// The text; with files, the words beside the first
        text: Option<String>,
        /// A file to send; may be repeated
        #[arg(long = "file", value_name = "PATH")]
        files: Vec<PathBuf>,
        /// Leave place, time and camera in pictures
        #[arg(long, requires = "files")]
        keep_metadata: bool,
    },
    /// Files: what is here, what was shared, and saving them
    Files {
        #[command(subcommand)]
        action: Option<FileAction>,
    },
    /// Print the newest messages of a conversation
    Read {
        /// Name or id
        from: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Print messages as they come, until interrupted
    Tail {
        /// Name or id; absent: all conversations
        from: Option<String>,
    },
    /// Calls without a browser
    Call {
        #[command(subcommand)]
        action: CallAction,
    },
    /// Relays
    Relays {
        #[command(subcommand)]
        action: Option<RelayAction>,
    },
    /// Settings of the process
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

/// How to make an account.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Name shown to others; asked for if absent
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Read the passphrase from this file descriptor instead of asking
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Address of the web page and API [default: 127.0.0.1, the port of last time if it is free]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Multiaddr to listen on for other nodes; may be repeated
    #[arg(long, value_name = "ADDR")]
    p2p_listen: Vec<String>,
    /// Neither dial nor accept direct connections: relays only
    #[arg(long)]
    no_direct: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Where the passphrase comes from.
#[derive(Debug, Args)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from this file descriptor
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

/// What to do with invites.
#[derive(Debug, Subcommand)]
pub(crate) enum InviteAction {
    /// Make an invite link (the default)
    New {
        /// The group it leads to, by name or id; absent: to become a contact
        #[arg(long)]
        group: Option<String>,
        /// How often it can be used
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Validity in hours
        #[arg(long, default_value_t = 168)]
        hours: u64,
        /// Draw a QR code too
        #[arg(long)]
        qr: bool,
    },
    /// List the invites made here
    List,
    /// Withdraw an invite
    Revoke {
        /// Its id
        id: String,
    },
}

/// What to do with contacts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactAction {
    /// List people (the default)
    List,
    /// Use an invite link
    Add {
        /// `kith-invite:…`
        link: String,
        /// Shown to the person who is asked
        #[arg(long, default_value = "")]
        greeting: String,
    },
    /// Accept a request
    Accept {
        /// Name or `kith1…`
        who: String,
    },
    /// Refuse a request; the other side is told
    Refuse {
        /// Name or `kith1…`
        who: String,
    },
    /// Block somebody; the other side is not told
    Block {
        /// Name or `kith1…`
        who: String,
    },
    /// Take a block back
    Unblock {
        /// Name or `kith1…`
        who: String,
    },
    /// Print the safety number to compare
    Safety {
        /// Name or `kith1…`
        who: String,
    },
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupAction {
    /// List groups (the default)
    List,
    /// Make a group
    New {
        /// Its title
        title: String,
        /// Contacts, by name or `kith1…`
        members: Vec<String>,
    },
    /// Print a group's members
    Show {
        /// Name or id
        group: String,
    },
    /// Add contacts
    Add {
        /// Name or id
        group: String,
        /// Contacts, by name or `kith1…`
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove somebody
    Remove {
        /// Name or id
        group: String,
        /// Name or `kith1…`
        who: String,
    },
    /// Rename a group
    Rename {
        /// Name or id
        group: String,
        /// The new title
        title: String,
    },
    /// Leave a group; its history stays here
    Leave {
        /// Name or id
        group: String,
    },
}

/// What to do with files.
#[derive(Debug, Subcommand)]
pub(crate) enum FileAction {
    /// List the files of a conversation, newest first; without one, what takes space here (the default)
    List {
        /// Name or id of the conversation
        from: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Save a file; what has not arrived is downloaded first
    Get {
        /// Its name, or the start of its id
        file: String,
        /// Look in this conversation only, by name or id
        #[arg(long)]
        from: Option<String>,
        /// Where to [default: its name, in this folder]; `-` is standard output
        #[arg(short, long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Write over what is there
        #[arg(long)]
        force: bool,
    },
    /// Download a file, or go on with it
    Fetch {
        /// Its name, or the start of its id
        file: String,
        /// Look in this conversation only, by name or id
        #[arg(long)]
        from: Option<String>,
    },
    /// Pause the download of a file, or the way of an own one to relays
    Pause {
        /// Its name, or the start of its id
        file: String,
        /// Look in this conversation only, by name or id
        #[arg(long)]
        from: Option<String>,
    },
    /// Free the space that a file takes here
    Free {
        /// Its name, or the start of its id
        file: String,
        /// Look in this conversation only, by name or id
        #[arg(long)]
        from: Option<String>,
    },
}

/// What to do with calls.
#[derive(Debug, Subcommand)]
pub(crate) enum CallAction {
    /// Answer every call to this node, and send sound and picture back
    Echo,
    /// Call a contact, measure the path for ten seconds, hang up
    Probe {
        /// Name or `kith1…`
        who: String,
    },
}

/// What to do with relays.
#[derive(Debug, Subcommand)]
pub(crate) enum RelayAction {
    /// List relays (the default)
    List,
    /// Take a relay into use
    Add {
        /// `kith-relay:…`
        link: String,
    },
    /// Try a relay without taking it into use
    Test {
        /// `kith-relay:…`
        link: String,
    },
    /// Stop using a relay
    Remove {
        /// Name or id
        relay: String,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Print each value and where it came from
    Show,
}

/// Runs what the command line asks.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out { json: cli.global.json };
    match dispatch(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli, out: Out) -> anyhow::Result<()> {
    let mut flags =
        Flags { data: cli.global.data, config: cli.global.config, log: cli.global.log, ..Flags::default() };
    if let Command::Run(args) = &cli.command {
        flags.listen.clone_from(&args.listen);
        flags.p2p_listen.clone_from(&args.p2p_listen);
        flags.direct = args.no_direct.then_some(false);
    }
    if matches!(cli.command, Command::Openapi) {
        print!("{}", kith_web::openapi());
        return Ok(());
    }
    let config = Config::load(&flags, &ProcessEnvironment)?;
    let data = config.data_dir();
    match cli.command {
        Command::Init(args) => init::init(&config, &args, out),
        Command::Run(args) => run::run(&config, args.passphrase.passphrase_fd, out),
        Command::Status => commands::status(&data, out),
        Command::Link => commands::link(&data, out),
        Command::Unlock(args) => commands::unlock(&data, &args, out),
        Command::Lock => commands::lock(&data, out),
        Command::Invite { action } => commands::invite(&data, action, out),
        Command::Contacts { action } => commands::contacts(&data, action, out),
        Command::Groups { action } => commands::groups(&data, action, out),
        Command::Send { to, text, files, .. } if files.is_empty() => commands::send(&data, &to, text, out),
        Command::Send { to, text, files, keep_metadata } => {
            commands::send_files(&data, &to, text.as_deref(), &files, keep_metadata, out)
        }
        Command::Files { action } => commands::files(&data, action, out),
        Command::Read { from, limit } => commands::read(&data, &from, limit, out),
        Command::Tail { from } => commands::tail(&data, from.as_deref(), out),
        Command::Call { action } => calls::run(&data, &action, out),
        Command::Relays { action } => commands::relays(&data, action, out),
        Command::Config { action: ConfigAction::Show } => {
            commands::show_config(&config, out);
            Ok(())
        }
        Command::Openapi => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
