//! What a person decides about an effect in doubt, and the ledgers.

use crate::engine::context::{Context, Outcome};
use crate::engine::effect::operation::{LedgerId, Resolve, Scope, Subject};
use crate::engine::effect::{finish, get};
use crate::engine::operation::SubscriptionId;
use crate::engine::sql;
use crate::error::Error;
use crate::failpoint::failpoint;
use crate::in_doubt::Resolution;
use crate::queue::Window;
use crate::rules::effect::State;
use crate::types::{MessageId, Receipt, Token, duration_ms};

/// Applies a person's answer to a doubt, and keeps it for ever.
pub(super) fn resolve(cx: &mut Context<'_>, resolve: &Resolve) -> Outcome<()> {
    let Resolve { doubt, resolution, evidence, actor } = resolve;
    let found =
        cx.row(sql::EFFECT_OF_DOUBT, [doubt], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let Some((scope, message, name)) = found else { return repeated(cx, *doubt, resolution) };
    let subject = subject(scope, message, name);
    let row = get(cx, subject.key())?.ok_or_else(|| Error::not_found("the effect is no longer there"))?;
    let result = resolution.result();
    let (queue, subscription, message, ledger) = names(cx, scope, message)?;
    let (name, doubt_at, applied) = (&subject.name, row.doubt_at.get(), result.is_some());
    cx.run(
        sql::RESOLUTION_INSERT,
        rusqlite::params![
            doubt,
            queue,
            subscription,
            message,
            ledger,
            name,
            doubt_at,
            row.error,
            applied,
            result,
            evidence,
            actor,
            cx.now.get()
        ],
    )?;
    let state = if applied { State::Done } else { State::Intended };
    finish::settle(cx, &subject, &row, state, None, result)?;
    failpoint("once-resolve-in-commit");
    Ok(())
}

/// The doubt is over: the same answer once more is fine, another is not.
fn repeated(cx: &mut Context<'_>, doubt: i64, resolution: &Resolution) -> Outcome<()> {
    let stored = cx.row(sql::RESOLUTION_GET, [doubt], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, String>(2)?))
    })?;
    // The earlier answer may be another's and not be on disk yet.
    cx.commit.needs_sync = true;
    match stored {
        Some((_, result, _)) if result.as_deref() == resolution.result() => Ok(()),
        Some((applied, result, actor)) => {
            let how = match (applied, &result) {
                (true, Some(result)) => format!("applied, with a result of {} bytes", result.len()),
                _ => "not applied".to_owned(),
            };
            Err(Error::conflict(format!("doubt {doubt} was resolved as {how}, by {actor:?}")).into())
        }
        None => {
            let last: i64 = cx.row(sql::DOUBT_LAST, [], |row| row.get(0))?.unwrap_or(0);
            if (1..=last).contains(&doubt) {
                return Err(Error::invalid(format!(
                    "doubt {doubt} is over: the third party answered a probe, or the call was repeated"
                ))
                .into());
            }
            Err(Error::not_found(format!("there is no doubt {doubt}; the last one is {last}")).into())
        }
    }
}

/// The effect of a row, without a delivery.
fn subject(scope: i64, message: i64, name: String) -> Subject {
    let scope = if scope < 0 {
        Scope::Ledger(LedgerId(-scope))
    } else {
        let receipt = Receipt { message: MessageId::from_stored(message), token: Token::new(0) };
        Scope::Message { subscription: SubscriptionId(scope), receipt }
    };
    Subject { scope, name }
}

type Names = (Option<String>, Option<String>, Option<i64>, Option<String>);

/// The names of what the effect is of: queue, subscription, message, ledger.
fn names(cx: &Context<'_>, scope: i64, message: i64) -> Outcome<Names> {
    let names = cx.row(sql::EFFECT_NAMES, (scope, message), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (queue, subscription, ledger) = names.unwrap_or_default();
    Ok((queue, subscription, (scope > 0).then_some(message), ledger))
}

/// The ledger of this name, created where it is missing. A window that is given is stored.
pub(super) fn open_ledger(cx: &mut Context<'_>, name: &str, window: Option<Window>) -> Outcome<LedgerId> {
    let stored = |window| match window {
        Window::Forever => None,
        Window::For(window) => Some(duration_ms(window)),
    };
    let found = cx.row(sql::LEDGER_BY_NAME, [name], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let Some((id, known)) = found else {
        cx.run(sql::LEDGER_INSERT, (name, window.and_then(stored), cx.now.get()))?;
        cx.commit.needs_sync = true;
        return Ok(LedgerId(cx.last_insert_rowid()));
    };
    if let Some(window) = window
        && stored(window) != known
    {
        cx.run(sql::LEDGER_CONFIGURE, (id, stored(window)))?;
        cx.commit.needs_sync = true;
    }
    Ok(LedgerId(id))
}
