//! Pending intervals in the file: reading them, cutting parts out of them, and what a message leaves behind when a
//! subscription is done with it.

use rusqlite::{Connection, Row};

use crate::engine::context::{Context, Outcome, Terms, lane_of};
use crate::engine::operation::SubscriptionId;
use crate::engine::{effect, order, sql};
use crate::rules::interval::{self, Interval};
use crate::semantics::Semantics;
use crate::types::Token;

/// `due_at` of an interval that waits for an earlier message of its ordering key, not for a time.
pub(crate) const PARKED: i64 = i64::MAX;

/// `due_at` of a message that waits for a person: an effect of it is in doubt.
pub(crate) const IN_DOUBT: i64 = PARKED - 1;

/// A row of `onceward_pending`.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) span: Interval,
    pub(crate) due_at: i64,
    pub(crate) attempt: u32,
    pub(crate) token: Token,
    pub(crate) owner: Option<i64>,
    pub(crate) piece: Option<i64>,
    /// When a parked interval was due before it was parked.
    pub(crate) ready_at: Option<i64>,
    pub(crate) error: Option<String>,
}

impl Pending {
    /// An interval that nobody holds.
    pub(crate) fn waiting(span: Interval, due_at: i64, attempt: u32) -> Self {
        Pending { span, due_at, attempt, token: Token::new(0), owner: None, piece: None, ready_at: None, error: None }
    }

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Pending {
            span: Interval::new(row.get(0)?, row.get(1)?),
            due_at: row.get(2)?,
            attempt: row.get(3)?,
            token: Token::from_stored(row.get(4)?),
            owner: row.get(5)?,
            piece: row.get(6)?,
            ready_at: row.get(7)?,
            error: row.get(8)?,
        })
    }

    /// Whether a receiver has it, under a lease that has not ended.
    pub(crate) fn is_leased(&self, now: i64) -> bool {
        self.owner.is_some() && self.due_at > now
    }

    /// Whether it waits for a person, wherever it stands in line.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.due_at == IN_DOUBT || self.ready_at == Some(IN_DOUBT)
    }

    /// The same, of other ids.
    pub(crate) fn of(&self, span: Interval) -> Self {
        Pending { span, ..self.clone() }
    }

    /// The same, waiting for an earlier message of its ordering key. `now` is when a leased one was due.
    pub(crate) fn parked(self, now: i64) -> Self {
        let ready_at = if self.owner.is_some() { now } else { self.ready_at.unwrap_or(self.due_at) };
        Pending { owner: None, due_at: PARKED, ready_at: Some(ready_at), ..self }
    }

    /// The same, waiting for its own time again.
    pub(crate) fn unparked(self, now: i64) -> Self {
        Pending { due_at: self.ready_at.map_or(now, |at| at.max(now)), ready_at: None, token: Token::new(0), ..self }
    }

    /// The same, held by nobody.
    pub(crate) fn released(self) -> Self {
        Pending { owner: None, ..self }
    }
}

/// The interval that holds `id`, if one does.
pub(crate) fn holding(cx: &Context<'_>, subscription: SubscriptionId, id: i64) -> Outcome<Option<Pending>> {
    let row = cx.row(sql::PENDING_AT, (subscription.0, id), Pending::read)?;
    Ok(row.filter(|pending| pending.span.contains(id)))
}

/// The first intervals of a lane that are due, waiting or leased, in the order in which they fell due.
pub(crate) fn due(
    conn: &Connection,
    subscription: i64,
    lane: i64,
    now: i64,
    limit: i64,
) -> rusqlite::Result<Vec<Pending>> {
    let mut found = Vec::new();
    for sql in [sql::PENDING_DUE_WAITING, sql::PENDING_DUE_LEASED] {
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map((subscription, lane, now, limit), Pending::read)?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_by_key(|pending| (pending.due_at, pending.span.lo));
    found.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(found)
}

/// The intervals that overlap `span`, in order.
pub(crate) fn overlapping(cx: &Context<'_>, subscription: SubscriptionId, span: Interval) -> Outcome<Vec<Pending>> {
    let mut found: Vec<Pending> = holding(cx, subscription, span.lo)?.into_iter().collect();
    let from = found.first().map_or(span.lo, |pending| pending.span.hi);
    found.extend(cx.rows(sql::PENDING_FROM, (subscription.0, from, span.hi, -1), Pending::read)?);
    Ok(found)
}

pub(crate) fn insert(cx: &Context<'_>, subscription: SubscriptionId, pending: &Pending) -> Outcome<()> {
    cx.run(
        sql::PENDING_INSERT,
        (
            subscription.0,
            pending.span.lo,
            pending.span.hi,
            lane_of(pending.span.lo),
            pending.due_at,
            pending.attempt,
            pending.token.stored(),
            pending.owner,
            pending.piece,
            pending.ready_at,
            pending.error.as_deref(),
        ),
    )?;
    Ok(())
}

/// Takes `part` out of the interval, which keeps what is before and after it.
pub(crate) fn cut(cx: &Context<'_>, subscription: SubscriptionId, pending: &Pending, part: Interval) -> Outcome<()> {
    cx.run(sql::PENDING_DELETE, (subscription.0, pending.span.lo))?;
    let (before, after) = pending.span.without(part);
    for rest in before.into_iter().chain(after) {
        insert(cx, subscription, &pending.of(rest))?;
    }
    Ok(())
}

/// The subscription is done with these ids, which are in none of its intervals any more: messages that no subscription
/// needs leave the log, and what waited for them behind an ordering key is released.
pub(crate) fn finish(cx: &mut Context<'_>, terms: &Terms, run: Interval) -> Outcome<()> {
    if terms.ordered {
        order::finished(cx, terms, run)?;
    }
    if terms.effects {
        effect::forget(cx, terms.subscription, run)?;
    }
    if terms.subscriptions <= 1 {
        return cx.delete_messages(run);
    }
    let others: Vec<SubscriptionId> = cx
        .rows(sql::SUBSCRIPTION_IDS, [terms.queue.0], |row| row.get(0))?
        .into_iter()
        .map(SubscriptionId)
        .filter(|id| *id != terms.subscription)
        .collect();
    delete_unneeded(cx, &others, run)
}

/// Deletes the messages of `run` that none of the subscriptions needs.
pub(crate) fn delete_unneeded(cx: &Context<'_>, subscriptions: &[SubscriptionId], run: Interval) -> Outcome<()> {
    let mut needed = Vec::new();
    for subscription in subscriptions {
        let cursor: Option<i64> = cx.row(sql::CURSOR_OF_LANE, (subscription.0, lane_of(run.lo)), |row| row.get(0))?;
        if let Some(cursor) = cursor {
            needed.push(Interval::new(cursor, i64::MAX));
        }
        needed.extend(overlapping(cx, *subscription, run)?.into_iter().map(|pending| pending.span));
        let dead = cx.rows(sql::DEAD_IDS_BETWEEN, (subscription.0, run.lo, run.hi), |row| row.get(0))?;
        needed.extend(interval::runs(dead));
    }
    for rest in interval::subtract(run, needed) {
        cx.delete_messages(rest)?;
    }
    Ok(())
}

/// Why messages go to the dead letters.
#[derive(Debug, Clone)]
pub(crate) struct Death<'a> {
    pub(crate) attempts: u32,
    pub(crate) reason: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// Moves messages, which are in no interval any more, to the dead letters; on an at-most-once queue, which keeps none,
/// they are done.
pub(crate) fn bury(cx: &mut Context<'_>, terms: &Terms, run: Interval, death: &Death<'_>) -> Outcome<()> {
    if terms.semantics == Semantics::AtMostOnce {
        return finish(cx, terms, run);
    }
    let ids = cx.rows(sql::MESSAGE_IDS_BETWEEN, (run.lo, run.hi, -1), |row| row.get::<_, i64>(0))?;
    for id in &ids {
        cx.run(sql::DEAD_INSERT, (terms.subscription.0, id, death.attempts, death.reason, death.error, cx.now.get()))?;
    }
    cx.run(sql::SUBSCRIPTION_DEAD_ADD, (terms.subscription.0, ids.len() as i64))?;
    if terms.ordered {
        order::finished(cx, terms, run)?;
    }
    Ok(())
}
