//! Conversations and their messages.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kith_core::api::{Command, Reply};
use kith_core::view;
use kith_wire::ids::{AccountId, EventId};
use kith_wire::limits::{NAME_BYTES_MAX, REPORT_REASON_BYTES_MAX};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Shared, ask, done, find, look};
use crate::extract::{self, Body, Ids, Params, bounded};
use crate::limits::{KEY_BYTES_MAX, MEMBERS_MAX, PAGE_DEFAULT, PAGE_MAX, TEXT_BYTES_MAX};
use crate::problem::Problem;

/// A new group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    /// Its title.
    title: String,
    /// Contacts to add, `kith1…`.
    members: Vec<String>,
}

/// The conversation that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Made {
    /// Its id.
    conversation: String,
}

/// A new title.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Title {
    /// The title.
    title: String,
}

/// Contacts to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    /// `kith1…`
    members: Vec<String>,
}

/// A role in a group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    /// The role to give; `member` takes a higher one away.
    role: view::Role,
}

/// A message to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// At most 64 KiB.
    text: String,
    /// The message it answers.
    #[serde(default)]
    reply_to: Option<String>,
    /// Chosen by the client, at most 64 bytes: the same key again answers as the first time.
    key: String,
}

/// A message that is durable here.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Event id.
    id: String,
    /// Place in the timeline.
    position: u64,
}

impl Accepted {
    pub(super) fn new(event: EventId, position: u64) -> Self {
        Self { id: event.hex(), position }
    }
}

/// What there is to say to a reported message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// At most 1 KiB; may be empty.
    #[serde(default)]
    reason: String,
}

/// A place in the timeline.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMark {
    /// Everything up to here was seen.
    position: u64,
}

/// Which page of a timeline.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Rows before this position.
    #[serde(default)]
    before: Option<u64>,
    /// Rows after this position.
    #[serde(default)]
    after: Option<u64>,
    /// Rows at most: 50 if absent, 200 at most.
    #[serde(default)]
    limit: Option<usize>,
}

fn accounts(members: &[String]) -> Result<Vec<AccountId>, Problem> {
    if members.len() > MEMBERS_MAX {
        return Err(Problem::malformed(format!("At most {MEMBERS_MAX} people at once.")));
    }
    members.iter().map(|m| extract::account(m)).collect()
}

/// All conversations, newest activity first.
#[utoipa::path(get, path = "/conversations", tag = "conversations",
    responses((status = 200, body = [view::Conversation]), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): Shared) -> Result<Json<Vec<view::Conversation>>, Problem> {
    look(&app, |b| b.conversations()).await.map(Json)
}

/// Makes a group.
#[utoipa::path(post, path = "/conversations", tag = "conversations", request_body = NewGroup,
    responses((status = 200, body = Made), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create_group(
    State(app): Shared,
    Body(body): Body<NewGroup>,
) -> Result<Json<Made>, Problem> {
    let title = bounded(body.title, NAME_BYTES_MAX, "The title")?;
    let members = accounts(&body.members)?;
    let group = ask(&app, Command::CreateGroup { title, members }, |reply| match reply {
        Reply::Conversation(group) => Some(group),
        _ => None,
    });
    Ok(Json(Made { conversation: group.await?.hex() }))
}

/// One conversation in full.
#[utoipa::path(get, path = "/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 200, body = view::ConversationDetails), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn details(
    State(app): Shared,
    Ids(id): Ids<String>,
) -> Result<Json<view::ConversationDetails>, Problem> {
    let group = extract::group(&id)?;
    find(&app, "conversation", move |b| b.conversation(group)).await
}

/// Renames a group.
#[utoipa::path(put, path = "/conversations/{id}", tag = "conversations", request_body = Title,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn rename(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<Title>,
) -> Result<StatusCode, Problem> {
    let title = bounded(body.title, NAME_BYTES_MAX, "The title")?;
    done(&app, Command::RenameGroup { group: extract::group(&id)?, title }).await
}

/// Deletes a conversation here, history and all.
#[utoipa::path(delete, path = "/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::DeleteConversation { group: extract::group(&id)? }).await
}

/// Adds contacts to a group.
#[utoipa::path(post, path = "/conversations/{id}/members", tag = "conversations", request_body = Members,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn add_members(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<Members>,
) -> Result<StatusCode, Problem> {
    let members = accounts(&body.members)?;
    done(&app, Command::AddMembers { group: extract::group(&id)?, members }).await
}

/// Removes somebody from a group.
#[utoipa::path(delete, path = "/conversations/{id}/members/{account}", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id"), ("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove_member(
    State(app): Shared,
    Ids((id, account)): Ids<(String, String)>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::RemoveMember { group: extract::group(&id)?, account: extract::account(&account)? })
        .await
}

/// Gives a member of a group a role, or takes it away.
#[utoipa::path(put, path = "/conversations/{id}/members/{account}/role", tag = "conversations", request_body = NewRole,
    params(("id" = String, Path, description = "Conversation id"), ("account" = String, Path, description = "`kith1…`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_role(
    State(app): Shared,
    Ids((id, account)): Ids<(String, String)>,
    Body(body): Body<NewRole>,
) -> Result<StatusCode, Problem> {
    let (group, account) = (extract::group(&id)?, extract::account(&account)?);
    done(&app, Command::SetRole { group, account, role: body.role }).await
}

/// Leaves a group; its history stays readable here.
#[utoipa::path(post, path = "/conversations/{id}/leave", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn leave(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::LeaveGroup { group: extract::group(&id)? }).await
}

/// A page of a timeline.
#[utoipa::path(get, path = "/conversations/{id}/messages", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id"), PageQuery),
    responses((status = 200, body = view::MessagePage), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn messages(
    State(app): Shared,
    Ids(id): Ids<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<view::MessagePage>, Problem> {
    let group = extract::group(&id)?;
    let PageQuery { before, after, limit } = query;
    if before.is_some() && after.is_some() {
        return Err(Problem::malformed("Ask for rows before or after a position, not both."));
    }
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` lies between 1 and {PAGE_MAX}.")));
    }
    find(&app, "conversation", move |b| b.messages(group, before, after, limit)).await
}

/// Sends a text. Answered when it is durable here.
#[utoipa::path(post, path = "/conversations/{id}/messages", tag = "conversations", request_body = Text,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 202, body = Accepted), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn send(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<Text>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let group = extract::group(&id)?;
    let reply_to = body.reply_to.as_deref().map(extract::event).transpose()?;
    let text = bounded(body.text, TEXT_BYTES_MAX, "The message")?;
    let key = bounded(body.key, KEY_BYTES_MAX, "The key")?;
    if key.is_empty() {
        return Err(Problem::malformed("`key` must not be empty: a new one for each message."));
    }
    let (event, position) =
        ask(&app, Command::SendText { group, text, reply_to, key }, |reply| match reply {
            Reply::Accepted { event, position } => Some((event, position)),
            _ => None,
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted::new(event, position))))
}

/// Where a message of one's own got to.
#[utoipa::path(get, path = "/conversations/{id}/messages/{event}/delivery", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id"), ("event" = String, Path, description = "Event id")),
    responses((status = 200, body = view::Delivery), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delivery(
    State(app): Shared,
    Ids((id, event)): Ids<(String, String)>,
) -> Result<Json<view::Delivery>, Problem> {
    let (group, event) = (extract::group(&id)?, extract::event(&event)?);
    find(&app, "message of yours", move |b| b.delivery(group, event)).await
}

/// Sends a failed message again.
#[utoipa::path(post, path = "/conversations/{id}/messages/{event}/retry", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id"), ("event" = String, Path, description = "Event id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn retry(
    State(app): Shared,
    Ids((id, event)): Ids<(String, String)>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::Retry { group: extract::group(&id)?, event: extract::event(&event)? }).await
}

/// Reports a message to the group's admins: sealed to each of their devices, the author's left out.
#[utoipa::path(post, path = "/conversations/{id}/messages/{event}/report", tag = "conversations", request_body = Reason,
    params(("id" = String, Path, description = "Conversation id"), ("event" = String, Path, description = "Event id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn report(
    State(app): Shared,
    Ids((id, event)): Ids<(String, String)>,
    Body(body): Body<Reason>,
) -> Result<StatusCode, Problem> {
    let (group, event) = (extract::group(&id)?, extract::event(&event)?);
    let reason = bounded(body.reason, REPORT_REASON_BYTES_MAX, "The reason")?;
    done(&app, Command::Report { group, event, reason }).await
}

/// Puts a report of a member aside, on this node only.
#[utoipa::path(post, path = "/conversations/{id}/reports/{event}/settle", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id"), ("event" = String, Path, description = "Id of the report's row")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn settle_report(
    State(app): Shared,
    Ids((id, report)): Ids<(String, String)>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::SettleReport { group: extract::group(&id)?, report: extract::event(&report)? }).await
}

/// Everything up to a position was seen by the person.
#[utoipa::path(post, path = "/conversations/{id}/read", tag = "conversations", request_body = ReadMark,
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(app): Shared,
    Ids(id): Ids<String>,
    Body(body): Body<ReadMark>,
) -> Result<StatusCode, Problem> {
    done(&app, Command::MarkRead { group: extract::group(&id)?, position: body.position }).await
}

/// The person is typing.
#[utoipa::path(post, path = "/conversations/{id}/typing", tag = "conversations",
    params(("id" = String, Path, description = "Conversation id")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn typing(State(app): Shared, Ids(id): Ids<String>) -> Result<StatusCode, Problem> {
    done(&app, Command::Typing { group: extract::group(&id)? }).await
}
