//! The commands about files: sent with `kith send --file`, listed, fetched,
//! and saved where the person says.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kith_core::view::{Conversation, FilePage, FileState, SharedFile, Storage};
use serde_json::{Value, json};

use super::{Out, conversation, hex};
use crate::cli::FileAction;
use crate::client::Client;
use crate::data::DataDir;
use crate::{show, system};

/// Files of one conversation that are looked through.
const LOOKED_THROUGH: usize = 200;
/// Bytes that are read from the node and written in one go.
const BLOCK: usize = 1 << 20;

/// Media types by the ends of names: what browsers show or play.
const TYPES: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("m4a", "audio/mp4"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];

fn type_of(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    TYPES.iter().find(|(known, _)| *known == end).map_or("", |(_, media_type)| media_type)
}

/// Percent-encodes what stands in a query.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') {
            out.push(char::from(b));
        } else {
            let _infallible = write!(out, "%{b:02X}");
        }
        out
    })
}

/// Sends files, each in a message of its own; the first one takes the words.
pub(crate) fn send(
    data: &DataDir,
    to: &str,
    caption: Option<&str>,
    paths: &[PathBuf],
    keep_metadata: bool,
    out: Out,
) -> Result<()> {
    let client = Client::of(data)?;
    let id = conversation(&client, to)?.id;
    // All of them can be read, or none is sent.
    let mut opened = Vec::with_capacity(paths.len());
    for path in paths {
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        if !file.metadata().with_context(|| format!("reading {}", path.display()))?.is_file() {
            bail!("{} is no file: folders are sent as an archive", path.display());
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        opened.push((name, file));
    }
    let mut sent = Vec::with_capacity(opened.len());
    for (name, file) in &opened {
        let mut query = format!("name={}&type={}", encoded(name), encoded(type_of(name)));
        if keep_metadata {
            query.push_str("&keep_metadata=true");
        }
        let added: Value = client.upload(&format!("/files?{query}"), file)?;
        let added_id = added.get("id").and_then(Value::as_str).context("reading the node's answer")?;
        let key = hex(&system::random::<16>().map_err(|e| anyhow!(e.message))?);
        let words = if sent.is_empty() { caption.unwrap_or_default() } else { "" };
        let body = json!({"file": added_id, "caption": words, "key": key});
        let mut answer: Value = client.post(&format!("/conversations/{id}/files"), &body)?;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("file".into(), added_id.into());
        }
        sent.push(answer);
    }
    out.value(&sent, || match sent.len() {
        1 => "Accepted: it is stored here and on its way.".into(),
        n => format!("Accepted: {n} files are stored here and on their way."),
    });
    Ok(())
}

/// What `kith files …` asks for.
pub(crate) fn files(data: &DataDir, action: Option<FileAction>, out: Out) -> Result<()> {
    let client = Client::of(data)?;
    match action.unwrap_or(FileAction::List { from: None, limit: 50 }) {
        FileAction::List { from: Some(from), limit } => {
            let id = conversation(&client, &from)?.id;
            let page: FilePage = client.get(&format!("/conversations/{id}/files?limit={limit}"))?;
            out.value(&page, || {
                if page.files.is_empty() { "No files.".into() } else { page.files.iter().map(line).collect() }
            });
        }
        FileAction::List { from: None, .. } => {
            let storage: Storage = client.get("/storage")?;
            out.value(&storage, || here(&storage));
        }
        FileAction::Get { file, from, out: target, force } => {
            let found = pick(&client, &file, from.as_deref())?;
            let path = target.unwrap_or_else(|| PathBuf::from(&found.file.name));
            let bytes = save(&client, &found, &path, force)?;
            if path.as_os_str() != "-" {
                let saved = json!({"file": found.file.id, "path": path.to_string_lossy(), "bytes": bytes});
                out.value(&saved, || format!("Saved {} ({bytes} bytes).", path.display()));
            }
        }
        FileAction::Fetch { file, from } => {
            act(&client, &file, from.as_deref(), "fetch", "It is being downloaded.", out)?;
        }
        FileAction::Pause { file, from } => {
            act(&client, &file, from.as_deref(), "pause", "Paused.", out)?;
        }
        FileAction::Free { file, from } => {
            let found = pick(&client, &file, from.as_deref())?;
            client.delete(&format!("/files/{}", found.file.id))?;
            out.done("Removed here. It can be downloaded again while others have it.");
        }
    }
    Ok(())
}

fn act(client: &Client, file: &str, from: Option<&str>, what: &str, done: &str, out: Out) -> Result<()> {
    let found = pick(client, file, from)?;
    client.tell(&format!("/files/{}/{what}", found.file.id), &json!({}))?;
    out.done(done);
    Ok(())
}

fn state(state: FileState) -> &'static str {
    match state {
        FileState::Offered => "not downloaded",
        FileState::Fetching => "downloading",
        FileState::Paused => "paused",
        FileState::Here => "here",
        FileState::Gone => "removed here",
    }
}

fn line(shared: &SharedFile) -> String {
    let SharedFile { author_name, at, file, .. } = shared;
    let short = file.id.get(..12).unwrap_or(&file.id);
    format!(
        "{short}  {}  {}  {}  {} bytes  {}\n",
        show::time(*at),
        show::line(author_name),
        state(file.state),
        file.size,
        show::line(&file.name)
    )
}

fn here(storage: &Storage) -> String {
    let mut text = String::new();
    for stored in &storage.conversations {
        let title = if stored.conversation.is_empty() { "(in no message)" } else { stored.title.as_str() };
        text.push_str(&format!("{}: {} files, {} bytes\n", show::line(title), stored.files, stored.bytes));
        for file in &stored.list {
            let short = file.id.get(..12).unwrap_or(&file.id);
            text.push_str(&format!("  {short}  {} bytes  {}\n", file.size, show::line(&file.name)));
        }
    }
    if text.is_empty() { "No files here.".into() } else { text }
}

/// The file that is meant: by its name or the start of its id.
fn pick(client: &Client, wanted: &str, from: Option<&str>) -> Result<SharedFile> {
    let places: Vec<String> = match from {
        Some(from) => vec![conversation(client, from)?.id],
        None => client.get::<Vec<Conversation>>("/conversations")?.into_iter().map(|c| c.id).collect(),
    };
    let mut all: Vec<SharedFile> = Vec::new();
    for id in places {
        let page: FilePage = client.get(&format!("/conversations/{id}/files?limit={LOOKED_THROUGH}"))?;
        // The same file may have been shared in several places.
        all.extend(
            page.files
                .into_iter()
                .filter(|new| !all.iter().any(|old| old.file.id == new.file.id))
                .collect::<Vec<_>>(),
        );
    }
    super::one(all, wanted, "file", |f| &f.file.id, |f| f.file.name.clone())
}

/// Saves a file; what is still to come is waited for. Answers its bytes.
fn save(client: &Client, found: &SharedFile, path: &Path, force: bool) -> Result<u64> {
    let mut body = client.content(&format!("/files/{}/content?download=true", found.file.id))?;
    if path.as_os_str() == "-" {
        return copy(&mut body, &mut std::io::stdout().lock(), found.file.size);
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow!("{} is there already: choose another name with --out, or --force", path.display())
        }
        _ => anyhow!("{} cannot be written: {e}", path.display()),
    })?;
    let copied = copy(&mut body, &mut file, found.file.size)
        .and_then(|bytes| file.sync_all().map(|()| bytes).context("writing the file"));
    if copied.is_err() {
        // Half a file is none.
        let _gone = std::fs::remove_file(path);
    }
    copied
}

fn copy(from: &mut dyn std::io::Read, to: &mut dyn std::io::Write, size: u64) -> Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut done = 0u64;
    loop {
        let n = from
            .read(&mut block)
            .context("the rest of the file did not come: nobody who has it can be reached now")?;
        let Some(part) = block.get(..n).filter(|part| !part.is_empty()) else { break };
        to.write_all(part).context("writing the file")?;
        done += part.len() as u64;
    }
    if done != size {
        bail!(
            "only {done} of {size} bytes came: nobody who has the rest can be reached now. Try again later"
        );
    }
    to.flush().context("writing the file")?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_end_of_a_name() {
        assert_eq!(type_of("A film.MP4"), "video/mp4");
        assert_eq!(type_of("archive.tar.gz"), "");
        assert_eq!(type_of("jpg"), "");
    }

    #[test]
    fn names_stay_in_their_query() {
        assert_eq!(encoded("a b&type=x/ü.txt"), "a%20b%26type%3Dx%2F%C3%BC.txt");
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let mut out = Vec::new();
        assert!(copy(&mut &b"abc"[..], &mut out, 4).unwrap_err().to_string().contains("3 of 4"));
        assert_eq!(copy(&mut &b"abcd"[..], &mut out, 4).unwrap(), 4);
    }
}
