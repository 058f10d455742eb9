//! Files: added as they come, read from any place while they arrive, what
//! they take of the disk.

use std::ops::Bound;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as HttpBody, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use data_encoding::BASE64;
use futures::StreamExt as _;
use kith_core::api::{Command, FileCommand, Reply};
use kith_core::view;
use kith_wire::content::{
    CAPTION_BYTES_MAX, FILE_NAME_BYTES_MAX, Look, MEDIA_TYPE_BYTES_MAX, PREVIEW_BYTES_MAX, WAVEFORM_MAX,
};
use kith_wire::ids::FileId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::conversations::Accepted;
use super::{Shared, ask, done, find, look};
use crate::app::App;
use crate::backend::{FileSink, FileSource};
use crate::extract::{self, Body, Ids, Params, bounded};
use crate::limits::{KEY_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX};
use crate::media::{self, Picture};
use crate::problem::Problem;
use crate::strip;

/// Bytes handed on to be sealed in one go.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of a refused file that are read all the same, and for how long.
const DRAINED_BYTES_MAX: u64 = 8 << 30;
const DRAINED_WITHIN: Duration = Duration::from_secs(30);

/// What is known of a file before its bytes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewFile {
    /// Its name.
    name: String,
    /// Its media type, like `image/jpeg`; empty or absent = unknown.
    #[serde(default, rename = "type")]
    #[param(rename = "type")]
    media_type: String,
    /// Leave place, time and camera in a picture. Absent or false: they are taken out.
    #[serde(default)]
    keep_metadata: bool,
}

/// How a picture, film or recording looks or sounds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLook {
    /// Pixels; 0 = unknown.
    #[serde(default)]
    width: u32,
    /// Pixels; 0 = unknown.
    #[serde(default)]
    height: u32,
    /// Length in milliseconds; 0 = unknown.
    #[serde(default)]
    duration_ms: u64,
    /// A small JPEG or WebP (at most 640 pixels a side, 24 KiB), base64.
    #[serde(default)]
    preview: String,
    /// Loudness over time, at most 128 values.
    #[serde(default)]
    waveform: Vec<u8>,
    /// It was recorded as a voice message.
    #[serde(default)]
    voice: bool,
}

/// A file to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendFile {
    /// A file that is here, 64 hex digits.
    file: String,
    /// Words beside it, at most 16 KiB.
    #[serde(default)]
    caption: String,
    /// The message it answers.
    #[serde(default)]
    reply_to: Option<String>,
    /// How it looks or sounds.
    #[serde(default)]
    look: Option<NewLook>,
    /// Chosen by the client, at most 64 bytes: the same key again answers as the first time.
    key: String,
}

/// How a file is to be served.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// To be saved, not shown.
    #[serde(default)]
    download: bool,
}

/// Whether a file stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keep {
    /// It stays when room is made.
    keep: bool,
}

/// A file, and how far it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileNow {
    /// The file.
    file: view::File,
    /// While it is being fetched.
    progress: Option<view::FileProgress>,
}

fn file_id(text: &str) -> Result<FileId, Problem> {
    FileId::from_hex(text).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_id",
            "This is no id of a file: it should be 64 hex digits.",
        )
    })
}

fn announced(headers: &HeaderMap) -> Result<u64, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or_else(|| {
        Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "Say how long the file is, with the header `Content-Length`.",
        )
    })
}

fn cut_short() -> Problem {
    Problem::malformed("The file was cut short. Send it again.")
}

/// Adds a file to be sent: the body is its bytes, as they are. Place, time and camera are taken out of pictures.
#[utoipa::path(post, path = "/files", tag = "files", params(NewFile),
    request_body(content = String, content_type = "application/octet-stream", description = "The bytes"),
    responses((status = 201, body = view::File), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn add(
    State(app): Shared,
    Params(query): Params<NewFile>,
    request: Request,
) -> Result<(StatusCode, Json<view::File>), Problem> {
    let size = announced(request.headers());
    let mut body = request.into_body().into_data_stream();
    let id = match size {
        Ok(size) => take_in(&app, query, size, &mut body).await,
        Err(problem) => Err(problem),
    };
    if id.is_err() {
        drain(&mut body).await;
    }
    let id = id?;
    let file = look(&app, move |b| b.file(id)).await?.ok_or_else(Problem::internal)?;
    Ok((StatusCode::CREATED, Json(file)))
}

/// Whoever still sends hears an answer only after that: what is left of a
/// refused file is read and thrown away, within bounds.
async fn drain(body: &mut BodyDataStream) {
    let mut left = DRAINED_BYTES_MAX;
    let rest = async {
        while let Some(Ok(bytes)) = body.next().await {
            left = left.saturating_sub(bytes.len() as u64);
            if left == 0 {
                return;
            }
        }
    };
    let _too_slow = tokio::time::timeout(DRAINED_WITHIN, rest).await;
}

/// Has a file added. Answers its id.
async fn take_in(app: &App, query: NewFile, size: u64, body: &mut BodyDataStream) -> Result<FileId, Problem> {
    let name = bounded(query.name, 4 * FILE_NAME_BYTES_MAX, "The name")?;
    let media_type = bounded(query.media_type, MEDIA_TYPE_BYTES_MAX, "The type")?;
    let mut held: Vec<u8> = Vec::new();
    while held.len() < media::HEAD_BYTES {
        match body.next().await {
            Some(bytes) => held.extend_from_slice(&bytes.map_err(|_| cut_short())?),
            None => break,
        }
    }
    let (mut size, mut size_left) = (size, None);
    match media::picture(held.get(..media::HEAD_BYTES.min(held.len())).unwrap_or_default()) {
        Picture::Cleanable if !query.keep_metadata => {
            while let Some(bytes) = body.next().await {
                held.extend_from_slice(&bytes.map_err(|_| cut_short())?);
                if held.len() > strip::PICTURE_BYTES_MAX {
                    return Err(not_cleaned("This picture is too large to take its metadata out."));
                }
            }
            if held.len() as u64 != size {
                return Err(cut_short());
            }
            let cleaned = tokio::task::spawn_blocking(move || strip::clean(&held)).await;
            held = cleaned.map_err(|_| Problem::internal())?.ok_or_else(|| {
                not_cleaned("This picture is damaged, so its metadata could not be taken out.")
            })?;
            size = held.len() as u64;
            size_left = Some(());
        }
        Picture::Opaque if !query.keep_metadata => {
            return Err(not_cleaned("Kith cannot take the metadata out of this kind of picture."));
        }
        _ => {}
    }
    let mut sink = app.backend().add_file(name, media_type, size).await?;
    if size_left.is_none() {
        pour(&mut *sink, &mut held, body).await?;
    }
    while !held.is_empty() {
        let rest = held.split_off(held.len().min(WRITE_BYTES));
        sink.write(core::mem::replace(&mut held, rest)).await?;
    }
    Ok(sink.finish().await?)
}

/// Everything but the last part, which stays in `held`.
async fn pour(sink: &mut dyn FileSink, held: &mut Vec<u8>, body: &mut BodyDataStream) -> Result<(), Problem> {
    while let Some(bytes) = body.next().await {
        held.extend_from_slice(&bytes.map_err(|_| cut_short())?);
        if held.len() >= WRITE_BYTES {
            sink.write(core::mem::take(held)).await?;
        }
    }
    Ok(())
}

fn not_cleaned(why: &str) -> Problem {
    let message = format!(
        "{why} It may say where and when it was taken. Send it as it is only if that does not matter."
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "metadata_stays", message)
}

/// Sends a file that is here. Answered when the message is durable here.
#[utoipa::path(post, path = "/conversations/{id}/files", tag = "files", request_body = SendFile,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 202, body = Accepted), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn send(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<SendFile>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let (group, file) = (extract::group(&id)?, file_id(&body.file)?);
    let reply_to = body.reply_to.as_deref().map(extract::event).transpose()?;
    let caption = bounded(body.caption, CAPTION_BYTES_MAX, "The text beside the file")?;
    let key = bounded(body.key, KEY_BYTES_MAX, "The key")?;
    if key.is_empty() {
        return Err(Problem::malformed("`key` must not be empty: a new one for each message."));
    }
    let look = body.look.map(new_look).transpose()?;
    let command = Command::SendFile { group, file, caption, reply_to, look, key };
    let accepted = ask(&app, command, |reply| match reply {
        Reply::Accepted { event, position } => Some(Accepted::new(event, position)),
        _ => None,
    });
    Ok((StatusCode::ACCEPTED, Json(accepted.await?)))
}

fn new_look(look: NewLook) -> Result<Look, Problem> {
    let preview = BASE64
        .decode(look.preview.as_bytes())
        .map_err(|_| Problem::malformed("`look.preview` should be base64."))?;
    if preview.len() > PREVIEW_BYTES_MAX || look.waveform.len() > WAVEFORM_MAX {
        return Err(Problem::malformed("The preview or the waveform is too large."));
    }
    Ok(Look {
        width: look.width,
        height: look.height,
        duration_ms: look.duration_ms,
        preview,
        waveform: look.waveform,
        voice: look.voice,
    })
}

/// Which files of a conversation.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilesQuery {
    /// Those of messages before this position.
    #[serde(default)]
    before: Option<u64>,
    /// Files at most: 50 if absent, 200 at most.
    #[serde(default)]
    limit: Option<usize>,
}

/// Files that a conversation's messages brought, newest first, whether they are here or not.
#[utoipa::path(get, path = "/conversations/{id}/files", tag = "files",
    params(("id" = String, Path, description = "Conversation id"), FilesQuery),
    responses((status = 200, body = view::FilePage), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): Shared,
    Ids(id): Ids<String>,
    Params(query): Params<FilesQuery>,
) -> Result<Json<view::FilePage>, Problem> {
    let group = extract::group(&id)?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` lies between 1 and {PAGE_MAX}.")));
    }
    find(&app, "conversation", move |b| b.files(group, query.before, limit)).await
}

/// One file, and how far it is.
#[utoipa::path(get, path = "/files/{id}", tag = "files",
    params(("id" = String, Path, description = "File id")),
    responses((status = 200, body = FileNow), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn file(State(app): Shared, Ids(id): Ids<String>) -> Result<Json<FileNow>, Problem> {
    let id = file_id(&id)?;
    let file = look(&app, move |b| b.file(id)).await?.ok_or_else(|| Problem::not_found("file"))?;
    Ok(Json(FileNow { file, progress: app.backend().file_progress(id) }))
}

/// Fetches a file, or goes on fetching it. An own file that was held back goes on its way to relays.
#[utoipa::path(post, path = "/files/{id}/fetch", tag = "files",
    params(("id" = String, Path, description = "File id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn fetch(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::File(FileCommand::Fetch { file: file_id(&id)? })).await
}

/// Stops fetching a file; what is here stays. An own file goes no further to relays.
#[utoipa::path(post, path = "/files/{id}/pause", tag = "files",
    params(("id" = String, Path, description = "File id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pause(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::File(FileCommand::Pause { file: file_id(&id)? })).await
}

/// Frees the space that a file takes here, whole or in part. It can be fetched again while others have it.
#[utoipa::path(delete, path = "/files/{id}", tag = "files",
    params(("id" = String, Path, description = "File id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn free(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::File(FileCommand::Free { file: file_id(&id)? })).await
}

/// Whether a file stays when room is made.
#[utoipa::path(put, path = "/files/{id}/keep", tag = "files", request_body = Keep,
    params(("id" = String, Path, description = "File id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn keep(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<Keep>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::File(FileCommand::Keep { file: file_id(&id)?, keep: body.keep })).await
}

/// What files take of the disk.
#[utoipa::path(get, path = "/storage", tag = "files",
    responses((status = 200, body = view::Storage), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn storage(State(app): Shared) -> Result<Json<view::Storage>, Problem> {
    look(&app, |b| b.storage()).await.map(Json)
}

/// Changes how much may be fetched, kept and moved.
#[utoipa::path(put, path = "/storage", tag = "files", request_body = view::FileSettings,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_storage(
    State(app): Shared,
    Body(body): Body<view::FileSettings>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::File(FileCommand::Settings(body))).await
}

/// A file's bytes, from any place on (`Range`), while it arrives too: what is not here yet is waited for. Shown in
/// place are only pictures, films and recordings, by what their bytes are; all else is to be saved.
#[utoipa::path(get, path = "/files/{id}/content", tag = "files", params(("id" = String, Path, description = "File id"), ContentQuery),
    responses((status = 200, description = "All bytes", content_type = "application/octet-stream"),
        (status = 206, description = "A part", content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn content(
    State(app): Shared,
    Ids(id): Ids<String>,
    Params(query): Params<ContentQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = file_id(&id)?;
    let (file, mut source) = app.backend().open_file(id).await?.ok_or_else(|| Problem::not_found("file"))?;
    let range = range(&headers, file.size, &id)?;
    let shown = if query.download {
        None
    } else {
        let chunk = source.read(0).await?;
        let head = chunk.get(..media::HEAD_BYTES.min(chunk.len())).unwrap_or_default();
        let shown = media::shown(head, &file.media_type);
        let decodable = shown.is_none_or(|kind| media::decodable(kind, &chunk));
        // Browsers draw what is asked for as a picture, whatever type it has.
        if !decodable && headers.get("sec-fetch-dest").is_some_and(|dest| dest == "image") {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "picture_too_large",
                "This picture has too many pixels to be shown here. Save it to look at it.",
            ));
        }
        shown.filter(|_| decodable)
    };
    let (from, to) = range.unwrap_or((0, file.size));
    let mut response = Response::builder()
        .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::CONTENT_TYPE, shown.unwrap_or("application/octet-stream"))
        .header(header::CONTENT_LENGTH, to - from)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, tag(&id))
        .header(header::CONTENT_DISPOSITION, disposition(&file.name, shown.is_some()))
        // Opened by itself it is a document of nobody, that may do nothing.
        .header(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'",
        );
    if range.is_some() {
        response = response
            .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{}", to.saturating_sub(1), file.size));
    }
    response.body(stream(&app, source, from, to)).map_err(|_| Problem::internal())
}

fn tag(id: &FileId) -> String {
    format!("\"{}\"", id.hex())
}

/// The bytes in `[from, to)`, as they are read.
fn stream(app: &App, source: Box<dyn FileSource>, from: u64, to: u64) -> HttpBody {
    let stopping = app.stopping();
    let parts =
        futures::stream::unfold((source, stopping, from), move |(mut source, mut stopping, at)| async move {
            if at >= to || *stopping.borrow() {
                return None;
            }
            let read = tokio::select! {
                read = source.read(at) => read,
                _ = stopping.changed() => return None,
            };
            match read {
                Ok(mut bytes) if !bytes.is_empty() => {
                    bytes.truncate(usize::try_from(to - at).unwrap_or(usize::MAX));
                    let next = at + bytes.len() as u64;
                    Some((Ok(bytes), (source, stopping, next)))
                }
                // The connection breaks: the reader sees that it is not all.
                Ok(_) => Some((
                    Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                    (source, stopping, to),
                )),
                Err(e) => Some((Err(std::io::Error::other(e.message)), (source, stopping, to))),
            }
        });
    HttpBody::from_stream(parts)
}

/// The one range that is asked for, as `[from, to)`; `None` = all of it.
fn range(headers: &HeaderMap, size: u64, id: &FileId) -> Result<Option<(u64, u64)>, Problem> {
    let Some(value) = headers.get(header::RANGE) else { return Ok(None) };
    // For another version of it than this one: all of it is sent.
    if headers.get(header::IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != tag(id).as_bytes()) {
        return Ok(None);
    }
    let Some(wanted) = value.to_str().ok().and_then(parse_range) else { return Ok(None) };
    let (from, to) = match wanted {
        (Bound::Included(from), Bound::Included(last)) => (from, last.saturating_add(1).min(size)),
        (Bound::Included(from), _) => (from, size),
        // The last so many bytes.
        (_, Bound::Included(last)) => (size.saturating_sub(last), size),
        _ => return Ok(None),
    };
    if from < to && from < size {
        return Ok(Some((from, to)));
    }
    Err(Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "bad_range",
        format!("The file has {size} bytes; there is nothing in that range."),
    ))
}

/// `bytes=A-B`, `bytes=A-` or `bytes=-N`; several ranges count as none.
fn parse_range(value: &str) -> Option<(Bound<u64>, Bound<u64>)> {
    let (from, last) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (from.trim(), last.trim()) {
        ("", "") => None,
        ("", last) => Some((Bound::Unbounded, Bound::Included(number(last)?))),
        (from, "") => Some((Bound::Included(number(from)?), Bound::Unbounded)),
        (from, last) => {
            let (from, last) = (number(from)?, number(last)?);
            (from <= last).then_some((Bound::Included(from), Bound::Included(last)))
        }
    }
}

/// The name in the plain form for old programs and in full for all others.
fn disposition(name: &str, shown: bool) -> String {
    use std::fmt::Write as _;
    let how = if shown { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' })
        .collect();
    let full = name.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') {
            out.push(char::from(b));
        } else {
            let _infallible = write!(out, "%{b:02X}");
        }
        out
    });
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(value: &str, size: u64) -> Result<Option<(u64, u64)>, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
        range(&headers, size, &FileId([1; 32])).map_err(|p| p.status)
    }

    #[test]
    fn ranges_are_what_players_ask_for() {
        assert_eq!(asked("bytes=0-", 100), Ok(Some((0, 100))));
        assert_eq!(asked("bytes=10-19", 100), Ok(Some((10, 20))));
        assert_eq!(asked("bytes=10-900", 100), Ok(Some((10, 100))));
        assert_eq!(asked("bytes=-30", 100), Ok(Some((70, 100))));
        assert_eq!(asked("bytes=-900", 100), Ok(Some((0, 100))));
        for none in
            ["bytes=1-2,5-6", "items=0-1", "bytes=", "bytes=-", "bytes=5-2", "bytes=+5-9", "bytes=a-b"]
        {
            assert_eq!(asked(none, 100), Ok(None), "{none}");
        }
        for bad in ["bytes=100-", "bytes=-0", "bytes=200-300"] {
            assert_eq!(asked(bad, 100), Err(416), "{bad}");
        }
        assert_eq!(asked("bytes=0-", 0), Err(416));
    }

    #[test]
    fn names_cannot_leave_their_header() {
        let text = disposition("a\"; x=\"\r\nSet-Cookie: b\u{202e}.html", false);
        assert!(!text.contains(['\r', '\n']) && text.matches('"').count() == 2, "{text}");
        assert!(disposition("Grüße.txt", true).ends_with("filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"));
    }
}
