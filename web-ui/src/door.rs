//! The checks that every request passes before a handler sees it, and the
//! headers that every answer gets.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::backend::VaultState;
use crate::extract::cut_short;
use crate::limits::BODY_BYTES_MAX;
use crate::problem::Problem;
use crate::sessions::{Pass, Who};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Exact Host, and the security headers on whatever comes back.
pub(crate) async fn host_and_headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check_host(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    secure(&app, response.headers_mut());
    response
}

/// Reads a small body to its end before anything answers. The server closes a
/// connection on which it has answered before the body came, and tells nobody:
/// the next request on it would fail.
pub(crate) async fn whole_body(request: Request, next: Next) -> Response {
    let length = only(request.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if !length.is_some_and(|length: usize| (1..=BODY_BYTES_MAX).contains(&length)) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(_) => cut_short().into_response(),
    }
}

/// The one value of a header; `None` if it is absent, repeated or no text.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok()).flatten()
}

fn check_host(app: &App, request: &Request) -> Result<(), Problem> {
    let host = only(request.headers(), header::HOST);
    let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if host == Some(app.host()) && target.is_none_or(|target| target == app.host()) {
        return Ok(());
    }
    let message = format!("This node answers only at {}. Open that address.", app.origin());
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong_host", message))
}

fn secure(app: &App, headers: &mut HeaderMap) {
    let csp = format!(
        "default-src 'self'; connect-src 'self' ws://{}; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
        app.host()
    );
    // The bytes of a file come with a stricter one of their own.
    if let Ok(value) = HeaderValue::from_str(&csp) {
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(value);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Only known callers pass; the handler finds [`Who`] among the extensions.
pub(crate) async fn known(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match identify(&app, &request) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Only while the vault is open.
pub(crate) async fn unlocked(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match open(app.backend().state()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn open(state: VaultState) -> Result<(), Problem> {
    match state {
        VaultState::Unlocked => Ok(()),
        VaultState::Locked => {
            Err(Problem::new(StatusCode::LOCKED, "locked", "Kith is locked. Unlock it with your passphrase."))
        }
        VaultState::Fresh => {
            Err(Problem::new(StatusCode::LOCKED, "fresh", "There is no account here yet. Create one first."))
        }
    }
}

fn identify(app: &App, request: &Request) -> Result<Who, Problem> {
    let headers = request.headers();
    let pass = if headers.contains_key(header::AUTHORIZATION) {
        let token = only(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        token.map_or(Pass::Unknown, |token| app.sessions().program(token))
    } else {
        check_origin(app, request)?;
        let name = app.sessions().cookie_name();
        cookie(headers, name).map_or(Pass::Unknown, |value| app.sessions().browser(value))
    };
    match pass {
        Pass::Known(who) => Ok(who),
        Pass::TooFast => Err(Problem::slow_down("slow_down", 1, "Too many requests at once. Wait a moment.")),
        Pass::Unknown => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "no_session",
            "You are not signed in. Run `kith link` and open the link that it prints.",
        )),
    }
}

/// What a browser says about where a request comes from must be this node's
/// own page; it must say so whenever the request can change something.
fn check_origin(app: &App, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let stream = headers.contains_key(header::UPGRADE);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && !stream;
    let origin_ok = if headers.contains_key(header::ORIGIN) {
        only(headers, header::ORIGIN) == Some(app.origin().as_str())
    } else {
        reads
    };
    let site_ok = !headers.contains_key(FETCH_SITE)
        || matches!(only(headers, FETCH_SITE), Some("same-origin" | "none"));
    if origin_ok && site_ok {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "wrong_origin",
        "Another page tried to use this node. Use Kith's own page.",
    ))
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
