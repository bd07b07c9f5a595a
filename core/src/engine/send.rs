//! Sending: first every verdict, then every write, so that a refused send has written nothing.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, OptionalExtension};
use smallvec::SmallVec;

use crate::engine::context::{Context, Outcome, QueueRow};
use crate::engine::operation::{Prepared, QueueId, Sent, Sents};
use crate::engine::sending::New;
use crate::engine::sql;
use crate::error::Error;
use crate::limits::PRIORITY_DEFAULT;
use crate::message::Due;
use crate::rules::verdict::{self, Remembered, SendVerdict};
use crate::semantics::Semantics;
use crate::types::MessageId;

/// What a message turns out to be, before anything is written.
enum Planned {
    New,
    /// The key already stands for this message.
    Known(i64),
    /// The key is that of an earlier message of the same call.
    SameAs(usize),
}

pub(crate) fn send(cx: &mut Context<'_>, queue: QueueId, messages: &Arc<Vec<Prepared>>) -> Outcome<Sents> {
    let queue = cx.queue(queue)?;
    let plan = plan(cx, &queue, messages)?;
    check_room(cx, &queue, messages, &plan)?;
    if !queue.ordered && messages.iter().any(|prepared| prepared.message.ordering_key.is_some()) {
        cx.run(sql::QUEUE_ORDERED, [queue.id.0])?;
        cx.queue_changed();
    }
    let mut sent = Sents::with_capacity(messages.len());
    let mut new: SmallVec<[New; 1]> = SmallVec::new();
    for (index, planned) in plan.into_iter().enumerate() {
        sent.push(match planned {
            Planned::Known(id) => Sent { id: MessageId::from_stored(id), duplicate: true },
            Planned::SameAs(index) => Sent { id: sent[index].id, duplicate: true },
            Planned::New => {
                let numbered = number(cx, &queue, messages, index)?;
                new.push(numbered);
                Sent { id: MessageId::from_stored(numbered.id), duplicate: false }
            }
        });
    }
    let added = new.len();
    match new[..] {
        [] => {}
        [only] => insert(cx, &queue, &messages[only.index], only)?,
        _ => insert_many(cx, &queue, messages, new.into_vec())?,
    }
    if added > 0 && queue.semantics == Semantics::AtLeastOnce {
        let mut reserved = None;
        for priority in messages.iter().map(priority) {
            if reserved.replace(priority) != Some(priority) {
                cx.reserve_ids(queue.id, priority)?;
            }
        }
    }
    // A duplicate's original may be committed by someone else and not yet be on disk: it is synced all the same.
    cx.commit.needs_sync |= queue.semantics.syncs_send();
    if added > 0 {
        cx.commit.sends |= queue.semantics.syncs_send();
        cx.commit.together |= added > 1;
        cx.wake(queue.id, queue.subscriptions, added);
    }
    Ok(sent)
}

fn plan(cx: &Context<'_>, queue: &QueueRow, messages: &[Prepared]) -> Outcome<SmallVec<[Planned; 1]>> {
    let mut earlier: HashMap<&str, usize> = HashMap::new();
    let mut ledger = None;
    let mut plan = SmallVec::with_capacity(messages.len());
    for (index, prepared) in messages.iter().enumerate() {
        let Some((key, fingerprint)) = prepared.message.key.as_deref().zip(prepared.fingerprint.as_ref()) else {
            if queue.semantics == Semantics::ExactlyOnce {
                return Err(Error::invalid(format!(
                    "queue {:?} is exactly-once, and a message without a key cannot be recognised when it is sent again",
                    queue.name
                ))
                .into());
            }
            plan.push(Planned::New);
            continue;
        };
        if messages.len() > 1 {
            if let Some(first) = earlier.get(key) {
                if messages[*first].fingerprint.as_ref() != Some(fingerprint) {
                    return Err(
                        Error::conflict(format!("key {key:?} stands twice in one call, with two bodies")).into()
                    );
                }
                plan.push(Planned::SameAs(*first));
                continue;
            }
            earlier.insert(key, index);
        }
        let ledger = match &mut ledger {
            Some(ledger) => ledger,
            none => none.insert(cx.statement(sql::LEDGER_GET)?),
        };
        let remembered = ledger
            .query_row((queue.id.0, key), |row| {
                Ok(Remembered { message: row.get(0)?, fingerprint: row.get(1)?, expires_at: row.get(2)? })
            })
            .optional()?;
        plan.push(match verdict::send(remembered.as_ref(), fingerprint, cx.now) {
            SendVerdict::New => Planned::New,
            SendVerdict::Duplicate { message } => Planned::Known(message),
            SendVerdict::Conflict { message } => {
                return Err(Error::conflict(format!(
                    "key {key:?} of queue {:?} stands for message {message}, which has another body",
                    queue.name
                ))
                .into());
            }
        });
    }
    Ok(plan)
}

/// Makes sure, before anything is written, that there are lanes for every new message.
fn check_room(cx: &mut Context<'_>, queue: &QueueRow, messages: &[Prepared], plan: &[Planned]) -> Outcome<()> {
    let mut counts = [0usize; crate::limits::PRIORITY_MAX as usize + 1];
    for (prepared, planned) in messages.iter().zip(plan) {
        if matches!(planned, Planned::New) {
            counts[usize::from(priority(prepared))] += 1;
        }
    }
    for (priority, count) in counts.into_iter().enumerate() {
        if count > 0 && !cx.fits_lane(queue.id, priority as u8, count)? {
            return cx.check_lanes_left();
        }
    }
    Ok(())
}

/// The statements that send one message, looked up once for all sends of a commit.
pub(crate) struct Tables<'a> {
    log: CachedStatement<'a>,
    /// From the first message with a key on.
    ledger: Option<CachedStatement<'a>>,
}

impl<'a> Tables<'a> {
    /// Those of the commit's last send, which are to be put back for the next one.
    fn take(cx: &mut Context<'a>) -> rusqlite::Result<Self> {
        match cx.tables.take() {
            Some(tables) => Ok(tables),
            None => Ok(Tables { log: cx.statement(sql::MESSAGE_INSERT)?, ledger: None }),
        }
    }
}

/// Gives a message its id and its times.
fn number(cx: &mut Context<'_>, queue: &QueueRow, messages: &[Prepared], index: usize) -> Outcome<New> {
    let message = &messages[index].message;
    let due_at = match message.due {
        Due::AtOnce => None,
        Due::After(delay) if delay.is_zero() => None,
        Due::After(delay) => Some(cx.now.plus(delay).get()),
        Due::At(time) => (time > cx.now).then_some(time.get()),
    };
    let expires_at = message.time_to_live.map(|ttl| cx.now.plus(ttl).get());
    Ok(New { index, id: cx.next_id(queue.id, priority(&messages[index]))?, due_at, expires_at })
}

/// When the ledger forgets a key that comes now.
fn forget_at(cx: &Context<'_>, queue: &QueueRow) -> Option<i64> {
    queue.window_ms.map(|window| cx.now.get().saturating_add(window))
}

fn insert(cx: &mut Context<'_>, queue: &QueueRow, prepared: &Prepared, new: New) -> Outcome<()> {
    let message = &prepared.message;
    let mut into = Tables::take(cx)?;
    into.log.execute((
        new.id,
        cx.now.get(),
        new.due_at,
        new.expires_at,
        message.key.as_deref(),
        message.ordering_key.as_deref(),
        prepared.headers.as_deref(),
        message.body.as_slice(),
    ))?;
    if let (Some(key), Some(fingerprint)) = (&message.key, &prepared.fingerprint) {
        let ledger = match &mut into.ledger {
            Some(ledger) => ledger,
            none => none.insert(cx.statement(sql::LEDGER_PUT)?),
        };
        ledger.execute((queue.id.0, key, new.id, fingerprint.as_slice(), forget_at(cx, queue)))?;
    }
    cx.tables = Some(into);
    Ok(())
}

fn insert_many(cx: &Context<'_>, queue: &QueueRow, messages: &Arc<Vec<Prepared>>, new: Vec<New>) -> Outcome<()> {
    let keyed = new.iter().any(|new| messages[new.index].message.key.is_some());
    // Most have nothing but a body: what is not there is not asked for.
    let plain = new.iter().all(|new| is_plain(new, &messages[new.index]));
    let added = new.len();
    cx.sending.with(messages, new, || {
        let insert = if plain { sql::MESSAGES_INSERT_PLAIN } else { sql::MESSAGES_INSERT };
        let inserted = cx.run(insert, [cx.now.get()])?;
        if inserted != added {
            // Nothing of ours can do that. Whatever it was, no message is lost by it: the commit is taken back.
            return Err(rusqlite::Error::StatementChangedRows(inserted).into());
        }
        if keyed {
            cx.run(sql::LEDGER_PUT_MANY, (queue.id.0, forget_at(cx, queue)))?;
        }
        Ok(())
    })
}

/// Whether it is a body, and nothing more is said of it.
fn is_plain(new: &New, Prepared { message, headers, .. }: &Prepared) -> bool {
    let nothing_more = message.key.is_none() && message.ordering_key.is_none() && headers.is_none();
    nothing_more && new.due_at.is_none() && new.expires_at.is_none()
}

fn priority(prepared: &Prepared) -> u8 {
    prepared.message.priority.unwrap_or(PRIORITY_DEFAULT)
}
