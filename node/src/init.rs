//! `kith init`: creates an account without the web page.

use anyhow::{Result, anyhow, bail};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::InitArgs;
use crate::commands::Out;
use crate::config::Config;
use crate::vault::{self, Pending};
use crate::{logs, passphrase};

/// Tries to repeat the words at a terminal.
const TRIES: usize = 3;

/// Creates an account and prints its words.
pub(crate) fn init(config: &Config, args: &InitArgs, out: Out) -> Result<()> {
    logs::start(&config.log.value);
    let data = config.data_dir();
    let _lock = data.open()?;
    if vault::exists(&data).map_err(|e| anyhow!(e.message))? {
        bail!("there is an account in {} already: start it with `kith run`", data.path().display());
    }
    let name = match &args.name {
        Some(name) => Zeroizing::new(name.clone()),
        None => passphrase::ask_line("Your name, as others will see it")?,
    };
    let secret = match args.passphrase_fd {
        Some(fd) => passphrase::from_fd(fd)?,
        None => passphrase::ask_new()?,
    };
    let pending = Pending::new(&name, secret).map_err(|e| anyhow!(e.message))?;
    let words = pending.words();
    let by_hand = args.passphrase_fd.is_none() && !out.json;
    if by_hand {
        println!("{}\n", numbered(&words));
        println!("Write these 24 words on paper. They are the only way back into your account.");
        repeat(&pending)?;
    }
    pending.write(&data).map_err(|e| anyhow!(e.message))?;
    if by_hand {
        println!("Your account is ready. Start it with `kith run`.");
    } else {
        out.value(&json!({ "words": words }), || numbered(&words));
    }
    Ok(())
}

fn repeat(pending: &Pending) -> Result<()> {
    for _ in 0..TRIES {
        let mut answers = Vec::new();
        for index in pending.asked() {
            answers.push((*index, passphrase::ask_line(&format!("Word {}", index + 1))?));
        }
        match pending.check(&answers) {
            Ok(()) => return Ok(()),
            Err(refusal) => eprintln!("{}", refusal.message),
        }
    }
    bail!("nothing was created: run `kith init` again, and write the new words down")
}

fn numbered(words: &[String]) -> String {
    let rows = words.chunks(4).enumerate();
    let row = |(row, words): (usize, &[String])| {
        let cells = words.iter().enumerate().map(|(i, word)| format!("{:>2} {word:<10}", row * 4 + i + 1));
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    rows.map(row).collect::<Vec<_>>().join("\n")
}
