//! What an effect does to the message it is of: who may act, and where the message goes when nobody knows.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::engine::context::{Context, Outcome, Terms};
use crate::engine::effect::operation::{Disposal, Scope, Subject, label};
use crate::engine::operation::SubscriptionId;
use crate::engine::order::{self, Retry};
use crate::engine::pending::{self, Death, IN_DOUBT, PARKED, Pending};
use crate::engine::settle::REASON_ATTEMPTS;
use crate::engine::sql;
use crate::rules::effect::OnUnknown;
use crate::rules::interval::Interval;
use crate::rules::verdict;
use crate::types::{MessageId, Receipt};

/// A message whose effect somebody else is at is offered again no sooner and no later than this.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How much later than the end of a settle delay a message is offered at least.
const LATE_MIN: Duration = Duration::from_millis(10);

/// A bit later than a settle delay, which is measured by another clock than messages wait by: one that came a moment early
/// would come for nothing.
fn late(settle: Duration) -> Duration {
    if settle.is_zero() { settle } else { settle + settle / 1_000 + LATE_MIN }
}

/// The interval of the delivery, if the receipt is still the current one.
pub(super) fn held(cx: &Context<'_>, subscription: SubscriptionId, receipt: Receipt) -> Outcome<Option<Pending>> {
    let held = pending::holding(cx, subscription, receipt.message.stored())?;
    Ok(held.filter(|held| verdict::may_settle(held.owner.is_some(), held.token, receipt.token)))
}

/// Whether the subscription still has the message, in whatever state.
pub(super) fn is_there(cx: &Context<'_>, subscription: SubscriptionId, message: i64) -> Outcome<bool> {
    Ok(pending::holding(cx, subscription, message)?.is_some()
        || cx.row(sql::DEAD_GET, (subscription.0, message), |_| Ok(()))?.is_some())
}

/// Nobody knows whether the effect happened: what becomes of its message.
pub(super) fn dispose(cx: &mut Context<'_>, subject: &Subject, on_unknown: OnUnknown, text: &str) -> Outcome<Disposal> {
    let Some((terms, held, part)) = current(cx, subject)? else { return Ok(gone(subject)) };
    match on_unknown {
        OnUnknown::Park => {
            // A message that waits for a person must not die of old age meanwhile.
            cx.run(sql::MESSAGE_EXPIRY_CLEAR, [part.lo])?;
            let parked = Pending {
                due_at: IN_DOUBT,
                attempt: held.attempt.saturating_sub(1),
                error: Some(text.to_owned()),
                ..held.of(part).released()
            };
            put_back(cx, &terms, &held, &parked)?;
            Ok(Disposal::Parked)
        }
        OnUnknown::Fail => {
            pending::cut(cx, terms.subscription, &held, part)?;
            let reason = format!("in doubt: whether {} happened is not known", label(subject));
            let death = Death { attempts: held.attempt, reason: &reason, error: Some(text) };
            pending::bury(cx, &terms, part, &death)?;
            Ok(Disposal::DeadLettered)
        }
        OnUnknown::Probe { settle } => {
            // The attempt was made, and counts: a call whose outcome is never known must not go on for ever.
            if !verdict::may_retry(held.attempt, terms.attempts_max) {
                pending::cut(cx, terms.subscription, &held, part)?;
                let death = Death { attempts: held.attempt, reason: REASON_ATTEMPTS, error: Some(text) };
                pending::bury(cx, &terms, part, &death)?;
                return Ok(Disposal::DeadLettered);
            }
            let at = cx.now.plus(late(settle));
            let retry = Pending { due_at: at.get(), error: Some(text.to_owned()), ..held.of(part).released() };
            put_back(cx, &terms, &held, &retry)?;
            Ok(Disposal::GivenBack { at })
        }
    }
}

/// The message is offered again after a while, and this delivery does not count as an attempt.
pub(super) fn give_back(cx: &mut Context<'_>, subject: &Subject, after: Option<Duration>) -> Outcome<Disposal> {
    let Some((terms, held, part)) = current(cx, subject)? else { return Ok(gone(subject)) };
    let after = match after {
        Some(after) => late(after),
        None => terms.backoff.wait(held.attempt, clock::unit(cx.random)).clamp(WAIT_MIN, WAIT_MAX),
    };
    let at = cx.now.plus(after);
    let attempt = held.attempt.saturating_sub(1);
    let back = Pending { due_at: at.get(), attempt, ..held.of(part).released() };
    put_back(cx, &terms, &held, &back)?;
    Ok(Disposal::GivenBack { at })
}

fn current(cx: &mut Context<'_>, subject: &Subject) -> Outcome<Option<(Arc<Terms>, Pending, Interval)>> {
    let Scope::Message { subscription, receipt } = subject.scope else { return Ok(None) };
    let Some(held) = held(cx, subscription, receipt)? else { return Ok(None) };
    Ok(Some((cx.terms(subscription)?, held, Interval::one(receipt.message.stored()))))
}

fn gone(subject: &Subject) -> Disposal {
    match subject.scope {
        Scope::Message { .. } => Disposal::Lost,
        Scope::Ledger(_) => Disposal::NoMessage,
    }
}

fn put_back(cx: &mut Context<'_>, terms: &Terms, held: &Pending, back: &Pending) -> Outcome<()> {
    pending::cut(cx, terms.subscription, held, back.span)?;
    pending::insert(cx, terms.subscription, back)?;
    if terms.ordered {
        order::retrying(cx, terms, back.span, Retry::GivenBack)?;
    }
    cx.wake(terms.queue, terms.subscriptions, 1);
    cx.commit.needs_sync |= terms.semantics.syncs_settle();
    Ok(())
}

/// The effect is decided: a message that waited for it goes on.
pub(super) fn unpark(cx: &mut Context<'_>, subscription: SubscriptionId, message: MessageId) -> Outcome<()> {
    let id = message.stored();
    let Some(held) = pending::holding(cx, subscription, id)?.filter(Pending::is_in_doubt) else { return Ok(()) };
    let terms = cx.terms(subscription)?;
    let part = Interval::one(id);
    pending::cut(cx, subscription, &held, part)?;
    let now = cx.now.get();
    let back = if held.due_at == PARKED {
        Pending { ready_at: Some(now), ..held.of(part) }
    } else {
        Pending { due_at: now, ..held.of(part) }
    };
    pending::insert(cx, subscription, &back)?;
    if terms.ordered
        && held.due_at == PARKED
        && let Some(key) = cx.row(sql::MESSAGE_ORDERING_KEY, [id], |row| row.get::<_, Option<String>>(0))?.flatten()
    {
        order::release_head(cx, &terms, &key)?;
    }
    cx.wake(terms.queue, terms.subscriptions, 1);
    Ok(())
}
