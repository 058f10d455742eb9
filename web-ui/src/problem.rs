//! Errors as people and programs get them: problem JSON with a stable code and
//! a sentence, and the one table from codes to HTTP statuses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kith_core::api::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable, for programs.
    pub code: String,
    /// A sentence that says what to do.
    pub message: String,
    /// Seconds to wait before another try, with status 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The HTTP status. Not part of the body.
    #[serde(skip)]
    pub status: u16,
}

impl Problem {
    /// A problem with its status, code and sentence.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after_s: None, status: status.as_u16() }
    }
    /// The request itself is wrong.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }
    /// Something named in the path is not here.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what} here."))
    }
    /// Too fast.
    pub fn slow_down(code: &str, retry_after_s: u64, message: impl Into<String>) -> Self {
        let retry_after_s = Some(retry_after_s.max(1));
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }
    /// Our own fault.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The node could not answer this. Its log says why; restarting it may help.",
        )
    }
}

/// The HTTP status of a refusal's code. Codes that only say "not possible as
/// things stand" need no line here.
#[must_use]
pub fn status(code: &str) -> StatusCode {
    match code {
        "locked" => StatusCode::LOCKED,
        "wrong_passphrase" | "wrong_words" => StatusCode::FORBIDDEN,
        "busy" | "slow_down" => StatusCode::TOO_MANY_REQUESTS,
        "disk" | "disk_full" => StatusCode::INSUFFICIENT_STORAGE,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        "stopping" => StatusCode::SERVICE_UNAVAILABLE,
        "malformed" | "empty" | "words_mistyped" | "weak_passphrase" => StatusCode::BAD_REQUEST,
        c if c.starts_with("bad_") || c.starts_with("invalid_") || c.ends_with("_empty") => {
            StatusCode::BAD_REQUEST
        }
        c if c == "not_found" || c.starts_with("unknown_") || c.starts_with("no_such_") => {
            StatusCode::NOT_FOUND
        }
        c if c.ends_with("too_large") || c.ends_with("too_long") => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::CONFLICT,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = status(&refusal.code);
        let retry_after_s = (status == StatusCode::TOO_MANY_REQUESTS).then_some(1);
        Self { status: status.as_u16(), code: refusal.code, message: refusal.message, retry_after_s }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let wait = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
