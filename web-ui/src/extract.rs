//! Reading requests: every way in which a body, query or id can be wrong ends
//! as a problem with a sentence.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use kith_wire::ids::{AccountId, EventId, GroupId, InviteId, RelayId};
use serde::de::DeserializeOwned;

use crate::limits::BODY_BYTES_MAX;
use crate::problem::Problem;

/// A JSON body. Unknown fields are refused by the shapes themselves.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("The request's body is over {} KiB.", BODY_BYTES_MAX >> 10),
                )
            }
            _ => cut_short(),
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| Problem::malformed(describe(&e)))
    }
}

/// The body ended before its announced length.
pub(crate) fn cut_short() -> Problem {
    Problem::malformed("The request's body was cut short.")
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "Send the body as JSON, with the header `Content-Type: application/json`.",
    ))
}

/// Serde's own words name fields and places, and may quote the value: cut.
fn describe(error: &serde_json::Error) -> String {
    let text: String = error.to_string().chars().take(200).collect();
    format!("The request's body is not as expected: {text}.")
}

/// A query string. Unknown parameters are refused by the shapes themselves.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state).await.map_err(|e| {
            let text: String = e.body_text().chars().take(200).collect();
            Problem::malformed(format!("The address has a wrong parameter: {text}."))
        })?;
        Ok(Self(value))
    }
}

/// The ids in a path, as text.
pub(crate) struct Ids<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Ids<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::malformed("The address names something in a wrong form.")),
        }
    }
}

fn bad_id(what: &str, form: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_id", format!("This is no id of {what}: it should be {form}."))
}

pub(crate) fn account(text: &str) -> Result<AccountId, Problem> {
    AccountId::from_text(text).ok_or_else(|| bad_id("an account", "like `kith1…`; it may be mistyped"))
}
pub(crate) fn group(text: &str) -> Result<GroupId, Problem> {
    GroupId::from_hex(text).ok_or_else(|| bad_id("a conversation", "64 hex digits"))
}
pub(crate) fn event(text: &str) -> Result<EventId, Problem> {
    EventId::from_hex(text).ok_or_else(|| bad_id("a message", "64 hex digits"))
}
pub(crate) fn invite(text: &str) -> Result<InviteId, Problem> {
    InviteId::from_hex(text).ok_or_else(|| bad_id("an invite", "64 hex digits"))
}
pub(crate) fn relay(text: &str) -> Result<RelayId, Problem> {
    RelayId::from_hex(text).ok_or_else(|| bad_id("a relay", "64 hex digits"))
}

/// A text within its bound, in bytes.
pub(crate) fn bounded(text: String, bytes_max: usize, what: &str) -> Result<String, Problem> {
    if text.len() <= bytes_max {
        return Ok(text);
    }
    Err(Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_long",
        format!("{what} is too long: at most {bytes_max} bytes."),
    ))
}
