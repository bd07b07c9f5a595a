//! After a call: what became of it.

use crate::engine::context::{Context, Outcome as Ran};
use crate::engine::effect::message::{self, is_there};
use crate::engine::effect::operation::{Disposal, EffectReply, Finish, Outcome, Scope, Subject, label};
use crate::engine::effect::{Row, doubt, get};
use crate::engine::sql;
use crate::error::Error;
use crate::failpoint::failpoint;
use crate::rules::effect::{self, State};

/// Records how a call ended. Only the store that started it does, and whether the lease of its message was lost meanwhile
/// does not matter: what happened did happen.
pub(super) fn finish(cx: &mut Context<'_>, finish: &Finish) -> Ran<EffectReply> {
    let Finish { subject, ticket, outcome, .. } = finish;
    let row = get(cx, subject.key())?;
    let mine = row.filter(|row| row.owner == cx.instance && row.ticket == *ticket);
    let Some(row) = mine else { return not_mine(subject, outcome) };
    cx.commit.needs_sync = true;
    let reply = match (row.state, outcome) {
        // Also when it is known better now than it was.
        (State::Started | State::InDoubt, Outcome::Done(result)) => {
            done(cx, subject, &row, result)?;
            EffectReply::Recorded
        }
        (State::Started, _) => not_done(cx, finish, &row)?,
        // The same record once more, because its first answer was lost.
        (State::Done, Outcome::Done(_))
        | (State::Failed, Outcome::Failed(_))
        | (State::Intended, Outcome::NotCalled)
        | (State::InDoubt, Outcome::Unknown(_)) => EffectReply::Recorded,
        (State::InDoubt, _) => {
            let text = row.error.clone().unwrap_or_default();
            EffectReply::InDoubt { doubt: row.doubt, text, disposal: Disposal::Kept }
        }
        _ => return not_mine(subject, outcome),
    };
    failpoint("once-finish-in-commit");
    Ok(reply)
}

fn not_done(cx: &mut Context<'_>, finish: &Finish, row: &Row) -> Ran<EffectReply> {
    let Finish { subject, on_unknown, outcome, .. } = finish;
    let text = outcome.text();
    match (effect::after(outcome.ended(), row.unsure), outcome) {
        (State::InDoubt, Outcome::Unknown(text)) => {
            let doubt = doubt(cx, row.id, text)?;
            let disposal = message::dispose(cx, subject, *on_unknown, text)?;
            Ok(EffectReply::InDoubt { doubt, text: text.clone(), disposal })
        }
        (State::InDoubt, _) => {
            let last = text.unwrap_or("it was never made");
            let text = format!("an earlier call may have happened; the last one did not: {last}");
            let doubt = doubt(cx, row.id, &text)?;
            Ok(EffectReply::InDoubt { doubt, text, disposal: Disposal::Kept })
        }
        (state, _) => {
            settle(cx, subject, row, state, text, None)?;
            Ok(EffectReply::Recorded)
        }
    }
}

fn not_mine(subject: &Subject, outcome: &Outcome) -> Ran<EffectReply> {
    if matches!(outcome, Outcome::NotCalled) {
        return Ok(EffectReply::Recorded);
    }
    Err(Error::conflict(format!("{} was decided by others while its call ran", label(subject))).into())
}

/// It happened, with this result.
pub(super) fn done(cx: &mut Context<'_>, subject: &Subject, row: &Row, result: &[u8]) -> Ran<()> {
    settle(cx, subject, row, State::Done, None, Some(result))
}

/// Writes down what is known now, and lets a message that waited for it go on. Of a message that is finished nothing is
/// kept.
pub(super) fn settle(
    cx: &mut Context<'_>,
    subject: &Subject,
    row: &Row,
    state: State,
    error: Option<&str>,
    result: Option<&[u8]>,
) -> Ran<()> {
    cx.commit.needs_sync = true;
    let expires_at = match subject.scope {
        Scope::Message { subscription, receipt } => {
            if !is_there(cx, subscription, receipt.message.stored())? {
                cx.run(sql::EFFECT_DELETE, [row.id])?;
                return Ok(());
            }
            message::unpark(cx, subscription, receipt.message)?;
            None
        }
        Scope::Ledger(ledger) => {
            let window: Option<i64> = cx.row(sql::LEDGER_WINDOW, [ledger.0], |row| row.get(0))?.flatten();
            window.map(|window| cx.now.get().saturating_add(window))
        }
    };
    cx.run(sql::EFFECT_END, (row.id, state.stored(), error, result, expires_at))?;
    Ok(())
}
