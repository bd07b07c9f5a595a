//! Effects at third parties in the file: what is recorded before and after each call, and what that does to its message.

mod begin;
mod finish;
mod message;
pub(crate) mod operation;
pub(crate) mod recorder;
mod resolve;

use crate::clock::Steady;
use crate::engine::context::{Context, Outcome};
use crate::engine::effect::operation::{EffectOperation, EffectReply};
use crate::engine::operation::{Reply, SubscriptionId};
use crate::engine::{sql, sweep};
use crate::error::{Error, ErrorKind};
use crate::rules::effect::State;
use crate::rules::interval::Interval;
use crate::types::{MessageId, Millis};

pub(crate) fn execute(cx: &mut Context<'_>, operation: &EffectOperation) -> Outcome<Reply> {
    let reply = match operation {
        EffectOperation::Begin(wanted) => begin::begin(cx, wanted)?,
        EffectOperation::Probed(probed) => begin::probed(cx, probed)?,
        EffectOperation::Finish(ended) => finish::finish(cx, ended)?,
        EffectOperation::Resolve(wanted) => {
            resolve::resolve(cx, wanted)?;
            EffectReply::Resolved
        }
        EffectOperation::OpenLedger { name, window } => EffectReply::Ledger(resolve::open_ledger(cx, name, *window)?),
        EffectOperation::Forget => EffectReply::Forgotten(sweep::forget_effects(cx)?),
    };
    Ok(Reply::Effect(reply))
}

/// A row of `onceward_effect`, but for its result.
#[derive(Debug, Clone)]
struct Row {
    id: i64,
    state: State,
    owner: i64,
    ticket: i64,
    process: u32,
    unsure: bool,
    idempotent: bool,
    called_at: Millis,
    called: Steady,
    doubt: i64,
    doubt_at: Millis,
    noticed: Steady,
    error: Option<String>,
    request: Option<Vec<u8>>,
    expires_at: Option<i64>,
}

fn get(cx: &Context<'_>, key: (i64, i64, &str)) -> Outcome<Option<Row>> {
    let steady = |row: &rusqlite::Row<'_>, boot: usize| {
        Ok::<_, rusqlite::Error>(Steady {
            boot: row.get::<_, Option<i64>>(boot)?.unwrap_or(0),
            at: Millis::new(row.get::<_, Option<i64>>(boot + 1)?.unwrap_or(0)),
        })
    };
    Ok(cx.row(sql::EFFECT_GET, key, |row| {
        let state: i64 = row.get(1)?;
        Ok(Row {
            id: row.get(0)?,
            state: State::from_stored(state).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, state))?,
            owner: row.get(2)?,
            ticket: row.get(3)?,
            process: row.get(4)?,
            unsure: row.get(5)?,
            called_at: Millis::new(row.get(6)?),
            called: steady(row, 7)?,
            doubt: row.get::<_, Option<i64>>(9)?.unwrap_or(0),
            doubt_at: Millis::new(row.get::<_, Option<i64>>(10)?.unwrap_or(0)),
            noticed: steady(row, 11)?,
            error: row.get(13)?,
            request: row.get(14)?,
            expires_at: row.get(15)?,
            idempotent: row.get(16)?,
        })
    })?)
}

/// Whether the store that started a call may still be at it: its lock on its slot is held, and the slot is not another's.
fn is_alive(cx: &Context<'_>, owner: i64) -> Outcome<bool> {
    if owner == cx.instance {
        // What this store could not record yet is kept in memory and recorded later.
        return Ok(true);
    }
    let slot: Option<u32> = cx.row(sql::INSTANCE_SLOT, [owner], |row| row.get(0))?;
    Ok(slot.is_some_and(|slot| cx.liveness.is_alive(slot)))
}

/// Writes down that nobody knows the outcome, under a new number. Returns it.
fn doubt(cx: &mut Context<'_>, id: i64, text: &str) -> Outcome<i64> {
    let doubt: i64 = cx.row(sql::DOUBT_NEXT, [], |row| row.get(0))?.unwrap_or(1);
    let noticed = cx.clock.steady();
    cx.run(sql::EFFECT_DOUBT, (id, doubt, cx.now.get(), noticed.boot, noticed.at.get(), text))?;
    // A number that a power loss could take back might come to stand for another doubt.
    cx.commit.needs_sync = true;
    Ok(doubt)
}

const OWNER_DIED: &str = "its caller ended during the call";

/// A store is gone: what it had started is in doubt.
pub(crate) fn owner_died(cx: &mut Context<'_>, instance: i64) -> Outcome<()> {
    let started: Vec<i64> = cx.rows(sql::EFFECTS_STARTED, [instance], |row| row.get(0))?;
    for id in started {
        doubt(cx, id, OWNER_DIED)?;
    }
    Ok(())
}

/// Whether a store has calls that have started and not ended.
pub(crate) fn any_started(cx: &Context<'_>, instance: i64) -> Outcome<bool> {
    Ok(!cx.rows(sql::EFFECTS_STARTED, [instance], |row| row.get::<_, i64>(0))?.is_empty())
}

/// A subscription is done with these messages: what is known of their effects is forgotten. What is not known stays, to
/// be resolved.
pub(crate) fn forget(cx: &Context<'_>, subscription: SubscriptionId, run: Interval) -> Outcome<()> {
    cx.run(sql::EFFECTS_DELETE_BETWEEN, (subscription.0, run.lo, run.hi))?;
    Ok(())
}

/// Refuses to take away a message of which an effect is under way or in doubt.
pub(crate) fn check_none_open(cx: &Context<'_>, subscription: SubscriptionId, message: MessageId) -> Outcome<()> {
    let open: Option<String> = cx.row(sql::EFFECT_OPEN, (subscription.0, message.stored()), |row| row.get(0))?;
    match open {
        Some(name) => Err(Error::conflict(format!(
            "effect {name:?} of message {message} is under way or in doubt: it must be resolved before the message is \
             cancelled"
        ))
        .into()),
        None => Ok(()),
    }
}

/// The store has been closed, or was taken for dead: nothing may start.
fn check_registered(cx: &Context<'_>) -> Outcome<()> {
    match cx.row(sql::INSTANCE_SLOT, [cx.instance], |_| Ok(()))? {
        Some(()) => Ok(()),
        None => Err(Error::new(ErrorKind::Closed, "the store is closed").into()),
    }
}
