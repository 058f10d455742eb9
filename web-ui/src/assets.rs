//! The web app's files: embedded in the binary, or a test's own.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

/// Where the web app's files come from.
pub trait Assets: Send + Sync + 'static {
    /// A file by its path without leading slash.
    fn get(&self, path: &str) -> Option<Cow<'static, [u8]>>;
}

/// The files of the web app as built into this binary.
#[cfg(feature = "embed")]
#[derive(Debug, Clone, Copy, rust_embed::RustEmbed)]
#[folder = "app/dist"]
pub struct Embedded;

#[cfg(feature = "embed")]
impl Assets for Embedded {
    fn get(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        <Self as rust_embed::RustEmbed>::get(path).map(|file| file.data)
    }
}

/// No web app: the API alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAssets;

impl Assets for NoAssets {
    fn get(&self, _: &str) -> Option<Cow<'static, [u8]>> {
        None
    }
}

/// The page that loads the app; every path that names a view gets it.
const INDEX: &str = "index.html";
/// Files whose names change with their contents lie here.
const HASHED: &str = "assets/";

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Answers a GET outside the API.
pub(crate) fn serve(assets: &dyn Assets, path: &str) -> Response<Body> {
    let path = path.trim_start_matches('/');
    let (name, file) = match assets.get(path) {
        Some(file) if !path.is_empty() => (path, Some(file)),
        // A missing file of the build is an error; anything else is a view.
        _ if path.starts_with(HASHED) => (path, None),
        _ => (INDEX, assets.get(INDEX)),
    };
    let Some(file) = file else {
        return plain(StatusCode::NOT_FOUND, "There is nothing here.");
    };
    let cache = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Response::new(match file {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// A sentence as a page of its own.
pub(crate) fn plain(status: StatusCode, sentence: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(sentence));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
