//! Making an account, opening and closing the vault.

use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use kith_core::api::Refusal;
use kith_wire::crypto::Secret;
use kith_wire::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Shared, session_failed};
use crate::app::App;
use crate::extract::{Body, bounded};
use crate::limits::PASSPHRASE_BYTES_MAX;
use crate::problem::Problem;
use crate::sessions::Who;

/// Bytes of 24 words with generous spacing.
const WORDS_BYTES_MAX: usize = 1024;
/// Words asked for again.
const ANSWERS: usize = 3;

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    /// Name shown to others.
    name: String,
    /// At least 8 characters.
    passphrase: String,
}

/// The recovery words, shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Words {
    /// 24 words in order.
    words: Vec<String>,
}

/// Which words to repeat.
#[derive(Serialize, ToSchema)]
pub(crate) struct Challenge {
    /// Three places, from 0.
    indexes: Vec<u32>,
}

/// Repeated words.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirm {
    /// One for each place asked for.
    answers: Vec<Answer>,
}

/// One repeated word.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// Its place, from 0.
    index: u32,
    /// The word.
    word: String,
}

/// The passphrase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unlock {
    /// As chosen.
    passphrase: String,
}

/// A change of passphrase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passphrase {
    /// The present one.
    old: String,
    /// At least 8 characters.
    new: String,
}

/// Recovery on this machine.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recover {
    /// The 24 words, separated by spaces.
    words: String,
    /// The new passphrase.
    passphrase: String,
}

fn secret(text: String, what: &str) -> Result<Zeroizing<String>, Problem> {
    bounded(text, PASSPHRASE_BYTES_MAX, what).map(Zeroizing::new)
}

/// Runs something that tests a secret, behind the door that slows guessing.
async fn guarded<T>(app: &App, attempt: impl Future<Output = Result<T, Refusal>>) -> Result<T, Problem> {
    let door = app.unlock_door.enter(Instant::now()).map_err(|wait| {
        Problem::slow_down("slow_down", wait, format!("Wait {wait} s before the next try."))
    })?;
    match attempt.await {
        Ok(value) => {
            door.right();
            Ok(value)
        }
        Err(refusal) => {
            if matches!(refusal.code.as_str(), "wrong_passphrase" | "wrong_words") {
                door.wrong(Instant::now());
            }
            Err(refusal.into())
        }
    }
}

fn opened(app: &App, key: Secret, who: Who) -> Result<StatusCode, Problem> {
    app.sessions().unlocked(key, Some(who)).map_err(|e| session_failed(&e))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an account in memory; it becomes real when three words are repeated.
#[utoipa::path(post, path = "/vault/create", tag = "vault", request_body = Create,
    responses((status = 200, body = Words), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create_vault(
    State(app): Shared,
    Body(body): Body<Create>,
) -> Result<Json<Words>, Problem> {
    let name = bounded(body.name, NAME_BYTES_MAX, "The name")?;
    let passphrase = secret(body.passphrase, "The passphrase")?;
    let words = app.backend().create(name, passphrase).await?;
    Ok(Json(Words { words }))
}

/// Which three words must be repeated.
#[utoipa::path(get, path = "/vault/challenge", tag = "vault",
    responses((status = 200, body = Challenge), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn challenge(State(app): Shared) -> Result<Json<Challenge>, Problem> {
    Ok(Json(Challenge { indexes: app.backend().challenge()? }))
}

/// Repeats three words; the account is written and the vault opens.
#[utoipa::path(post, path = "/vault/confirm", tag = "vault", request_body = Confirm,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn confirm(
    State(app): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<Confirm>,
) -> Result<StatusCode, Problem> {
    if body.answers.len() != ANSWERS {
        return Err(Problem::malformed("Repeat exactly the three words asked for."));
    }
    let answers = body.answers.into_iter().map(|a| (a.index, Zeroizing::new(a.word))).collect();
    let key = app.backend().confirm(answers).await?;
    opened(&app, key, who)
}

/// Opens the vault.
#[utoipa::path(post, path = "/vault/unlock", tag = "vault", request_body = Unlock,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn unlock(
    State(app): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<Unlock>,
) -> Result<StatusCode, Problem> {
    let passphrase = secret(body.passphrase, "The passphrase")?;
    let key = guarded(&app, app.backend().unlock(passphrase)).await?;
    opened(&app, key, who)
}

/// Forgets all keys; nothing is sent or received until the next unlock.
#[utoipa::path(post, path = "/vault/lock", tag = "vault",
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn lock(State(app): Shared) -> Result<StatusCode, Problem> {
    app.backend().lock().await?;
    app.sessions().locked();
    app.events().locked();
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the passphrase.
#[utoipa::path(post, path = "/vault/passphrase", tag = "vault", request_body = Passphrase,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn passphrase(
    State(app): Shared,
    Body(body): Body<Passphrase>,
) -> Result<StatusCode, Problem> {
    let old = secret(body.old, "The present passphrase")?;
    let new = secret(body.new, "The new passphrase")?;
    guarded(&app, app.backend().change_passphrase(old, new)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens the vault with the recovery words and sets a new passphrase here.
#[utoipa::path(post, path = "/vault/recover", tag = "vault", request_body = Recover,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn recover(
    State(app): Shared,
    Extension(who): Extension<Who>,
    Body(body): Body<Recover>,
) -> Result<StatusCode, Problem> {
    let words = Zeroizing::new(bounded(body.words, WORDS_BYTES_MAX, "The list of words")?);
    let passphrase = secret(body.passphrase, "The passphrase")?;
    let key = guarded(&app, app.backend().recover(words, passphrase)).await?;
    opened(&app, key, who)
}
