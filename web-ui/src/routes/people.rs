//! Contacts, requests, safety numbers, invites.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kith_core::api::{Command, Reply};
use kith_core::view;
use kith_wire::limits::{ABOUT_BYTES_MAX, NAME_BYTES_MAX};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Shared, ask, done, find, look};
use crate::extract::{self, Body, Ids, bounded};
use crate::limits::LINK_BYTES_MAX;
use crate::problem::Problem;

/// An invite link to use.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UseInvite {
    /// `kith-invite:…`, for a contact or a group.
    link: String,
    /// Shown to the person who is asked.
    greeting: String,
}

/// Who was asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Asked {
    /// `kith1…`
    account: String,
}

/// What to change about a contact; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeContact {
    /// Private name; null or empty takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    nickname: Option<Option<String>>,
    /// Safety numbers were compared.
    #[serde(default)]
    verified: Option<bool>,
}

/// Tells `null` from an absent field.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// A new invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvite {
    /// The group to invite to; absent: to become a contact.
    #[serde(default)]
    conversation: Option<String>,
    /// How often it can be used.
    uses: u32,
    /// Validity in seconds.
    valid_s: u64,
}

/// All people known here.
#[utoipa::path(get, path = "/contacts", tag = "people",
    responses((status = 200, body = [view::Contact]), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn contacts(State(app): Shared) -> Result<Json<Vec<view::Contact>>, Problem> {
    look(&app, |b| b.contacts()).await.map(Json)
}

/// Uses an invite link.
#[utoipa::path(post, path = "/contacts", tag = "people", request_body = UseInvite,
    responses((status = 200, body = Asked), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn add(State(app): Shared, Body(body): Body<UseInvite>) -> Result<Json<Asked>, Problem> {
    let link = bounded(body.link, LINK_BYTES_MAX, "The invite link")?;
    let greeting = bounded(body.greeting, ABOUT_BYTES_MAX, "The greeting")?;
    let account = ask(&app, Command::UseInvite { link, greeting }, |reply| match reply {
        Reply::Contact(account) => Some(account),
        _ => None,
    });
    Ok(Json(Asked { account: account.await?.to_text() }))
}

/// Changes what is noted here about a contact.
#[utoipa::path(put, path = "/contacts/{account}", tag = "people", request_body = ChangeContact,
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn change(
    State(app): Shared,
    Ids(account): Ids<String>,
    Body(body): Body<ChangeContact>,
) -> Result<StatusCode, Problem> {
    let account = extract::account(&account)?;
    let nickname = match body.nickname {
        Some(Some(name)) => {
            Some(Some(bounded(name, NAME_BYTES_MAX, "The nickname")?).filter(|n| !n.trim().is_empty()))
        }
        Some(None) => Some(None),
        None => None,
    };
    if nickname.is_none() && body.verified.is_none() {
        return Err(Problem::malformed("Say what to change: `nickname` or `verified`."));
    }
    if let Some(nickname) = nickname {
        done(&app, Command::SetNickname { account, nickname }).await?;
    }
    if let Some(verified) = body.verified {
        done(&app, Command::SetVerified { account, verified }).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Says yes to a request.
#[utoipa::path(post, path = "/contacts/{account}/accept", tag = "people",
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn accept(State(app): Shared, Ids(account): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::AcceptContact { account: extract::account(&account)? }).await
}

/// Says no to a request.
#[utoipa::path(post, path = "/contacts/{account}/refuse", tag = "people",
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn refuse(State(app): Shared, Ids(account): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::RefuseContact { account: extract::account(&account)? }).await
}

/// Blocks somebody; they are not told.
#[utoipa::path(post, path = "/contacts/{account}/block", tag = "people",
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn block(State(app): Shared, Ids(account): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::BlockContact { account: extract::account(&account)?, blocked: true }).await
}

/// Takes a block back.
#[utoipa::path(post, path = "/contacts/{account}/unblock", tag = "people",
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn unblock(State(app): Shared, Ids(account): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::BlockContact { account: extract::account(&account)?, blocked: false }).await
}

/// The safety number with somebody.
#[utoipa::path(get, path = "/contacts/{account}/safety", tag = "people",
    params(("account" = String, Path, description = "`kith1…`")),
    responses((status = 200, body = view::Safety), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn safety(
    State(app): Shared,
    Ids(account): Ids<String>,
) -> Result<Json<view::Safety>, Problem> {
    let account = extract::account(&account)?;
    find(&app, "contact", move |b| b.safety(account)).await
}

/// Invites made here.
#[utoipa::path(get, path = "/invites", tag = "people",
    responses((status = 200, body = [view::Invite]), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn invites(State(app): Shared) -> Result<Json<Vec<view::Invite>>, Problem> {
    look(&app, |b| b.invites()).await.map(Json)
}

/// Makes an invite.
#[utoipa::path(post, path = "/invites", tag = "people", request_body = NewInvite,
    responses((status = 200, body = view::Invite), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create_invite(
    State(app): Shared,
    Body(body): Body<NewInvite>,
) -> Result<Json<view::Invite>, Problem> {
    let group = body.conversation.as_deref().map(extract::group).transpose()?;
    let command = Command::CreateInvite { group, uses: body.uses, valid_s: body.valid_s };
    let invite = ask(&app, command, |reply| match reply {
        Reply::Invite(invite) => Some(*invite),
        _ => None,
    });
    invite.await.map(Json)
}

/// Withdraws an invite.
#[utoipa::path(delete, path = "/invites/{id}", tag = "people", params(("id" = String, Path, description = "Invite id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke_invite(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::RevokeInvite { invite: extract::invite(&id)? }).await
}
